"""Checks that the engine really puts up the walls, by a small container that looks at them from inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.doctor.engine import is_rootless
from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.engine.docker import DockerEngine
from langchain_sandbox.engine.trial import TIME_LIMIT, counts_files, describe_ignored, find_ignored, try_walls
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_walls(known: Known) -> Finding:
    """Whether a container is as shut in as we asked for: no network, no capability, nothing to write on."""
    try:
        known.canary = anyio.run(_release, known)
    except SandboxConfigError as error:  # what was made is not what was asked for
        return Finding("walls", "error", str(error))
    except SandboxUnavailableError as error:
        message = f"The engine does not make a container as a run needs it. {error}"
        return Finding("walls", "error", message, "Look at the engine's log (`journalctl -u docker`).")
    except TimeoutError:
        message = f"A container that should take a second was not done within {TIME_LIMIT:g} s."
        return Finding("walls", "error", message, "See whether the machine is busy, and look at the engine's log.")
    return judge_walls(known.canary, known.info)


def check_limits(known: Known) -> Finding:
    """Whether the engine holds a container to its limits of memory and processes."""
    return judge_limits(known.canary or {}, known.info)


def judge_walls(canary: Mapping[str, Any], info: Mapping[str, Any]) -> Finding:
    """Say whether the container was shut in.

    Args:
        canary: What it reported, and how it ended.
        info: The engine's words on itself.
    """
    if "interfaces" not in canary:
        message = f"The container ended with {canary['exit_code']} before it had said a word: {canary['stderr']!r}"
        return Finding("walls", "error", message, "Build the image again: `langchain-sandbox build --rebuild`.")
    holes = [
        word
        for word, open_ in {
            f"it has a network ({', '.join(canary['interfaces'])})": canary["interfaces"] != ["lo"],
            "it has capabilities": canary["capabilities"] != 0,
            "it may gain privileges": not canary["no_new_privileges"],
            "it can write to its root file system": canary["writable_root"],
            "it runs as root": canary["uid"] == 0,
        }.items()
        if open_
    ]
    if holes:
        message = f"A container is not shut in as we asked the engine to: {'; '.join(holes)}."
        return Finding("walls", "error", message, "Use another engine; a current Docker is known to do it.")
    shut = "A container has no network, no capability, and nothing to write on but its memory."
    kernel, machines = canary.get("kernel"), info.get("KernelVersion")
    if kernel and machines and kernel != machines:
        message = (
            f"{shut} It has a kernel of its own, too: {kernel}, not the machine's {machines}. That is the runtime's, "
            "and takes the place of the engine's filter of system calls; our own is there as ever."
        )
        if not canary.get("closed", True):
            message += " It lets tools read the link to the host, whose words the host does not believe anyway."
        return Finding("walls", "ok", message)
    if not canary["seccomp"]:
        message = (
            "The engine has no filter of system calls (seccomp); our own inside the container is then the only one."
        )
        return Finding("walls", "warning", message, "Start the engine with its default seccomp profile.")
    return Finding("walls", "ok", shut)


def judge_limits(canary: Mapping[str, Any], info: Mapping[str, Any]) -> Finding:
    """Say whether limits were held.

    Args:
        canary: What the container reported, and how it ended.
        info: The engine's words on itself.
    """
    ignored = find_ignored(canary)
    if ignored is None:
        return Finding("limits", "skipped", "The container ended before it could try its limits.")
    if not ignored:
        return _judge_held(canary)
    return Finding("limits", "error", describe_ignored(ignored), _explain_ignored(info))


def _judge_held(canary: Mapping[str, Any]) -> Finding:
    message = "The engine holds a container to its limits of memory and processes."
    if canary["processes"] is None:
        message += " At that of processes the runtime takes the container whole, and the run ends."
    if counts_files(canary):
        return Finding("limits", "ok", message)
    message += (
        " It does not count files while a run goes on (`SANDBOX_LIMIT_WORKSPACE_FILES`): only the container's memory "
        "bounds how many there can be."
    )
    return Finding("limits", "warning", message, "Nothing need be done; Docker with its own runtime does count them.")


def _explain_ignored(info: Mapping[str, Any]) -> str:
    if not is_rootless(info):
        return (
            "Look at the warnings at the end of `docker info`: the kernel may have these cgroup controllers turned off."
        )
    if str(info.get("CgroupVersion")) == "1":
        return (
            "A rootless engine can bound nothing with cgroup v1: boot with `systemd.unified_cgroup_hierarchy=1`, "
            "or use an engine that runs as root."
        )
    return (
        "Let a rootless engine have the controllers: `sudo systemctl edit user@.service`, put `[Service]` and "
        "`Delegate=cpu cpuset io memory pids` into it, and log in again."
    )


async def _release(known: Known) -> dict[str, Any]:
    """Let one container try its walls, and return what it said and how it ended."""
    assert known.address is not None  # noqa: S101 - there is an image, so there is an engine
    return await try_walls(DockerEngine(known.address), known.image_id or "", runtime=known.runtime)
