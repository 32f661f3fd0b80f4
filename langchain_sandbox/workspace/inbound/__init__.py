"""The workspace's way in: which files, their contents, and what git needs to look inside as it does outside."""
