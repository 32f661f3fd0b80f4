"""Which process a container belongs to, so that only what nobody owns any more is ever removed.

A process is known by its machine's boot, its pid namespace, its pid and its start time: a pid alone is reused, and
another machine or another container may share the engine and have a process of the same number.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path


def current_owner() -> str:
    """This process, as text for a label. A forked child is somebody else."""
    return _owner(os.getpid())


@cache
def _owner(pid: int) -> str:
    return f"{_host()}/{pid}/{_start_time(pid)}"


def is_dead(owner: str) -> bool:
    """Whether a label's process is known to be gone. Of another machine's processes nothing is known."""
    try:
        host, pid, started = owner.rsplit("/", 2)
        number = int(pid)
    except ValueError:
        return False
    return host == _host() and _start_time(number) != started


@cache
def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return os.uname().nodename


def _start_time(pid: int) -> str:
    """When a process started, in whatever unit the system has; empty if there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            # The name in parentheses may hold spaces and parentheses itself; the 22nd field is counted behind it.
            return (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
            )
        except OSError:
            return ""
    command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words and a number
    return "".join(answer.stdout.split())
