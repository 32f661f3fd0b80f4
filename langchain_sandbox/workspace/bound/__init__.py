"""The mode `bind`: the user's folder itself, mounted, for trees that are too big to copy.

What is promised less than for a copy is said in docs/workspace.md, and nowhere else.
"""
