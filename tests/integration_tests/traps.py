"""Traps for whoever runs git in a folder: each has git run a command that leaves a mark in a folder of the host's.

The same program lays them inside a container, where the folder for marks does not exist and nothing shows, and, as
a control, on the host, where using git must spring them: a trap that cannot spring proves nothing.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOOKS = [
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "pre-receive",
    "prepare-commit-msg",
    "push-to-checkout",
    "reference-transaction",
    "update",
]

SPRINGING_HOOKS = {
    "commit-msg",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "pre-commit",
    "prepare-commit-msg",
    "reference-transaction",
}
"""The hooks that `use_git` has git run."""

SPRINGING_SETTINGS = {
    "alias",
    "clean",
    "credential",
    "editor",
    "external-diff",
    "fsmonitor",
    "gpg",
    "merge",
    "smudge",
    "ssh",
    "textconv",
    "uploadpack",
}
"""The settings that `use_git` has git run."""

_PROGRAM = r"""
import pathlib

MARKS, HOOKS = {marks!r}, {hooks!r}

def put(path, text, mode=0o644):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)

def hooks(folder, tag):
    for name in HOOKS:
        put(f"{{folder}}/{{name}}", f"#!/bin/sh\ntouch {{MARKS}}/{{tag}}{{name}} 2>/dev/null\nexit 0\n", 0o755)

def settings(tag):
    mark = f"touch {{MARKS}}/{{tag}}"
    return (
        f'[core]\n\tfsmonitor = "{{mark}}fsmonitor;:"\n\tsshCommand = "{{mark}}ssh;:"\n\teditor = "{{mark}}editor;:"\n'
        f'\tpager = "{{mark}}pager;:"\n\taskPass = {{MARKS}}/askpass\n\tgitProxy = {{MARKS}}/proxy\n'
        f'[filter "trap"]\n\tclean = "{{mark}}clean; cat"\n\tsmudge = "{{mark}}smudge; cat"\n'
        f'[diff]\n\texternal = "{{mark}}external-diff;:"\n'
        f'[diff "trap"]\n\ttextconv = "{{mark}}textconv; cat"\n'
        f'[merge "trap"]\n\tdriver = "{{mark}}merge; true"\n'
        f'[alias]\n\tst = "!{{mark}}alias"\n'
        f'[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = ./.trap/gpg\n'
        f'[credential]\n\thelper = "!{{mark}}credential;:"\n'
        f'[remote "origin"]\n\turl = ssh://nowhere.invalid/x\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
        f'[remote "near"]\n\turl = .\n\tuploadpack = "{{mark}}uploadpack;:"\n'
    )

def lay(git_folder, tag=""):
    # Everything that a repository's own folder can have git run.
    with open(f"{{git_folder}}/config", "a") as file:
        file.write(settings(tag))
    hooks(f"{{git_folder}}/hooks", tag)

def lay_files(tag=""):
    # What a configuration makes use of and no `.git` is needed for.
    put(".gitattributes", "* filter=trap diff=trap merge=trap\n")
    signature = "printf '\\n[GNUPG:] SIG_CREATED \\n' >&2; echo signature"
    put(".trap/gpg", f"#!/bin/sh\ntouch {{MARKS}}/{{tag}}gpg 2>/dev/null\n{{signature}}\n", 0o755)
"""


def laying(marks: Path, then: str) -> str:
    """A program that lays traps in the folder that it runs in.

    Args:
        marks: Where a trap that springs leaves a file of its name.
        then: What to lay, in Python: `lay(git_folder, tag)`, `lay_files(tag)`, `hooks(folder, tag)`, `put(path, text)`.
    """
    return _PROGRAM.format(marks=str(marks), hooks=HOOKS) + then


def in_shell(program: str) -> str:
    """A Python program as one command."""
    return f"python3 -c {shlex.quote(program)}"


def lay_here(folder: Path, marks: Path, then: str) -> None:
    """Run the same program on the host."""
    subprocess.run([sys.executable, "-c", laying(marks, then)], cwd=folder, check=True)


def use_git(folder: Path, *, below: tuple[str, ...] = ()) -> None:
    """What a user does in a repository; how each command ends is no matter, only what git runs.

    Args:
        folder: The repository.
        below: Folders in it where the user looks, too.
    """
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")

    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "EDITOR": "true", "VISUAL": ""}

    def run(*arguments: str, where: Path = folder, words: str = "") -> None:
        subprocess.run(
            ["git", *identity, *arguments],
            cwd=where,
            env=environ
            | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "EDITOR": "true", "VISUAL": ""},
            input=words.encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )

    run("status")
    run("diff")
    run("add", "-A")
    run("status")
    run("diff", "--cached")
    run("commit", "-m", "all of it")
    run("log", "-p")
    # Both sides change one line, so that what merges is asked.
    readme = folder / "README.md"
    readme.write_text("# other\n")
    run("stash")
    readme.write_text("# another\n")
    run("commit", "-a")
    run("commit", "-a", "-m", "another")
    run("stash", "pop")
    run("checkout", "-q", "-b", "side")
    run("checkout", "-q", "-f", "-")
    run("st")
    run("submodule", "update", "--init")
    run("fetch", "origin")
    run("fetch", "near")
    run("credential", "fill", words="protocol=https\nhost=nowhere.invalid\n")
    for name in below:
        where = folder / name
        if where.is_dir() and not where.is_symlink():
            run("status", where=where)
            run("diff", where=where)
            run("log", "-p", where=where)
            run("st", where=where)


def sprung(marks: Path) -> set[str]:
    """The traps that sprang."""
    return {path.name for path in marks.iterdir()}


def state_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a tree, `.git` included: kinds, modes, times in ns, links' targets and contents."""
    return {str(path): _state(path) for path in [folder, *folder.rglob("*")]}


def _state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content: object = b""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)  # noqa: PTH115 - that one tidies the target up
    elif stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return (status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, status.st_ino, content)
