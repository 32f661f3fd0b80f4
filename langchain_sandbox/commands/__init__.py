"""Repository commands such as `/refactor-audit`: read from Markdown files and rendered by us.

Standard library and PyYAML only: the compose files' container has no more.

OpenCode's own loader is never used: it would read what the repository holds by then, not what was looked at before.
"""
