"""Building the sandbox image, from a registry's Debian or from one made on the spot.

python -m langchain_sandbox.engine.images.build
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from docker.errors import ImageNotFound

from langchain_sandbox._version import __version__
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.base_image import BASE_IMAGE, engine_errors, ensure_base, find_base, is_local
from langchain_sandbox.engine.images.builder import connected, run_build
from langchain_sandbox.engine.images.host_settings import npm_registry, read_ca, read_proxies
from langchain_sandbox.engine.images.package_image import (
    OPENCODE_PACKAGES,
    OPENCODE_VERSION,
    REPOSITORY,
    image_context,
    image_tag,
)
from langchain_sandbox.errors import SandboxConfigError, SandboxError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import docker

Rebuild = Literal["if-missing", "always"]
Cpu = Literal["auto", "baseline"]

PLATFORMS = ("linux/amd64", "linux/arm64")

_CA_FILE = "ca/host-ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """What would be built, decided and not yet done.

    Args:
        tag: The image's name and tag.
        base: The image it stands on.
        base_is_local: Whether the engine has the base.
        package: The npm package with the OpenCode binary.
        platform: Such as `linux/amd64`.
        foreign: Whether that is not the engine's own platform.
    """

    tag: str
    base: str
    base_is_local: bool
    package: str
    platform: str
    foreign: bool

    @property
    def architecture(self) -> str:
        """The platform's second half, which is Debian's word for it too."""
        return self.platform.partition("/")[2]


def plan_image(client: docker.DockerClient, *, platform: str | None = None, cpu: Cpu = "auto") -> ImagePlan:
    """Decide what `build_image` builds; changes nothing.

    Args:
        client: The engine.
        platform: As for `build_image`.
        cpu: As for `build_image`.

    Raises:
        SandboxConfigError: If the platform is none that OpenCode has a binary for.
        SandboxUnavailableError: If the engine does not answer, or is of such a platform itself.
    """
    if platform is not None and platform not in PLATFORMS:
        msg = f"The platform is one of {', '.join(PLATFORMS)}, not {platform!r}."
        raise SandboxConfigError(msg)
    with engine_errors("Asking the engine what it is"):
        own = str(client.version()["Arch"])
        architecture = platform.partition("/")[2] if platform else own
        foreign = architecture != own
        avx2 = cpu == "auto" and (foreign or _has_avx2(client))
        package = _opencode_package(architecture, avx2=avx2)
        base = find_base(client, architecture=architecture)
    return ImagePlan(
        # Runs ask for the plain tag, and a foreign image under it would be started.
        tag=f"{image_tag()}-{architecture}" if foreign else image_tag(),
        base=base or BASE_IMAGE,
        base_is_local=base is not None,
        package=package,
        platform=f"linux/{architecture}",
        foreign=foreign,
    )


def build_image(
    *,
    client: docker.DockerClient | None = None,
    progress: Callable[[str], None] | None = None,
    rebuild: Rebuild = "if-missing",
    platform: str | None = None,
    cpu: Cpu = "auto",
) -> str:
    """Build the sandbox image, unless the engine has it already.

    A first build takes about a minute and downloads about 200 MB. Later ones reuse the engine's cache: after
    a change of the program inside only the last two steps run. Images of other versions are left alone, and the
    name `langchain-opencode-sandbox:latest` moves to this one.

    Args:
        client: The engine; `None` for the one that the environment names (`DOCKER_HOST`, the docker context).
        progress: Called with one line at a time.
        rebuild: `"always"` builds every step again, such as to take in Debian's security updates.
        platform: `"linux/amd64"` or `"linux/arm64"`; `None` for the engine's own. Another than that needs an
            emulator on the engine, and the image's tag ends with the architecture.
        cpu: `"baseline"` takes the OpenCode for CPUs without AVX2. `"auto"` looks at this machine's CPU, which
            is right unless the engine is on another machine.

    Returns:
        The image's tag, as `image_tag()` gives it.

    Raises:
        SandboxConfigError: If the platform is none that OpenCode has a binary for.
        SandboxUnavailableError: If no engine answers, no base image can be had, or the build fails; then the
            message has the build's last lines.

    Example:
        ```python
        build_image(progress=print)
        ```
    """
    report = progress or _ignore
    with connected(client) as engine:
        plan = plan_image(engine, platform=platform, cpu=cpu)
        with engine_errors(f"Building the sandbox image {plan.tag}"):
            if rebuild == "always" or not _is_built(engine, plan, cpu=cpu):
                carry_out(engine, plan, rebuild=rebuild, report=report)
            if not plan.foreign:
                engine.images.get(plan.tag).tag(REPOSITORY, "latest")
    return plan.tag


def carry_out(client: docker.DockerClient, plan: ImagePlan, *, rebuild: Rebuild, report: Callable[[str], None]) -> None:
    """Build what was planned.

    Raises:
        SandboxUnavailableError: As for `build_image`.
    """
    base = ensure_base(client, architecture=plan.architecture, report=report)
    report(f"Building {plan.tag} on {base}")
    run_build(
        client,
        files=image_context() | ca_files(os.environ),
        arguments=build_arguments(os.environ, base=base, package=plan.package),
        labels={labels.PACKAGE: plan.package},
        tag=plan.tag,
        platform=plan.platform if plan.foreign else None,
        caching="ignore" if rebuild == "always" else "use",
        report=report,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image with printed progress: `python -m langchain_sandbox.engine.images.build`.

    Args:
        arguments: The command line; `None` for the process's own.

    Returns:
        The exit code: 0 when the image is there, 1 when it could not be built. The tag is all that goes to
        stdout.
    """
    parser = argparse.ArgumentParser(
        prog="python -m langchain_sandbox.engine.images.build",
        description="Build the sandbox image where it is missing.",
    )
    parser.add_argument(
        "--rebuild", action="store_const", const="always", default="if-missing", help="run every step again"
    )
    options = parser.parse_args(arguments)
    try:
        with sigterm_as_exit():
            tag = build_image(progress=print_progress, rebuild=options.rebuild)
    except SandboxError as error:
        print_progress(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    sys.stdout.write(f"{tag}\n")
    return 0


def print_progress(line: str) -> None:
    """Write a line to stderr, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def ca_files(environ: Mapping[str, str]) -> dict[str, bytes]:
    """The CA bundle that this host trusts, for the one build step that speaks HTTPS; else an empty file."""
    # Not no file at all: COPY refuses a folder that the context does not have.
    return {_CA_FILE: read_ca(environ)}


def build_arguments(environ: Mapping[str, str], *, base: str, package: str) -> dict[str, str]:
    """Values for the Dockerfile's ARGs; the engine knows the proxies' and keeps them out of the image."""
    registry = npm_registry(environ)
    return {
        **read_proxies(environ),
        **({"NPM_CONFIG_REGISTRY": registry} if registry else {}),
        "BASE": base,
        "OPENCODE_VERSION": OPENCODE_VERSION,
        "OPENCODE_PACKAGE": package,
        "VERSION": __version__,
    }


def _is_built(client: docker.DockerClient, plan: ImagePlan, *, cpu: Cpu) -> bool:
    """Whether the engine has what was planned. Which binary is in it counts only if somebody chose one."""
    if cpu == "auto":
        return is_local(client, plan.tag)
    try:
        return client.images.get(plan.tag).labels.get(labels.PACKAGE) == plan.package
    except ImageNotFound:
        return False


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
    # build ends where the binary is asked for its version, and `cpu="baseline"` is the way out.
    if not client.api.base_url.startswith(("http+docker://localhost", "http+unix://")):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # macOS: the engine is in a virtual machine on a current CPU
        return True
    return re.search(r"^flags\s*:.*\bavx2\b", flags, re.MULTILINE) is not None


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """By default SIGTERM skips every cleanup; as an exception it ends the build and clears temporary files."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ignore(_line: str) -> None:
    """Progress that nobody asked for."""


if __name__ == "__main__":
    sys.exit(main())
