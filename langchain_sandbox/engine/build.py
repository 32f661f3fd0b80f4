"""Building the sandbox image, from a registry's Debian or from one made on the spot.

python -m langchain_sandbox.engine.build
"""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
import tarfile
from collections import deque
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from langchain_sandbox._version import __version__
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.base_image import engine_errors, ensure_base, is_local
from langchain_sandbox.engine.image import OPENCODE_PACKAGES, OPENCODE_VERSION, image_context, image_tag
from langchain_sandbox.errors import SandboxError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import docker

_CA_FILE = "ca/host-ca.crt"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_TAIL_LINES = 20
_LINE_WIDTH = 160
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def build_image(
    *,
    client: docker.DockerClient | None = None,
    progress: Callable[[str], None] | None = None,
    rebuild: Literal["if-missing", "always"] = "if-missing",
) -> str:
    """Build the sandbox image, unless the engine has it already.

    A first build takes about a minute and downloads about 200 MB. Later ones reuse the engine's cache: after
    a change of the program inside only the last two steps run. Images of other versions are left alone.

    Args:
        client: The engine; `None` for the one that the environment names (`DOCKER_HOST`, the docker context).
        progress: Called with one line at a time.
        rebuild: `"always"` builds every step again, such as to take in Debian's security updates.

    Returns:
        The image's tag, as `image_tag()` gives it.

    Raises:
        SandboxUnavailableError: If no engine answers, no base image can be had, or the build fails; then the
            message has the build's last lines.

    Example:
        ```python
        build_image(progress=print)
        ```
    """
    tag = image_tag()
    report = progress or _ignore
    with _connected(client) as engine, engine_errors(f"Building the sandbox image {tag}"):
        if rebuild == "if-missing" and is_local(engine, tag):
            return tag
        architecture = str(engine.version()["Arch"])
        package = _opencode_package(architecture, avx2=_has_avx2(engine))
        base = ensure_base(engine, architecture=architecture, report=report)
        report(f"Building {tag} on {base}")
        _build(
            engine,
            context=_archive(image_context() | _ca_files(os.environ)),
            arguments=_build_arguments(os.environ, base=base, package=package),
            tag=tag,
            caching="ignore" if rebuild == "always" else "use",
            report=report,
        )
    return tag


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image with printed progress: `python -m langchain_sandbox.engine.build`.

    Args:
        arguments: The command line; `None` for the process's own.

    Returns:
        The exit code: 0 when the image is there, 1 when it could not be built. The tag is all that goes to
        stdout.
    """
    parser = argparse.ArgumentParser(
        prog="python -m langchain_sandbox.engine.build",
        description="Build the sandbox image where it is missing.",
    )
    parser.add_argument(
        "--rebuild", action="store_const", const="always", default="if-missing", help="run every step again"
    )
    options = parser.parse_args(arguments)
    # By default SIGTERM skips every cleanup; as an exception it ends the build and clears temporary files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        tag = build_image(progress=_print_progress, rebuild=options.rebuild)
    except SandboxError as error:
        _print_progress(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    sys.stdout.write(f"{tag}\n")
    return 0


def _archive(files: Mapping[str, bytes]) -> bytes:
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


def _ca_files(environ: Mapping[str, str]) -> dict[str, bytes]:
    """The CA bundle that this host trusts, for the one build step that speaks HTTPS; else an empty file."""
    for variable in _CA_VARIABLES:
        try:
            content = Path(environ[variable]).read_bytes()
        except (KeyError, OSError):
            continue
        if content:
            return {_CA_FILE: content}
    # Not no file at all: COPY refuses a folder that the context does not have.
    return {_CA_FILE: b""}


def _build_arguments(environ: Mapping[str, str], *, base: str, package: str) -> dict[str, str]:
    """Values for the Dockerfile's ARGs; the engine knows the proxies' and keeps them out of the image."""
    proxies = {
        name: environ[name] for upper in _PROXY_VARIABLES for name in (upper, upper.lower()) if environ.get(name)
    }
    return {
        **proxies,
        "BASE": base,
        "OPENCODE_VERSION": OPENCODE_VERSION,
        "OPENCODE_PACKAGE": package,
        "VERSION": __version__,
    }


def _opencode_package(architecture: str, *, avx2: bool) -> str:
    try:
        return OPENCODE_PACKAGES[architecture, avx2]
    except KeyError:
        known = ", ".join(sorted({name for name, _ in OPENCODE_PACKAGES}))
        msg = f"OpenCode has no binary for this engine's architecture, {architecture}; it has for {known}."
        raise SandboxUnavailableError(msg) from None


def _has_avx2(client: docker.DockerClient) -> bool:
    """Whether the engine's CPU has AVX2, as far as one can know: an engine does not tell."""
    # The SDK's name for a unix socket. For any other engine the usual CPU is assumed; if that is wrong, the
    # build ends where the binary is asked for its version.
    if not client.api.base_url.startswith(("http+docker://localhost", "http+unix://")):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # macOS: the engine is in a virtual machine on a current CPU
        return True
    return re.search(r"^flags\s*:.*\bavx2\b", flags, re.MULTILINE) is not None


def _connected(
    client: docker.DockerClient | None,
) -> closing[docker.DockerClient] | nullcontext[docker.DockerClient]:
    """The caller's client, which stays open, or one of our own, which is closed at the end."""
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


def _build(
    client: docker.DockerClient,
    *,
    context: bytes,
    arguments: dict[str, str],
    tag: str,
    caching: Literal["use", "ignore"],
    report: Callable[[str], None],
) -> None:
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    unfinished = ""
    failure = None
    for event in client.api.build(
        fileobj=io.BytesIO(context),
        custom_context=True,
        tag=tag,
        buildargs=arguments,
        nocache=caching == "ignore",
        # The containers of the steps, also of the one that fails.
        rm=True,
        forcerm=True,
        decode=True,
    ):
        failure = event.get("error") or failure
        # Pieces of output end anywhere; only a step's own line comes whole.
        *lines, unfinished = (unfinished + _COLOURS.sub("", event.get("stream", ""))).split("\n")
        tail.extend(line for line in lines if line.strip())
        for line in lines:
            if line.startswith("Step "):
                report(_shorten(line))
    if failure is None and not is_local(client, tag):
        failure = "the engine reported no error, yet the image is not there"
    if failure is not None:
        output = "\n".join(f"  {_shorten(line)}" for line in (*tail, unfinished) if line.strip())
        msg = f"Building the sandbox image {tag} failed: {_shorten(failure)}\nThe build's last lines:\n{output}"
        raise SandboxUnavailableError(msg)


def _shorten(line: str) -> str:
    """A line without its middle: a step is quoted with all its commands, the news is at the end."""
    half = _LINE_WIDTH // 2
    return line if len(line) <= _LINE_WIDTH else f"{line[:half]} … {line[-half:]}"


def _ignore(_line: str) -> None:
    """Progress that nobody asked for."""


def _print_progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
