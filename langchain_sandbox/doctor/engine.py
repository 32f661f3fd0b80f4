"""Checks of the container engine: that it answers, its clock and its disk."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from docker.errors import DockerException

from langchain_sandbox.config import GIB
from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.doctor.host import judge_room
from langchain_sandbox.engine.address import EngineAddress, find_engine
from langchain_sandbox.engine.dial import reach
from langchain_sandbox.engine.docker import find_dialect
from langchain_sandbox.errors import SandboxError
from langchain_sandbox.portal import get_portal

if TYPE_CHECKING:
    from collections.abc import Mapping

_CALL_TIMEOUT = 5.0
_TESTED_API = (1, 41)
_SKEW_LIMIT = 30.0
_START = "`sudo systemctl start docker`"
_CAUSES = {
    "Connection refused": "the connection was refused",
    "timed out": "it was silent for too long",
    "Remote end closed": "the connection was closed at once",
    "Connection aborted": "the connection was closed at once",
    "Name or service not known": "there is no such host",
    "Client Error": "what answers there is no container engine",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not signed by the CA in DOCKER_CERT_PATH",
}
# The image has 0.4 GiB, and building it needs about three times that.
_DISK_NEEDED = GIB
_DISK_WANTED = 5 * GIB


def check_engine(known: Known) -> Finding:
    """Whether an engine answers, and which one it is."""
    try:
        configured = find_engine()
    except SandboxError as error:
        return Finding("engine", "error", str(error))
    try:
        # On the portal's loop, as for a run: the way through ssh stays open until the last check is done.
        address = known.stack.enter_context(get_portal().wrap_async_context_manager(reach(configured)))
        client = known.stack.enter_context(closing(address.connect(timeout=_CALL_TIMEOUT)))
        known.version, known.info = client.version(), client.info()
    except (DockerException, requests.RequestException, OSError) as error:
        return Finding("engine", "error", *explain_silence(configured, str(error)))
    known.client, known.address = client, address
    return judge_engine(known.version, known.info, configured)


def judge_engine(version: Mapping[str, Any], info: Mapping[str, Any], address: EngineAddress) -> Finding:
    """Say what an engine is, by its own words.

    Args:
        version: Its answer to `/version`.
        info: Its answer to `/info`.
        address: Where it is.
    """
    api = str(version.get("ApiVersion", "?"))
    details = [
        f"API {api}",
        f"cgroup v{info.get('CgroupVersion', '?')}",
        "rootless" if is_rootless(info) else "with root",
        f"{info.get('OSType', '?')} {info.get('Architecture', '?')}",
    ]
    name = f"{engine_kind(version, info)} {version.get('Version', '?')}"
    message = f"{name} ({', '.join(details)}) answers at {address.url}."
    if info.get("OSType", "linux") != "linux":
        return Finding("engine", "error", message, "Switch it to Linux containers.")
    numbers = tuple(int(part) for part in api.split(".") if part.isdigit())
    if numbers < _TESTED_API:
        return Finding(
            "engine", "warning", message, "API 1.41 (Docker 20.10) is the oldest that was tested: update it."
        )
    return Finding("engine", "ok", message)


def engine_kind(version: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """The engine's product name."""
    if find_dialect(version) == "podman":
        return "Podman"
    return "Docker Desktop" if "Docker Desktop" in str(info.get("OperatingSystem", "")) else "Docker"


def is_rootless(info: Mapping[str, Any]) -> bool:
    """Whether the engine runs without root."""
    return any("rootless" in str(option) for option in info.get("SecurityOptions") or []) or bool(info.get("Rootless"))


def explain_silence(address: EngineAddress, error: str) -> tuple[str, str]:
    """Say why no engine answers, and what to do.

    Args:
        address: Where it should be.
        error: What the attempt to reach it ended with.
    """
    place, socket = address.url, address.socket
    if socket is not None and not Path(socket).exists():
        others = [path for path in _other_sockets() if path.exists()]
        if others:
            return (
                f"There is no engine at {place}.",
                f"One seems to be elsewhere: `export DOCKER_HOST=unix://{others[0]}`.",
            )
        return (
            f"There is no engine at {place}.",
            f"Install Docker, or start it (for example {_START}), or set DOCKER_HOST to where it is.",
        )
    if socket is not None and not os.access(socket, os.R_OK | os.W_OK):
        return (
            f"This user may not use the engine at {place}.",
            "Run `sudo usermod -aG docker $USER` and log in again; members of that group can become root.",
        )
    if address.uses_ssh:
        host = urlsplit(place).netloc
        return (
            f"No engine answers at {place}: {_shorten(error)}.",
            f"See that `ssh {host.replace(':', ' -p ')} docker version` works, and asks for no password.",
        )
    remedy = f"Start it (for example {_START}), or set DOCKER_HOST to where it is."
    return f"No engine answers at {place}: {_shorten(error)}.", remedy


def _shorten(error: str) -> str:
    """What the docker library says, without the names of its own classes that it wraps it in."""
    for phrase, words in _CAUSES.items():
        if phrase in error:
            return words
    return error.removeprefix("Error while fetching server API version: ").rstrip(".")


def check_clock(known: Known) -> Finding:
    """Whether the engine's clock agrees with ours: in a virtual machine that slept, it may not."""
    try:
        # Ours is read between asking and judging; the answer took milliseconds.
        told = datetime.fromisoformat(str(known.info["SystemTime"]))
    except (KeyError, ValueError):
        return Finding("clock", "skipped", "The engine does not tell its time.")
    if told.tzinfo is None:
        told = told.replace(tzinfo=UTC)
    return judge_clock(told.timestamp() - time.time())


def judge_clock(skew: float) -> Finding:
    """Say whether clocks agree.

    Args:
        skew: Seconds by which the engine's clock is ahead of ours.
    """
    if abs(skew) <= _SKEW_LIMIT:
        return Finding("clock", "ok", f"The engine's clock agrees with this machine's within {_SKEW_LIMIT:g} s.")
    way = "ahead of" if skew > 0 else "behind"
    message = (
        f"The engine's clock is {abs(skew):.0f} s {way} this machine's: builds and commits inside get wrong times."
    )
    return Finding(
        "clock", "warning", message, "Restart the engine's virtual machine, or set its clock (`chronyc makestep`)."
    )


def check_disk(known: Known) -> Finding:
    """Whether the engine has room for images."""
    root = Path(str(known.info.get("DockerRootDir") or "/nonexistent"))
    # A socket of ours that leads through ssh is as far away as any host.
    local = known.address is not None and known.address.socket is not None and known.address.origin is None
    try:
        free = shutil.disk_usage(root).free if local else None
    except OSError:
        free = None
    if free is None:
        return Finding("disk", "skipped", f"The engine's data ({root}) cannot be seen from here.")
    return judge_room("disk", free, f"{root} (the engine's images)", needed=_DISK_NEEDED, wanted=_DISK_WANTED)


def _other_sockets() -> list[Path]:
    """Where engines of a user's own listen."""
    runtime, home = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"), Path.home()
    return [
        runtime / "docker.sock",
        runtime / "podman/podman.sock",
        home / ".docker/run/docker.sock",
        home / ".docker/desktop/docker.sock",
        home / ".colima/default/docker.sock",
        Path("/run/podman/podman.sock"),
    ]
