"""Checks that the engine really puts up the walls: a small container looks at them from inside, and tries them.

An engine may take a limit and ignore it without a word: a rootless one does where its cgroups cannot bound anything.
So the container is made exactly as a run's, with a program of ours in place of the image's own.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.config import Limits
from langchain_sandbox.doctor.engine import is_rootless
from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.docker import DockerEngine
from langchain_sandbox.engine.hardening import build_memory_limit
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIME_LIMIT = 20.0
_REMOVE_LIMIT = 5.0
_PIDS = 16
_KILLED = 137
LIMITS = Limits(memory="32m", workspace="1m", home="1m", tmp="1m", pids=_PIDS, cpus=1)

# Prints one JSON object a line, as far as it gets: a memory limit may take the whole container. The child that
# eats memory offers itself to the kernel first. The alarm ends what nobody waits for any more.
_PROGRAM = """
import json, os, signal, sys
signal.alarm(20)
def tell(**facts):
    print(json.dumps(facts), flush=True)
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
try:
    open("/probe", "w").close()
    writable = True
except OSError:
    writable = False
tell(
    interfaces=[line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
    capabilities=int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    no_new_privileges=status["NoNewPrivs"].strip() == "1",
    seccomp=status["Seccomp"].strip() == "2",
    writable_root=writable,
    uid=os.getuid(),
)
pids, memory = int(sys.argv[1]), int(sys.argv[2])
hold, release = os.pipe()
children = []
try:
    while len(children) < 2 * pids:
        child = os.fork()
        if child == 0:
            os.close(release)
            os.read(hold, 1)
            os._exit(0)
        children.append(child)
except OSError:
    pass
processes = 1 + len(children)
os.close(release)
for child in children:
    os.waitpid(child, 0)
tell(processes=processes)
child = os.fork()
if child == 0:
    open("/proc/self/oom_score_adj", "w").write("1000")
    eaten = bytearray(memory)
    for place in range(0, memory, 4096):
        eaten[place] = 1
    os._exit(0)
tell(memory_held=os.waitpid(child, 0)[1] != 0)
"""


def check_walls(known: Known) -> Finding:
    """Whether a container is as shut in as we asked for: no network, no capability, nothing to write on."""
    try:
        known.canary = anyio.run(_release, known)
    except SandboxUnavailableError as error:
        message = f"The engine does not make a container as a run needs it. {error}"
        return Finding("walls", "error", message, "Look at the engine's log (`journalctl -u docker`).")
    except TimeoutError:
        message = f"A container that should take a second was not done within {_TIME_LIMIT:g} s."
        return Finding("walls", "error", message, "See whether the machine is busy, and look at the engine's log.")
    return judge_walls(known.canary)


def check_limits(known: Known) -> Finding:
    """Whether the engine holds a container to its limits of memory and processes."""
    return judge_limits(known.canary or {}, known.info)


def judge_walls(canary: Mapping[str, Any]) -> Finding:
    """Say whether the container was shut in.

    Args:
        canary: What it reported, and how it ended.
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
    if not canary["seccomp"]:
        message = (
            "The engine has no filter of system calls (seccomp); our own inside the container is then the only one."
        )
        return Finding("walls", "warning", message, "Start the engine with its default seccomp profile.")
    return Finding("walls", "ok", "A container has no network, no capability, and nothing to write on but its memory.")


def judge_limits(canary: Mapping[str, Any], info: Mapping[str, Any]) -> Finding:
    """Say whether limits were held.

    Args:
        canary: What the container reported, and how it ended.
        info: The engine's words on itself.
    """
    ignored = []
    if canary.get("processes", 0) > _PIDS:
        ignored.append(f"processes ({canary['processes']} ran where {_PIDS} were allowed)")
    # Where the kernel took the container whole, nothing was said, and the limit was held.
    if not canary.get("memory_held", canary.get("oom") or canary.get("exit_code") == _KILLED):
        ignored.append(
            f"memory (it was given {_eaten() >> 20} MiB where {build_memory_limit(LIMITS) >> 20} were allowed)"
        )
    if "processes" not in canary:
        return Finding("limits", "skipped", "The container ended before it could try its limits.")
    if not ignored:
        return Finding("limits", "ok", "The engine holds a container to its limits of memory and processes.")
    message = f"The engine takes limits and ignores them: {', '.join(ignored)}. One run could take the machine down."
    return Finding("limits", "error", message, _explain_ignored(info))


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


def _eaten() -> int:
    """Bytes that the container tries to take: well over its limit, and not too much where there is none."""
    return build_memory_limit(LIMITS) * 3 // 2


async def _release(known: Known) -> dict[str, Any]:
    """Let one container try its walls, and return what it said and how it ended."""
    assert known.address is not None  # noqa: S101 - there is an image, so there is an engine
    spec = ContainerSpec(
        name=f"langchain-sandbox-doctor-{secrets.token_hex(6)}",
        image=known.image_id or "",
        limits=LIMITS,
        labels={labels.OWNER: current_owner()},
        program=("/usr/bin/python3", "-I", "-S", "-c", _PROGRAM, str(_PIDS), str(_eaten())),
    )
    engine = DockerEngine(known.address)
    container = await engine.create(spec)
    try:
        with anyio.fail_after(_TIME_LIMIT):
            stream = await container.attach()
            await container.start()
            output = b""
            while data := await stream.receive():
                output += data
            end = await container.wait()
            await stream.aclose()
    finally:
        with anyio.move_on_after(_REMOVE_LIMIT, shield=True):
            await container.remove()
            await container.aclose()
    said: dict[str, Any] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        said |= json.loads(line)
    return {"exit_code": end.exit_code, "oom": end.oom, "stderr": stream.stderr_tail[-300:], **said}
