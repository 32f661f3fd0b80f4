"""`langchain-sandbox build`: the sandbox image, or one derived from it with a project's dependencies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.cli.options import add_command
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import COMPLETED

if TYPE_CHECKING:
    import argparse

    import docker

    from langchain_sandbox.engine.images.recipe import Recipe

_DESCRIPTION = """\
Build the sandbox image where the engine lacks it. With --requirements, --apt, --npm or --from, build one that also
holds a project's dependencies, so that its tests run in the sandbox, which has no network. Without any of them, do
what [tool.langchain-sandbox] in the workspace's pyproject.toml says, if it is there.
The image's tag is all that goes to standard output.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's."""
    parser = add_command(
        commands,
        "build",
        summary="build the sandbox image",
        description=_DESCRIPTION,
        examples="""
            langchain-sandbox build                                # once, and after an update
            langchain-sandbox build --requirements requirements-dev.txt --apt postgresql-client
            langchain-sandbox build --dry-run                      # shows the Dockerfile
        """,
    )
    parser.add_argument(
        "--requirements",
        action="append",
        default=[],
        metavar="FILE",
        type=Path,
        help="Python packages from a requirements file; repeatable",
    )
    parser.add_argument("--apt", action="append", default=[], metavar="PKG", help="a Debian package; repeatable")
    parser.add_argument("--npm", action="append", default=[], metavar="PKG", help="an npm package; repeatable")
    parser.add_argument(
        "--from",
        dest="base",
        metavar="IMAGE",
        help="stand on this image, made from Debian or Ubuntu, instead of Debian",
    )
    parser.add_argument(
        "--workspace",
        metavar="DIR",
        type=Path,
        help="read [tool.langchain-sandbox] of DIR/pyproject.toml; the current folder by default",
    )
    parser.add_argument(
        "--rebuild", action="store_const", const="always", default="if-missing", help="run every step again"
    )
    parser.add_argument(
        "--platform", choices=("linux/amd64", "linux/arm64"), help="build for this platform instead of the engine's own"
    )
    parser.add_argument(
        "--cpu",
        choices=("auto", "baseline"),
        default="auto",
        help="baseline: the OpenCode for CPUs without AVX2, where the engine's is not this machine's",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="build nothing; print what would be built, with the Dockerfile"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build, or say what would be built.

    Args:
        options: What `add_parser` added.

    Returns:
        The exit code 0; the image's tag is on standard output then, or the plan with `--dry-run`.

    Raises:
        SandboxConfigError: If what was asked for cannot work.
        SandboxUnavailableError: If no engine answers, or the build fails.
    """
    from langchain_sandbox.engine.images.build import sigterm_as_exit  # noqa: PLC0415 - loads the docker library, as all below

    with sigterm_as_exit():
        text = _run(options)
    sys.stdout.write(f"{text}\n")
    return COMPLETED


def _run(options: argparse.Namespace) -> str:
    from langchain_sandbox.engine.images.build import build_image  # noqa: PLC0415
    from langchain_sandbox.engine.images.builder import connected  # noqa: PLC0415
    from langchain_sandbox.engine.images.derived_image import build_recipe  # noqa: PLC0415

    recipe = _find_recipe(options)
    with connected(None) as client:
        if options.dry_run:
            return _describe(client, recipe, options)
        if recipe is None:
            return build_image(
                client=client,
                progress=say,
                rebuild=options.rebuild,
                platform=options.platform,
                cpu=options.cpu,
            )
        return build_recipe(
            recipe,
            client=client,
            progress=say,
            rebuild=options.rebuild,
            platform=options.platform,
            cpu=options.cpu,
        )


def _find_recipe(options: argparse.Namespace) -> Recipe | None:
    """What to derive, from the options or the workspace's table; `None` for the package's own image."""
    from langchain_sandbox.engine.images.recipe import read_recipe  # noqa: PLC0415
    from langchain_sandbox.engine.images.table import FILE, TABLE, read_project_table  # noqa: PLC0415
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415

    given = bool(options.requirements or options.apt or options.npm or options.base)
    if given:
        if options.workspace is not None:
            msg = (
                "--workspace takes what to build from its table; leave it out, or --requirements, --apt, --npm, --from."
            )
            raise SandboxConfigError(msg)
        return read_recipe(requirements=options.requirements, apt=options.apt, npm=options.npm, base=options.base)
    workspace = (options.workspace or Path()).expanduser().absolute()
    if not workspace.is_dir():
        msg = f"The workspace {workspace} is no folder."
        raise SandboxConfigError(msg)
    table = read_project_table(workspace)
    if table is None:
        if options.workspace is not None:
            say(f"{workspace / FILE} has no {TABLE}: building the package's own image.")
        return None
    if table.image is not None:
        say(f"{table.path} names {table.image}, which is yours to build: building the package's own image.")
        return None
    say(f"Building what {TABLE} in {table.path} says.")
    return table.recipe


def _describe(client: docker.DockerClient, recipe: Recipe | None, options: argparse.Namespace) -> str:
    from langchain_sandbox.engine.images.build import plan_image  # noqa: PLC0415
    from langchain_sandbox.engine.images.derived_image import plan_derived  # noqa: PLC0415
    from langchain_sandbox.engine.images.package_image import image_context  # noqa: PLC0415

    package = plan_image(client, platform=options.platform, cpu=options.cpu)
    plan = None if recipe is None else plan_derived(client, recipe, package=package)
    otherwise = "" if package.foreign else ", or made with debootstrap"
    base = package.base if package.base_is_local else f"{package.base} (to be pulled{otherwise})"
    if plan is not None:
        # What the Dockerfile's first FROM says; the package's image is built where it is missing.
        base = package.tag if plan.recipe.base is None else f"{plan.recipe.base} ({plan.base_id})"
    foreign = " (another than the engine's own)" if package.foreign else ""
    lines = [
        f"tag:      {package.tag if plan is None else plan.tag}",
        f"platform: {package.platform}{foreign}",
        f"base:     {base}",
        f"opencode: {package.package}",
    ]
    if plan is not None:
        lines += [f"label:    {name}={value}" for name, value in sorted(plan.labels().items())]
    dockerfile = image_context()["Dockerfile"].decode() if plan is None else plan.dockerfile
    return "\n".join([*lines, "", dockerfile.rstrip("\n")])
