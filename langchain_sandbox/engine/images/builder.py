"""Having an engine build an image from files in memory, with progress a line at a time and errors that say why."""

from __future__ import annotations

import io
import re
import tarfile
from collections import deque
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.images.base_image import engine_errors, is_local
from langchain_sandbox.engine.images.host_settings import redact
from langchain_sandbox.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import docker

# A step that knows why it fails says so in a line that begins like this.
SAYS = "langchain-sandbox: "

_TAIL_LINES = 20
_LINE_WIDTH = 160
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

# What is known about failures that engines and package managers word badly.
_ADVICE = {
    r"CERTIFICATE_VERIFY_FAILED|UNABLE_TO_GET_ISSUER_CERT|UNABLE_TO_VERIFY_LEAF|SELF_SIGNED_CERT|"
    r"self.signed certificate|SSL certificate problem": (
        "A server's certificate is signed by a CA that the build does not know. Set SSL_CERT_FILE to a file with your "
        "network's CA certificates and build again; the build trusts them, the image does not keep them."
    ),
    r"exec format error": (
        "This engine cannot run programs of that platform. Register an emulator on it (binfmt_misc with QEMU), or "
        "build on a machine of that kind."
    ),
    r"exec: \"/bin/sh\".*no such file": (
        "The base image has no /bin/sh. Take Debian, Ubuntu or an image made from them."
    ),
}


def connected(
    client: docker.DockerClient | None,
) -> closing[docker.DockerClient] | nullcontext[docker.DockerClient]:
    """The caller's client, which stays open, or one of our own, which is closed at the end.

    Raises:
        SandboxUnavailableError: If no engine answers.
    """
    if client is not None:
        return nullcontext(client)
    try:
        with engine_errors("Connecting to the container engine"):
            return closing(find_engine().connect())
    except SandboxUnavailableError as error:
        msg = (
            f"No container engine answers. {error}\n"
            "Start one (in a checkout: `scripts/engine ensure`), or set DOCKER_HOST to the one to use."
        )
        raise SandboxUnavailableError(msg) from error


def build_archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files, the same bytes every time, readable by whichever uid the container runs as."""
    folders = {str(folder) for name in files for folder in Path(name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(folders):
            # Left out, an engine makes them up, and some make them writable for everyone.
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o755
            archive.addfile(entry)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def run_build(  # noqa: PLR0913 - each of them is one of the engine's own
    client: docker.DockerClient,
    *,
    files: Mapping[str, bytes],
    arguments: Mapping[str, str],
    labels: Mapping[str, str],
    tag: str,
    platform: str | None,
    caching: Literal["use", "ignore"],
    report: Callable[[str], None],
    secrets: Iterable[str] = (),
) -> None:
    """Build an image and wait for it.

    Args:
        client: The engine.
        files: The build context, by path.
        arguments: Values of the Dockerfile's ARGs.
        labels: Labels of the finished image.
        tag: Its name and tag.
        platform: Such as `linux/arm64`; `None` for the engine's own.
        caching: Whether steps may come from the engine's cache.
        report: Called with each step's line.
        secrets: What no line may hold.

    Raises:
        SandboxUnavailableError: If it fails; the message has what the failing step said last.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    unfinished = ""
    failure = None
    for event in client.api.build(
        fileobj=io.BytesIO(build_archive(files)),
        custom_context=True,
        tag=tag,
        buildargs=dict(arguments),
        labels=dict(labels),
        platform=platform,
        nocache=caching == "ignore",
        # The containers of the steps, also of the one that fails.
        rm=True,
        forcerm=True,
        decode=True,
    ):
        failure = event.get("error") or failure
        # Pieces of output end anywhere; only a step's own line comes whole.
        *lines, unfinished = (unfinished + _COLOURS.sub("", event.get("stream", ""))).split("\n")
        # Before anything is cut out of a line: half a secret would not be found any more.
        lines = [redact(line, secrets) for line in lines if line.strip()]
        tail.extend(lines)
        for line in lines:
            if line.startswith("Step "):
                report(_shorten(line))
    if failure is None and not is_local(client, tag):
        failure = "the engine reported no error, yet the image is not there"
    if failure is not None:
        msg = _explain(tag, redact(failure, secrets), [*tail, redact(unfinished, secrets)])
        raise SandboxUnavailableError(msg)


def _explain(tag: str, failure: str, lines: list[str]) -> str:
    """The message for a build that failed: the reason first, if it is known, then what was printed last."""
    for line in lines:
        if line.startswith(SAYS):
            return f"Building the sandbox image {tag} failed: {line.removeprefix(SAYS)}"
    text = "\n".join([failure, *lines])
    advice = next((advice for pattern, advice in _ADVICE.items() if re.search(pattern, text, re.IGNORECASE)), None)
    output = "\n".join(f"  {_shorten(line)}" for line in lines if line.strip())
    reason = advice or _shorten(failure)
    return f"Building the sandbox image {tag} failed: {reason}\nThe build's last lines:\n{output}"


def _shorten(line: str) -> str:
    """A line without its middle: a step is quoted with all its commands, the news is at the end."""
    half = _LINE_WIDTH // 2
    return line if len(line) <= _LINE_WIDTH else f"{line[:half]} … {line[-half:]}"
