"""How files look, so that changes can be told later without reading any."""

from __future__ import annotations

import os


def take_manifest(root: str) -> dict[str, tuple[int, ...]]:
    """How each file of a folder looks now, by its path in there, so that changes can be told later."""
    manifest: dict[str, tuple[int, ...]] = {}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with os.scandir(f"{root}/{inside}") as entries:
            for entry in entries:
                path = inside + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if path != ".git":
                        waiting.append(f"{path}/")
                else:
                    manifest[path] = fingerprint(entry.stat(follow_symlinks=False))
    return manifest


def fingerprint(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does. The change time cannot be set back by a program that hides its tracks."""
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
