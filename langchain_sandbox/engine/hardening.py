"""The walls of a container, as the engine's own words. Pure: what is built here is what the tests read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.config import Limits
    from langchain_sandbox.engine.base import Mount

Dialect = Literal["docker", "podman"]
"""Whose words these are: engines of one API do not all take the same."""

USER = "1000:1000"
WORKSPACE_MOUNT = "/run/ws"
HOME_MOUNT = "/run/home"

_SHM = 64 * 1024 * 1024
_SMALL_INODES = 50_000
# Where nothing is said, Podman asks for a million, which not every service may. It counts all processes of the
# container's user on the machine; what bounds one container is its own limit.
_PODMAN_NPROC = 8192


def build_host_config(
    limits: Limits,
    *,
    mounts: Sequence[Mount] = (),
    runtime: str | None = None,
    dialect: Dialect = "docker",
) -> dict[str, Any]:
    """The engine's `HostConfig`: no network, no capability, no writable disk, no log, every resource bounded.

    Args:
        limits: The bounds.
        mounts: Places of the host's, which are the exception; the size of a file in them is bounded, too.
        runtime: The OCI runtime, where it is not to be the engine's default.
        dialect: Which engine it is for.
    """
    memory = build_memory_limit(limits)
    return {
        "AutoRemove": True,
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": limits.pids,
        "Memory": memory,
        "MemorySwap": memory,  # the same number means: no swap
        "NanoCpus": int(limits.cpus * 1_000_000_000),
        "Tmpfs": build_tmpfs(limits, dialect=dialect),
        "ShmSize": _SHM,
        "IpcMode": "private",
        "LogConfig": {"Type": "none", "Config": {}},  # the stream is attached; a log would be a disk to fill
        "Ulimits": [
            {"Name": "nofile", "Soft": 4096, "Hard": 4096},
            {"Name": "core", "Soft": 0, "Hard": 0},
            *([{"Name": "nproc", "Soft": _PODMAN_NPROC, "Hard": _PODMAN_NPROC}] if dialect == "podman" else []),
            *([{"Name": "fsize", "Soft": limits.size("changes"), "Hard": limits.size("changes")}] if mounts else []),
        ],
        "Init": False,  # our agent is PID 1
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        **({"Runtime": runtime} if runtime else {}),
        **({"Mounts": [_build_mount(mount) for mount in mounts]} if mounts else {}),
    }


def _build_mount(mount: Mount) -> dict[str, Any]:
    common = {"Target": mount.target, "ReadOnly": mount.access == "read-only"}
    if mount.source is None:
        return {"Type": "tmpfs", **common, "TmpfsOptions": {"SizeBytes": 4096, "Mode": 0o555}}
    # What is mounted further down on the host stays there.
    return {"Type": "bind", "Source": mount.source, **common, "BindOptions": {"NonRecursive": True}}


def build_memory_limit(limits: Limits) -> int:
    """Bytes for the processes and for the file systems that live in memory."""
    return limits.size("memory") + limits.size("workspace") + limits.size("home") + limits.size("tmp") + _SHM


def build_tmpfs(limits: Limits, *, dialect: Dialect = "docker") -> dict[str, str]:
    """The only places that can be written, each with a limit in bytes and in files.

    The mount points do not exist in the image: over an existing folder Docker ignores the mode, and without the
    mode an arbitrary uid could not write. `exec` is needed for compiled tests, virtual environments and the like.
    Podman takes no limit in files; there they are bounded by the container's memory, which the kernel keeps them in.

    Args:
        limits: The bounds.
        dialect: Which engine it is for.
    """
    counted = dialect != "podman"
    return {
        WORKSPACE_MOUNT: _tmpfs(limits.size("workspace"), limits.workspace_files if counted else None),
        HOME_MOUNT: _tmpfs(limits.size("home"), _SMALL_INODES if counted else None),
        "/tmp": _tmpfs(limits.size("tmp"), _SMALL_INODES if counted else None),  # noqa: S108 - the container's, not ours
        # What the engine puts there itself has no limit in files. Browsers and Python's processes need it.
        "/dev/shm": _tmpfs(_SHM, _SMALL_INODES if counted else None),  # noqa: S108 - the container's, not ours
    }


def _tmpfs(size: int, inodes: int | None) -> str:
    options = f"rw,exec,nosuid,nodev,mode=1777,size={size}"
    return options if inodes is None else f"{options},nr_inodes={inodes}"
