"""Where the sandbox image's base comes from: this engine, a registry, or debootstrap on this machine.

A registry is the normal way. The third way is for machines that reach Debian's packages and no registry, as
is common in closed networks.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import DockerException, ImageNotFound
from docker.utils import parse_repository_tag
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from langchain_sandbox.engine.labels import PREFIX
from langchain_sandbox.errors import SandboxError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

BASE_IMAGE = "debian:bookworm-slim"
# What debootstrap makes gets a name of its own: to call it `debian:bookworm-slim` would hide Debian's own
# image from everything else that uses this engine.
LOCAL_BASE = "langchain-opencode-sandbox-base:bookworm"

_SUITE = "bookworm"
_TAIL_LINES = 20
_CHUNK = 1024 * 1024

# What Debian's own slim image leaves out, so that packages of later steps leave it out as well.
_DPKG_SLIM = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""
_SUPERFLUOUS = (
    "etc/hostname",  # the building machine's name and
    "etc/resolv.conf",  # its name servers are nobody else's business
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/lib/apt/lists/*",
    "var/log/*",
)
_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@contextmanager
def engine_errors(action: str) -> Iterator[None]:
    """Turn whatever the Docker SDK raises into `SandboxUnavailableError`.

    Args:
        action: What is being tried, as the start of the message: "Building the sandbox image".

    Raises:
        SandboxUnavailableError: If the engine refused, or the connection to it broke.

    Example:
        ```python
        with engine_errors("Asking the engine for its version"):
            client.version()
        ```
    """
    try:
        yield
    except SandboxError:
        raise  # ours is a ConnectionError, hence an OSError, too: it must not be wrapped again
    except (DockerException, RequestException, HTTPError, OSError) as error:
        # Streamed answers are read below requests: errors of urllib3 and of the socket come up as they are.
        msg = f"{action} failed: {error}"
        raise SandboxUnavailableError(msg) from error


def is_local(client: docker.DockerClient, name: str) -> bool:
    """Whether the engine has an image of this name.

    Args:
        client: The engine.
        name: Name with or without a tag, or an id.
    """
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def ensure_base(client: docker.DockerClient, *, architecture: str, report: Callable[[str], None]) -> str:
    """Make sure that the engine has a base image: look, else pull, else make one with debootstrap.

    Args:
        client: The engine.
        architecture: The image's, in Debian's words: `"amd64"` or `"arm64"`.
        report: Called with one line of progress at a time.

    Returns:
        Name of the image to build on.

    Raises:
        SandboxUnavailableError: If no way works; the message has each one that was tried, and what to do.

    Example:
        ```python
        ensure_base(docker.from_env(), architecture="amd64", report=print)
        ```
    """
    local = find_base(client, architecture=architecture)
    if local is not None:
        return local
    report(f"Base image {BASE_IMAGE} for {architecture} is not on this engine: pulling it")
    pull_failure = pull_image(client, BASE_IMAGE, architecture=architecture, report=report)
    if pull_failure is None:
        return BASE_IMAGE
    report(pull_failure)
    debootstrap_failure = _debootstrap_obstacle(architecture)
    if debootstrap_failure is None:
        report("Making a base image with debootstrap instead (about a minute)")
        debootstrap_failure = _debootstrap(client, architecture, report)
    if debootstrap_failure is None:
        return LOCAL_BASE
    msg = (
        f"The sandbox image needs {BASE_IMAGE} as its base, and it cannot be had. Tried:\n"
        f"  1. this engine: it has neither {BASE_IMAGE} nor {LOCAL_BASE} for {architecture};\n"
        f"  2. docker pull {BASE_IMAGE}: {pull_failure}\n"
        f"  3. debootstrap: {debootstrap_failure}\n"
        "Do one of these, then build again:\n"
        f"  - let the engine reach a registry, or pull {BASE_IMAGE} from a mirror and `docker tag` it;\n"
        "  - on a Debian machine, as root: apt-get install debootstrap;\n"
        f"  - on a machine that has it: docker save {BASE_IMAGE} >base.tar; here: docker load <base.tar"
    )
    raise SandboxUnavailableError(msg)


def find_base(client: docker.DockerClient, *, architecture: str) -> str | None:
    """Name of the base that the engine has already, if it has one for this architecture.

    An engine has one image under a name: it may be another architecture's, from a build for another platform.
    """
    for name in (BASE_IMAGE, LOCAL_BASE):
        try:
            if client.images.get(name).attrs.get("Architecture") == architecture:
                return name
        except ImageNotFound:
            continue
    return None


def pull_image(
    client: docker.DockerClient, name: str, *, architecture: str, report: Callable[[str], None]
) -> str | None:
    """Pull an image from its registry.

    Args:
        client: The engine.
        name: The image's name, with a tag or a digest; without, its `latest`.
        architecture: Such as `"arm64"`.
        report: Called with one line of progress at a time.

    Returns:
        `None` when the engine has it now, else why not.
    """
    repository, tag = parse_repository_tag(name)
    try:
        with engine_errors("The pull"):
            for event in client.api.pull(
                repository, tag=tag or "latest", stream=True, decode=True, platform=f"linux/{architecture}"
            ):
                if "error" in event:
                    return str(event["error"]).strip()
                # Lines with progressDetail repeat many times a second; the others say that something changed.
                if event.get("status") and not event.get("progressDetail"):
                    report(f"{event.get('id', '')} {event['status']}".strip())
            if not is_local(client, name):
                return "the engine reported no error, yet the image is not there."
    except SandboxUnavailableError as error:
        return str(error)
    return None


def _debootstrap_obstacle(architecture: str) -> str | None:
    """Why debootstrap cannot work on this machine, or `None`."""
    if not Path("/etc/debian_version").is_file():
        return "not tried, since this machine is not a Debian or one of its kin."
    if os.geteuid() != 0:
        return "not tried, since it needs root."
    if shutil.which("debootstrap") is None:
        return "not tried, since it is not installed (apt-get install debootstrap)."
    here = _DEBIAN_ARCHITECTURES.get(platform.machine())
    if here != architecture:
        return f"not tried, since the engine is {architecture} and this machine is {platform.machine()}."
    return None


def _debootstrap(client: docker.DockerClient, architecture: str, report: Callable[[str], None]) -> str | None:
    """Make the base and import it as `LOCAL_BASE`; `None` when it worked, else why it did not."""
    # Not /tmp: it is often a tmpfs mounted nodev, where debootstrap refuses to work.
    parent = os.environ.get("TMPDIR", "/var/tmp")  # noqa: S108 - only the parent of a folder made privately
    with tempfile.TemporaryDirectory(prefix="langchain-sandbox-base-", dir=parent) as folder:
        root = Path(folder) / "root"
        command = [
            # debootstrap mounts /proc and /sys below its target. In a mount namespace of its own they vanish
            # with it, however it ends; otherwise removing the folder would walk into them.
            *((unshare, "--mount") if (unshare := shutil.which("unshare")) else ()),
            shutil.which("debootstrap") or "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            f"--arch={architecture}",
            _SUITE,
            str(root),
        ]
        failure = _run(command, report)
        if failure is None:
            _slim(root)
            report(f"Importing {LOCAL_BASE}")
            failure = _import(client, root)
    return failure


def _run(command: list[str], report: Callable[[str], None]) -> str | None:
    """Run debootstrap and report its phases; `None` when it worked, else its last lines."""
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    phases: set[str] = set()
    with subprocess.Popen(  # noqa: S603 - our own fixed command, with nothing of a caller's in it
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                tail.append(line.rstrip())
                # "I: Retrieving bash 5.2" comes once for every package; the first tells enough.
                _, phase, *_ = f"{line} - -".split()
                if phase not in phases:
                    phases.add(phase)
                    report(line.rstrip())
        except BaseException:
            # Its children (wget, dpkg) would go on writing into the folder that is about to be removed.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode == 0:
        return None
    return f"ended with code {process.returncode}:\n" + "\n".join(f"     {line}" for line in tail)


def _slim(root: Path) -> None:
    """Take out of a fresh system what Debian's slim image leaves out as well; licences stay."""
    for pattern in _SUPERFLUOUS:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in (root / "usr/share/doc").rglob("*"):
        if path.name != "copyright" and (path.is_symlink() or not path.is_dir()):
            path.unlink()
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(_DPKG_SLIM)
    sources = root / "etc/apt/sources.list"
    sources.write_text(_add_updates(sources.read_text()))


