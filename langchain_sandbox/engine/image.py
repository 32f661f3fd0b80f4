"""The sandbox image: what goes in, what it is called, and how it is built.

The image's tag is a hash over everything that goes in, so no run ever starts from an image that another
version of this package built: the tag that this version asks for is simply not there until it is built.

    python -m langchain_sandbox.engine.image
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import signal
import sys
import tarfile
from collections import deque
from contextlib import closing, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import docker
from docker.errors import ImageNotFound

from langchain_sandbox._version import __version__
from langchain_sandbox.engine.base_image import engine_errors, ensure_base, is_local
from langchain_sandbox.errors import SandboxError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPOSITORY = "langchain-opencode-sandbox"
OPENCODE_VERSION = "1.18.33"

_PACKAGE_ROOT = Path(__file__).resolve().parent.parent

# Which npm package holds the binary, by the engine's architecture and whether its CPU has AVX2.
_OPENCODE_PACKAGES = {
    ("amd64", True): "opencode-linux-x64",
    ("amd64", False): "opencode-linux-x64-baseline",
    ("arm64", True): "opencode-linux-arm64",
    ("arm64", False): "opencode-linux-arm64",
}

# What the program inside shares with the host, relative to the package.
_SHARED_FILES = ("link.py",)

# `python3 DIR` puts DIR on sys.path, even with -I, and runs this file: imports inside are as on the host.
_MAIN = b'''\
"""Start the program inside the container: `python3 -I -S` on this file's folder."""

from langchain_sandbox.agent.main import main

main()
'''
# A catalogue with nothing in it keeps OpenCode from looking for models on the network.
_MODELS = json.dumps({"sandbox": {"id": "sandbox", "name": "sandbox", "env": [], "models": {}}}).encode()

_CA_FILE = "ca/host-ca.crt"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_TAIL_LINES = 20
_LINE_WIDTH = 160
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@cache
def image_tag() -> str:
    """Name and tag of the image that belongs to exactly this version of the package's files.

    Returns:
        Such as `langchain-opencode-sandbox:0.1.0-3f9c0a1b2c4d`.

    Raises:
        SandboxUnavailableError: If the package is incomplete, so that no image can be built from it.

    Example:
        ```python
        client.images.get(image_tag())
        ```
    """
    return _tag(image_context())


def image_context() -> dict[str, bytes]:
    """The files that an image is built from, all but the host's CA bundle.

    Returns:
        Contents by path in the build context: `Dockerfile`, and below `agent/` what the container runs.

    Raises:
        SandboxUnavailableError: If the package is incomplete.

    Example:
        ```python
        sorted(image_context())  # ['Dockerfile', 'agent/__main__.py', ...]
        ```
    """
    return _context(_PACKAGE_ROOT)


def require_image(client: docker.DockerClient, name: str | None = None) -> str:
    """Find the image that runs start from.

    Args:
        client: The engine.
        name: Name of an image of your own; `None` for the one that belongs to this version of the package.

    Returns:
        The image's id, which stays the same image when somebody moves the tag.

    Raises:
        SandboxUnavailableError: If the engine does not have it, or does not answer.

    Example:
        ```python
        image_id = require_image(client)
        ```
    """
    wanted = name or image_tag()
    with engine_errors(f"Looking for the sandbox image {wanted}"):
        try:
            return str(client.images.get(wanted).id)
        except ImageNotFound as error:
            advice = (
                f"Pull or build it, or leave the name out and use {image_tag()}."
                if name
                else "Build it with `make image`, or `python -m langchain_sandbox.engine.image`."
            )
            msg = f"The sandbox image {wanted} is not on this engine. {advice}"
            raise SandboxUnavailableError(msg) from error


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
    """Build the image with printed progress: `python -m langchain_sandbox.engine.image`.

    Args:
        arguments: The command line; `None` for the process's own.

    Returns:
        The exit code: 0 when the image is there, 1 when it could not be built. The tag is all that goes to
        stdout.
    """
    parser = argparse.ArgumentParser(
        prog="python -m langchain_sandbox.engine.image",
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


def _context(root: Path) -> dict[str, bytes]:
    """The build context of the package at `root`, which tests point at a folder of their own."""
    dockerfile = next(
        # The wheel carries it inside the package, a checkout has it beside the package.
        (path for path in (root / "engine/Dockerfile", root.parent / "Dockerfile") if path.is_file()),
        root / "engine/Dockerfile",
    )
    inside = "agent/langchain_sandbox"
    try:
        context = {
            "Dockerfile": dockerfile.read_bytes(),
            "agent/__main__.py": _MAIN,
            "agent/models.json": _MODELS,
            # Not the package's own: that one imports LangChain, which the container does not have.
            f"{inside}/__init__.py": b"",
            f"{inside}/agent/__init__.py": b"",
            f"{inside}/agent/main.py": (root / "agent/main.py").read_bytes(),
        }
        for path in (*(root / name for name in _SHARED_FILES), *(root / "agent").glob("*.py")):
            context[f"{inside}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    except FileNotFoundError as error:
        msg = (
            f"No sandbox image can be built, since {error.filename} is missing. "
            "Install langchain-opencode-sandbox again, or restore the file in your checkout."
        )
        raise SandboxUnavailableError(msg) from error
    return dict(sorted(context.items()))


def _tag(context: Mapping[str, bytes]) -> str:
    """The tag for a context: everything that decides what is in the image counts, and nothing else.

    Which of the OpenCode packages is taken depends on the engine, and each engine has one answer: the whole
    table counts, so that the tag is known without asking an engine.
    """
    digest = hashlib.sha256()
    settings = json.dumps([__version__, OPENCODE_VERSION, sorted(_OPENCODE_PACKAGES.values())]).encode()
    for part in (settings, *(part for name in sorted(context) for part in (name.encode(), context[name]))):
        # With its length before it, no part can pass for the end of another.
        digest.update(len(part).to_bytes(8, "big") + part)
    # A local version such as 0.1.0+abc is no valid tag.
    return f"{REPOSITORY}:{__version__.replace('+', '-')}-{digest.hexdigest()[:12]}"


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
        return _OPENCODE_PACKAGES[architecture, avx2]
    except KeyError:
        known = ", ".join(sorted({name for name, _ in _OPENCODE_PACKAGES}))
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
            return closing(docker.from_env())
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
