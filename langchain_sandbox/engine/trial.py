"""A small container that looks at its walls from inside, and tries its limits.

An engine may take a limit and ignore it without a word: a rootless one does where its cgroups cannot bound anything.
So the container is made exactly as a run's, with a program of ours in place of the image's own. Where the runtime puts
a kernel of its own around it, as gVisor does, that kernel counts too: it needs some threads and some memory itself,
and at a limit the host's kernel takes it, and the container whole. Then another container tries what is left.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.config import Limits
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.hardening import WORKSPACE_MOUNT, build_memory_limit
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.errors import SandboxUnavailableError
from langchain_sandbox.link import LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_sandbox.engine.base import Engine

TIME_LIMIT = 20.0
"""Seconds that the container has; it takes less than one."""
_REMOVE_LIMIT = 5.0
_PIDS = 128  # gVisor's own threads need some fifty
_KILLED = 137
_LATE = 142  # by the alarm
LIMITS = Limits(memory="64m", workspace="1m", home="1m", tmp="1m", pids=_PIDS, cpus=1)
"""What the container may use."""

# Prints one JSON object a line, as far as it gets: a memory limit may take the whole container. The child that
# eats memory offers itself to the kernel first. The alarm ends what nobody waits for any more.
_PROGRAM = """
import ctypes, json, os, signal, sys
signal.alarm(20)
pids, memory, workspace, parts = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
libc = ctypes.CDLL(None)
def tell(**facts):
    print(json.dumps(facts), flush=True)
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
try:
    open("/probe", "w").close()
    writable = True
except OSError:
    writable = False
libc.prctl(4, 0, 0, 0, 0)
child = os.fork()
if child == 0:
    try:
        os.listdir("/proc/1/fd")
    except OSError:
        os._exit(0)
    os._exit(1)
closed = os.waitpid(child, 0)[1] == 0
libc.prctl(4, 1, 0, 0, 0)
tell(
    interfaces=[line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
    capabilities=int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    no_new_privileges=libc.prctl(39, 0, 0, 0, 0) == 1,
    seccomp=status.get("Seccomp", "0").strip() == "2",
    writable_root=writable,
    uid=os.getuid(),
    kernel=os.uname().release,
    files=os.statvfs(workspace).f_files,
    closed=closed,
)
if "processes" in parts:
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
if "memory" in parts:
    child = os.fork()
    if child == 0:
        open("/proc/self/oom_score_adj", "w").write("1000")
        eaten = bytearray(memory)
        for place in range(0, memory, 4096):
            eaten[place] = 1
        os._exit(0)
    tell(memory_held=os.waitpid(child, 0)[1] != 0)
"""


async def try_walls(engine: Engine, image: str, *, runtime: str | None = None) -> dict[str, Any]:
    """Let a container look at its walls and try its limits, and return what it said and how it ended.

    Args:
        engine: Where.
        image: The image's id.
        runtime: The OCI runtime, where it is not to be the engine's default.

    Raises:
        SandboxUnavailableError: If the engine does not make such a container.
        TimeoutError: If it was not done in time.
    """
    said = await _try(engine, image, runtime, "processes", "memory")
    if _died_of_processes(said):
        said |= {"processes": None, **await _try(engine, image, runtime, "memory")}
    return said


async def _try(engine: Engine, image: str, runtime: str | None, *parts: str) -> dict[str, Any]:
    spec = ContainerSpec(
        name=f"langchain-sandbox-trial-{secrets.token_hex(6)}",
        image=image,
        limits=LIMITS,
        runtime=runtime,
        labels={labels.OWNER: current_owner()},
        program=("/usr/bin/python3", "-I", "-S", "-c", _PROGRAM, str(_PIDS), str(_eaten()), WORKSPACE_MOUNT, *parts),
    )
    container = await engine.create(spec)
    try:
        with anyio.fail_after(TIME_LIMIT):
            stream = await container.attach()
            await container.start()
            output = b""
            while data := await stream.receive():
                output += data
            end = await container.wait()
            await stream.aclose()
    except LinkError as error:
        msg = f"What the container said did not arrive as it was said: {error}."
        raise SandboxUnavailableError(msg) from error
    finally:
        with anyio.move_on_after(_REMOVE_LIMIT, shield=True):
            await container.remove()
            await container.aclose()
    said: dict[str, Any] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        said |= json.loads(line)
    return {"exit_code": end.exit_code, "oom": end.oom, "stderr": stream.stderr_tail[-300:], **said}


def _died_of_processes(said: Mapping[str, Any]) -> bool:
    """Whether the container was taken whole when it had too many of them, which is a limit that was held."""
    fine = {None, 0, _KILLED, _LATE}
    return "uid" in said and "processes" not in said and not said["oom"] and said["exit_code"] not in fine


def find_ignored(told: Mapping[str, Any]) -> list[str] | None:
    """The limits that were not held; `None` if the container ended before it could try them. Pure.

    Args:
        told: What the container reported, and how it ended.
    """
    if "processes" not in told:
        return None
    ignored = []
    if (told["processes"] or 0) > _PIDS:
        ignored.append(f"processes ({told['processes']} ran where {_PIDS} were allowed)")
    # Where the kernel took the container whole, nothing was said, and the limit was held.
    if not told.get("memory_held", told.get("oom") or told.get("exit_code") == _KILLED):
        ignored.append(
            f"memory (it was given {_eaten() >> 20} MiB where {build_memory_limit(LIMITS) >> 20} were allowed)"
        )
    return ignored


def describe_ignored(ignored: Sequence[str]) -> str:
    """What it means that limits were not held, for people. Pure.

    Args:
        ignored: As `find_ignored` names them.
    """
    return f"The engine takes limits and ignores them: {', '.join(ignored)}. One run could take the machine down."


def counts_files(told: Mapping[str, Any]) -> bool:
    """Whether the number of files in the container is bounded, too, and not by memory alone. Pure.

    Args:
        told: What the container reported.
    """
    return bool(told.get("files") == LIMITS.workspace_files)


def _eaten() -> int:
    """Bytes that the container tries to take: well over its limit, and not too much where there is none."""
    return build_memory_limit(LIMITS) * 3 // 2