def _add_updates(sources: str) -> str:
    """Package sources with what has come since the release; debootstrap writes the release's alone.

    Args:
        sources: The one line that debootstrap wrote, with the mirror that it chose.
    """
    _, mirror, suite, component = sources.split()
    mirror = mirror.rstrip("/")
    return (
        f"deb {mirror} {suite} {component}\n"
        f"deb {mirror} {suite}-updates {component}\n"
        f"deb {mirror}-security {suite}-security {component}\n"
    )


def _import(client: docker.DockerClient, root: Path) -> str | None:
    """Stream a system's files into the engine; `None` when it worked, else why it did not."""
    repository, tag = LOCAL_BASE.split(":")
    command = [shutil.which("tar") or "tar", "--numeric-owner", "-C", str(root), "-c", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - fixed command
        pipe = process.stdout
        if pipe is None:  # pragma: no cover - never with stdout=PIPE, but the type says it may
            return "tar has no output."
        try:
            with engine_errors("The import"):
                # A generator is sent in chunks as tar makes them; import_image_from_stream would do so too,
                # but gives up when the engine needs more than a minute for the answer.
                client.api.import_image_from_data(
                    iter(lambda: pipe.read(_CHUNK), b""),
                    repository=repository,
                    tag=tag,
                    changes=[f"LABEL {PREFIX}.base=1"],
                )
        except SandboxUnavailableError as error:
            process.kill()
            return str(error)
    if process.returncode != 0:
        # The engine may well have taken half a system for a whole one.
        with suppress(SandboxUnavailableError), engine_errors("Removing the incomplete image"):
            client.images.remove(LOCAL_BASE)
        return f"tar ended with code {process.returncode}."
    return None
