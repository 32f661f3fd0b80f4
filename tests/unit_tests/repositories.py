"""Real repositories for tests of what goes in, with nobody's settings but their own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def git(folder: Path, *arguments: str, stdin: bytes = b"", check: bool = True, home: Path | None = None) -> str:
    """Run git as a user who has a name; the answer is text whatever its bytes are."""
    command = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", *arguments]
    env = os.environ | ({"HOME": str(home)} if home else {})
    done = subprocess.run(command, cwd=folder, env=env, check=check, capture_output=True, input=stdin)
    return os.fsdecode(done.stdout)


def init(folder: Path, *options: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main", *options)
    return folder


def write(root: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def commit(root: Path, message: str = "x", **files: str | bytes) -> str:
    """Write files, commit all that there is, and return the commit's name."""
    write(root, **files)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(root, "rev-parse", "HEAD").strip()


def duplicate(template: Path, folder: Path) -> Path:
    """A repository like another, in a fraction of the time that its commits take."""
    shutil.copytree(template, folder, symlinks=True, ignore=shutil.ignore_patterns("*.sample"))
    git(folder, "update-index", "-q", "--refresh")
    return folder


def forget_settings(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Have git know no settings of whoever runs the tests."""
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
