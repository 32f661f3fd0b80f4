"""The sandbox image: what goes in, what it is called, and whether the engine has it; `build` makes it.

The image's tag is a hash over everything that goes in, so no run ever starts from an image that another
version of this package built: the tag that this version asks for is simply not there until it is built.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import ImageNotFound

from langchain_sandbox._version import __version__
from langchain_sandbox.engine.images.base_image import engine_errors
from langchain_sandbox.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import docker
    from docker.models.images import Image

REPOSITORY = "langchain-opencode-sandbox"
OPENCODE_VERSION = "1.18.33"

# Which npm package holds the binary, by the engine's architecture and whether its CPU has AVX2.
OPENCODE_PACKAGES = {
    ("amd64", True): "opencode-linux-x64",
    ("amd64", False): "opencode-linux-x64-baseline",
    ("arm64", True): "opencode-linux-arm64",
    ("arm64", False): "opencode-linux-arm64",
}

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]

# What goes into the image, relative to the package: the program inside, and the pure parts of the package, which the
# compose file's container uses without a host.
_INSIDE = (
    "_version.py",
    "config.py",
    "errors.py",
    "exits.py",
    "judge.py",
    "link.py",
    "narration.py",
    "outcome.py",
    "output.py",
    "report.py",
    "request.py",
    "transcript.py",
    "untrusted.py",
    "agent/main.py",
    "agent/*.py",
    "commands/*.py",
    "commands/defaults/*.md",
    "compose/*.py",
    "engine/__init__.py",
    "engine/base.py",
    "engine/connection.py",
    "engine/owner.py",
    "engine/scratch.py",
    "gateway/*.py",
    "run_folder.py",
    "workspace_config.py",
    "workspace/*.py",
    "workspace/*/*.py",
)

# `python3 DIR` puts DIR on sys.path, even with -I, and runs this file: imports inside are as on the host.
_MAIN = b'''\
"""Start a program inside the container: `python3 -I -S` on this file's folder, and which one."""

import sys

match sys.argv[1:]:
    case []:
        from langchain_sandbox.agent.main import main
    case ["headless"]:
        # A command's file is YAML, and its answer has a schema. Debian's packages alone: -S keeps everyone else's out.
        sys.path.append("/usr/lib/python3/dist-packages")
        from langchain_sandbox.compose.main import run_headless as main
    case ["interactive"]:
        from langchain_sandbox.compose.main import run_interactive as main
    case ["adapt-config"]:
        from langchain_sandbox.compose.settings import print_adapted as main
    case ["gateway"]:
        from langchain_sandbox.compose.gateway import main
    case _:
        sys.exit(f"there is no program {sys.argv[1:]}")

main()
'''
# A catalogue with nothing in it keeps OpenCode from looking for models on the network.
_MODELS = json.dumps({"sandbox": {"id": "sandbox", "name": "sandbox", "env": [], "models": {}}}).encode()


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
        Contents by path in the build context: `Dockerfile`, below `agent/` what the container runs, and below `native/`
        what OpenCode is started with.

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
    return str(find_image(client, name).id)


def find_image(client: docker.DockerClient, name: str | None = None) -> Image:
    """As `require_image`, with all that the engine says of it.

    Args:
        client: As there.
        name: As there.

    Raises:
        SandboxUnavailableError: As there.
    """
    wanted = name or image_tag()
    with engine_errors(f"Looking for the sandbox image {wanted}"):
        try:
            return client.images.get(wanted)
        except ImageNotFound as error:
            advice = (
                f"Pull or build it, or leave the name out and use {image_tag()}."
                if name
                else "Build it with `langchain-sandbox build` (in a checkout: `make image`)."
            )
            msg = f"The sandbox image {wanted} is not on this engine. {advice}"
            raise SandboxUnavailableError(msg) from error


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
            # Not the package's own: that one is for LangChain, which the container does not have.
            f"{inside}/__init__.py": b"",
            "agent/entrypoint.sh": (root / "compose/entrypoint.sh").read_bytes(),
            "native/bash": (root / "agent/native/bash").read_bytes(),
            "native/gc_timer.c": (root / "agent/native/gc_timer.c").read_bytes(),
        }
        for pattern in _INSIDE:
            # A pattern without a wildcard is a file that must be there.
            paths = sorted(root.glob(pattern)) if "*" in pattern else [root / pattern]
            for path in paths:
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
    settings = json.dumps([__version__, OPENCODE_VERSION, sorted(OPENCODE_PACKAGES.values())]).encode()
    for part in (settings, *(part for name in sorted(context) for part in (name.encode(), context[name]))):
        # With its length before it, no part can pass for the end of another.
        digest.update(len(part).to_bytes(8, "big") + part)
    # A local version such as 0.1.0+abc is no valid tag.
    return f"{REPOSITORY}:{__version__.replace('+', '-')}-{digest.hexdigest()[:12]}"
