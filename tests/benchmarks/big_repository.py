"""Repositories of a thousand files and more, and what an agent might change in them."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

from transfer.desk import Desk

if TYPE_CHECKING:
    from pathlib import Path

FILE_SIZE = 67 * 1024 * 1024 // 20_000  # 20,000 files have 67 MiB
NEW = 10

_WORDS = 5000
_LINES = 20_000
_NEW_TEXT = b"answer = 42\n" * 20
_IDENTITY = ["-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid"]


def make_repository(root: Path, files: int) -> None:
    """Make a repository with one commit, packed as a clone is."""
    chance = random.Random(files)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz_", k=chance.randint(2, 10))) for _ in range(_WORDS)]
    lines = [" ".join(chance.choices(words, k=9)) for _ in range(_LINES)]
    for number in range(files):
        path = root / f"package_{number % 40:02}" / f"part_{number // 40 % 25:02}" / f"module_{number:05}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(chance.choices(lines, k=FILE_SIZE // 40))
        path.write_text(f"{text[: FILE_SIZE - 1]}\n", encoding="ascii")
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for arguments in (
        ["init", "--quiet"],
        ["config", "gc.auto", "0"],  # it would go on in the background
        ["add", "."],
        [*_IDENTITY, "commit", "--quiet", "--message=First"],
        ["repack", "-a", "-d", "--quiet"],
        ["update-index", "--refresh"],
    ):
        subprocess.run(["git", *arguments], cwd=root, env=environment, check=True)


def change(root: Path) -> Desk:
    """One file of a hundred has a line more, and some are new."""
    desk = Desk({})
    for path in sorted(root.glob("package_*/*/*.py"))[::100]:
        desk.write(path.relative_to(root).as_posix(), path.read_bytes() + b"changed = True\n")
    for number in range(NEW):
        desk.write(f"new/module_{number}.py", _NEW_TEXT)
    return desk
