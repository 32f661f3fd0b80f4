"""Real host agents from npm, at fixed versions, kept beside the environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {"claude": "@anthropic-ai/claude-code@2.1.197", "codex": "@openai/codex@0.171.0"}

# Where each has its program for this machine; a package's own scripts, which might put it elsewhere, are not run.
_PROGRAMS = {"claude": "@anthropic-ai/claude-code-*/claude", "codex": ".bin/codex"}


def install_host(name: str) -> Path:
    """The command of a host agent; installed where it is missing.

    Args:
        name: `claude` or `codex`.

    Raises:
        LookupError: If it cannot be had here.
    """
    package = PACKAGES[name]
    folder = Path(sys.prefix) / "host-agents" / package.replace("/", "-").lstrip("@")
    command = _find(folder, name)
    if command is None:
        npm = shutil.which("npm")
        if npm is None:
            msg = f"There is no npm here to install {package}."
            raise LookupError(msg)
        words = [npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        done = subprocess.run([*words, package], capture_output=True, text=True, check=False)
        command = _find(folder, name)
        if done.returncode or command is None:
            msg = f"npm could not install {package}: {done.stderr.strip()[-300:]}"
            raise LookupError(msg)
    return command


def _find(folder: Path, name: str) -> Path | None:
    """The program, if it is there and can run here."""
    for command in folder.glob(f"node_modules/{_PROGRAMS[name]}"):
        if subprocess.run([command, "--version"], capture_output=True, check=False).returncode == 0:
            return command
    return None
