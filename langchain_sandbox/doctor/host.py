"""Checks of this machine: Python, the package, the settings, git, the workspace, the temporary folder."""

from __future__ import annotations

import importlib
import ipaddress
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from langchain_sandbox._version import __version__
from langchain_sandbox.config import GIB, MIB
from langchain_sandbox.doctor.finding import Finding, FindingStatus, Known
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.installation import DISTRIBUTION, MEND, REINSTALL, describe_clash, find_damage, find_misfits
from langchain_sandbox.workspace.inbound.snapshot import take_snapshot
from langchain_sandbox.workspace_config import Workspace

_OLDEST = (3, 11)
_TEMP_NEEDED = GIB // 2
_TEMP_WANTED = 2 * GIB
_NOWHERE = "http://127.0.0.1:1/v1"  # stands in for the model while the other settings are read


def check_python(_: Known) -> Finding:
    """Whether this Python is new enough."""
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}."
    if sys.version_info < _OLDEST:
        return Finding("python", "error", found, "Use Python 3.11 or newer.")
    if platform.system() == "Windows":
        return Finding("python", "error", found, "Run Python inside WSL2, where Docker offers a unix socket.")
    return Finding("python", "ok", found)


def check_package(_: Known) -> Finding:
    """Whether the package's files and dependencies are the right ones, and can be imported."""
    clash, damage, misfits, broken = describe_clash(), find_damage(), find_misfits(), ""
    try:
        with warnings.catch_warnings(action="ignore"):  # the clash is what we are about to tell
            importlib.import_module("langchain_sandbox.tools")
    except Exception as error:  # noqa: BLE001 - a dependency may raise anything when it is imported
        broken = f"{DISTRIBUTION} {__version__} cannot be imported: {type(error).__name__}: {error}."
    harm = " ".join(
        sentence
        for sentence in (
            f"Files of {DISTRIBUTION} are missing or overwritten: {', '.join(damage)}." if damage else "",
            f"{'; '.join(misfits)}." if misfits else "",
            broken,
        )
        if sentence
    )
    if clash is not None:
        # Where ours was installed last, everything works until the other is uninstalled.
        status: FindingStatus = "error" if harm else "warning"
        return Finding("package", status, f"{clash} {harm}".strip(), MEND)
    if harm:
        return Finding("package", "error", harm, REINSTALL)
    return Finding("package", "ok", f"{DISTRIBUTION} {__version__} is whole and can be imported.")


def check_settings(known: Known) -> Finding:
    """Whether the `SANDBOX_*` variables can be read, all but the model's."""
    try:
        sandbox_class = importlib.import_module("langchain_sandbox.sandbox").Sandbox
    except ImportError:
        return Finding("settings", "skipped", "The package cannot be imported.")
    try:
        sandbox = sandbox_class(model=_NOWHERE, workspace=known.folder, image=known.image, runtime=known.runtime)
    except SandboxConfigError as error:
        return Finding("settings", "error", str(error), "Correct or unset the SANDBOX_* variable that it comes from.")
    known.workspace = sandbox.workspace
    known.image = sandbox.image
    known.limits = sandbox.limits
    known.runtime = sandbox.runtime
    known.allow_remote_model = sandbox.allow_remote_model
    known.trace = sandbox.trace
    names = sorted(name for name in os.environ if name.startswith("SANDBOX_"))
    return Finding("settings", "ok", f"Read from the environment: {', '.join(names) or 'nothing'}.")


def check_git(_: Known) -> Finding:
    """Whether git is there: it decides what goes into a sandbox, and makes the patch that comes out."""
    found = shutil.which("git")
    if found is None:
        return Finding("git", "error", "There is no git on the PATH.", "Install it (Debian: `apt-get install git`).")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    if told.returncode:
        return Finding("git", "error", f"{found} does not work: {told.stderr.strip()}", "Install git again.")
    return Finding("git", "ok", f"{told.stdout.strip()}.")


def check_workspace(known: Known) -> Finding:
    """Whether a run could read the workspace; it is read as a run would read it."""
    workspace = known.workspace or (Workspace(known.folder) if known.folder is not None else None)
    if workspace is None:
        message = "None is named; a run starts with an empty folder. Name one with --workspace to have it looked at."
        return Finding("workspace", "skipped", message)
    if shutil.which("git") is None:
        return Finding("workspace", "skipped", "There is no git to read it with.")
    try:
        snapshot = take_snapshot(workspace, known.limits)
    except SandboxConfigError as error:
        return Finding("workspace", "error", str(error))
    snapshot.close()
    size = sum(entry.size for entry in snapshot.entries.values())
    count = len(snapshot.entries)
    repository = snapshot.selection.repository if snapshot.selection else None
    kind = "a git repository" if repository and repository.head else "without a history"
    message = f"{workspace.path} is {kind}; {count} files ({_size(size)}) go into a sandbox."
    return Finding("workspace", "ok", message)


def check_temp(_: Known) -> Finding:
    """Whether the temporary folder, where a workspace's copy and the changes lie for a while, has room."""
    folder = Path(tempfile.gettempdir())
    return judge_room("temp", shutil.disk_usage(folder).free, str(folder), needed=_TEMP_NEEDED, wanted=_TEMP_WANTED)


def check_container(known: Known) -> Finding:
    """Whether 127.0.0.1 means what the user thinks that it means."""
    if not in_container():
        return Finding("container", "ok", "This process does not run inside a container.")
    host = urlsplit(known.endpoint.base_url).hostname if known.endpoint else None
    if host is None or not is_loopback(host):
        return Finding("container", "ok", "This process runs inside a container.")
    if known.reached:
        return Finding(
            "container", "ok", f"This process runs inside a container, and a server answers there at {host}."
        )
    message = f"This process runs inside a container, where {host} is the container itself and not its host."
    remedy = (
        "For a model server on the host, use host.docker.internal in its address (on Linux, start this container with "
        "`--add-host host.docker.internal:host-gateway`) and have the server listen on 0.0.0.0; for one in the same "
        "compose file, use its service's name."
    )
    return Finding("container", "warning", message, remedy)


def in_container(root: Path = Path("/")) -> bool:
    """Whether this process seems to run inside a container.

    Args:
        root: Where the marks are looked for.
    """
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return True
    try:
        groups = (root / "proc/1/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(word in groups for word in ("docker", "containerd", "kubepods", "libpod"))


def is_loopback(host: str) -> bool:
    """Whether a host's name, or its address, always means the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def judge_room(check: str, free: int, place: str, *, needed: int, wanted: int) -> Finding:
    """Say whether there is room enough.

    Args:
        check: The check's name.
        free: Bytes that are free.
        place: Where.
        needed: Bytes without which runs fail.
        wanted: Bytes below which they may.
    """
    message = f"{_size(free)} free in {place}."
    if free >= wanted:
        return Finding(check, "ok", message)
    status: FindingStatus = "error" if free < needed else "warning"
    return Finding(check, status, message, f"Make room: {_size(wanted)} or more is comfortable.")


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
