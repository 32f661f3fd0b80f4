"""Derived images: the sandbox image with a project's own dependencies, so that its tests run without network."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError, ImageNotFound

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.base_image import engine_errors, ensure_base, is_local, pull_image
from langchain_sandbox.engine.images.build import (
    ImagePlan,
    build_arguments,
    build_image,
    ca_files,
    plan_image,
)
from langchain_sandbox.engine.images.builder import connected, run_build
from langchain_sandbox.engine.images.derived_dockerfile import build_dockerfile, stage_scripts
from langchain_sandbox.engine.images.host_settings import find_passwords, read_host_settings
from langchain_sandbox.engine.images.package_image import image_context, image_tag
from langchain_sandbox.engine.images.recipe import Recipe, digest, read_recipe
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import docker
    from docker.models.images import Image

    from langchain_sandbox.engine.images.build import Cpu, Rebuild


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedPlan:
    """A derived image that would be built, decided and not yet done.

    Args:
        tag: Its name and tag.
        package: The package's own image: what it stands on, or whose steps are done on the base.
        recipe: What goes in.
        base_id: Id of the recipe's base, if it names one.
        dockerfile: How it is made.
    """

    tag: str
    package: ImagePlan
    recipe: Recipe
    base_id: str | None
    dockerfile: str

    def labels(self) -> dict[str, str]:
        """What the image says it was made from."""
        said = {
            labels.DERIVED_FROM: image_tag(),
            labels.DERIVED_BASE: self.recipe.base or "",
            labels.DERIVED_BASE_ID: self.base_id or "",
            labels.DERIVED_REQUIREMENTS: self.recipe.requirements_digest(),
            labels.DERIVED_APT: " ".join(self.recipe.apt),
            labels.DERIVED_NPM: " ".join(self.recipe.npm),
        }
        return {labels.PACKAGE: self.package.package} | {name: value for name, value in said.items() if value}


def build_derived(  # noqa: PLR0913 - each is one thing that goes in
    *,
    requirements: Iterable[str | os.PathLike[str]] = (),
    apt: Iterable[str] = (),
    npm: Iterable[str] = (),
    base: str | None = None,
    client: docker.DockerClient | None = None,
    progress: Callable[[str], None] | None = None,
    rebuild: Rebuild = "if-missing",
    platform: str | None = None,
    cpu: Cpu = "auto",
) -> str:
    """Build the sandbox image with a project's dependencies in it, unless the engine has it already.

    The package's own image is built first where it is missing. What a package's installation runs, it runs as root
    in a build container with network, as `pip install` and `npm install` on your machine would.

    Args:
        requirements: Requirements files; what they include is read too. `python` and `pytest` see the packages.
        apt: Debian packages, `name` or `name=version`.
        npm: npm packages, `name` or `name@version`, installed globally; npm itself comes along.
        base: An image made from Debian or Ubuntu, with Python 3.11 or newer, to stand on instead of Debian. It is
            pulled if the engine does not have it.
        client: As for `build_image`.
        progress: As for `build_image`.
        rebuild: As for `build_image`; `"always"` takes in what is new at the indexes since.
        platform: As for `build_image`.
        cpu: As for `build_image`.

    Returns:
        The image's tag, such as `langchain-opencode-sandbox:0.1.0-3f9c0a1b2c4d-0c1d2e3f4a5b`. It is a hash over
        everything that goes in, so the same input gives the same tag.

    Raises:
        SandboxConfigError: If a name or a line of a requirements file cannot work, or the base cannot be used.
        SandboxUnavailableError: If no engine answers or the build fails; then the message has its last lines.

    Example:
        ```python
        image = build_derived(requirements=["requirements-dev.txt"], apt=["libpq5"], progress=print)
        sandbox = Sandbox(workspace=".", image=image)
        ```
    """
    recipe = read_recipe(requirements=[Path(path) for path in requirements], apt=apt, npm=npm, base=base)
    return build_recipe(recipe, client=client, progress=progress, rebuild=rebuild, platform=platform, cpu=cpu)


def build_recipe(
    recipe: Recipe,
    *,
    client: docker.DockerClient | None = None,
    progress: Callable[[str], None] | None = None,
    rebuild: Rebuild = "if-missing",
    platform: str | None = None,
    cpu: Cpu = "auto",
) -> str:
    """As `build_derived`, from a recipe that was read before.

    Raises:
        SandboxConfigError: If the base cannot be used.
        SandboxUnavailableError: If no engine answers or the build fails.
    """
    report = progress or (lambda _line: None)
    with connected(client) as engine:
        package = plan_image(engine, platform=platform, cpu=cpu)
        if recipe.base is not None:
            _ensure_user_base(engine, recipe.base, package=package, report=report)
        plan = plan_derived(engine, recipe, package=package)
        if rebuild == "if-missing" and is_local(engine, plan.tag):
            return plan.tag
        if recipe.base is None:
            build_image(client=engine, progress=report, rebuild=rebuild, platform=platform, cpu=cpu)
        else:
            # Its steps are done on the base; what they take from its own first stage stands on Debian as ever.
            base = ensure_base(engine, architecture=package.architecture, report=report)
            plan = replace(plan, package=replace(package, base=base))
        with engine_errors(f"Building the sandbox image {plan.tag}"):
            _carry_out(engine, plan, rebuild=rebuild, report=report)
    return plan.tag


def plan_derived(client: docker.DockerClient, recipe: Recipe, *, package: ImagePlan | None = None) -> DerivedPlan:
    """Decide what `build_recipe` builds; changes nothing.

    Args:
        client: The engine.
        recipe: What goes in.
        package: The plan of the package's own image; `None` for the engine's own platform.

    Raises:
        SandboxConfigError: If the recipe's base cannot be used.
        SandboxUnavailableError: If the engine does not answer or does not have the base.
    """
    package = package or plan_image(client)
    base_id = None if recipe.base is None else _base_id(client, recipe.base, package=package)
    context = image_context()
    dockerfile = build_dockerfile(recipe, image=package.tag, package_dockerfile=context["Dockerfile"].decode())
    parts = {
        **recipe.requirements,
        **stage_scripts(),
        "Dockerfile": dockerfile.encode(),
        "base": (base_id or "").encode(),
    }
    digits = digest(part for name in sorted(parts) for part in (name.encode(), parts[name]))[:12]
    return DerivedPlan(
        tag=f"{package.tag}-{digits}", package=package, recipe=recipe, base_id=base_id, dockerfile=dockerfile
    )


def _carry_out(
    client: docker.DockerClient, plan: DerivedPlan, *, rebuild: Rebuild, report: Callable[[str], None]
) -> None:
    host = read_host_settings()
    for note in host.notes if plan.recipe.requirements else ():
        report(note)
    files = {**stage_scripts(), **host.files(), "Dockerfile": plan.dockerfile.encode()}
    files |= {f"requirements/{name}": content for name, content in plan.recipe.requirements.items()}
    hidden = host.secrets() | find_passwords(b" ".join(plan.recipe.requirements.values()).decode())
    if plan.recipe.base is not None:
        files = image_context() | ca_files(os.environ) | files
    report(f"Building {plan.tag}")
    # A word of this build's own: nobody else's stages are removed, and none of ours stays as a cache with secrets.
    stage = secrets.token_hex(8)
    try:
        run_build(
            client,
            files=files,
            arguments={
                **build_arguments(os.environ, base=plan.package.base, package=plan.package.package),
                "STAGE": stage,
            },
            labels=plan.labels(),
            tag=plan.tag,
            platform=plan.package.platform if plan.package.foreign else None,
            caching="ignore" if rebuild == "always" else "use",
            report=report,
            secrets=hidden,
        )
    finally:
        _remove_stages(client, stage)


def _remove_stages(client: docker.DockerClient, stage: str) -> None:
    """Remove the images of stages that held this host's CA and its passwords; failed builds leave them too."""
    found = client.api.images(all=True, filters={"label": f"{labels.STAGE}={stage}"})
    left = [str(image["Id"]) for image in sorted(found, key=lambda image: -image["Created"])]
    progress = True
    while left and progress:  # a parent can go only when its children are gone
        before, left = left, []
        for image in before:
            try:
                client.api.remove_image(image, noprune=True)
            except ImageNotFound:
                continue
            except APIError:
                left.append(image)
        progress = len(left) < len(before)


def _ensure_user_base(
    client: docker.DockerClient, name: str, *, package: ImagePlan, report: Callable[[str], None]
) -> None:
    with engine_errors(f"Looking for the base image {name}"):
        if is_local(client, name):
            return
        report(f"Base image {name} is not on this engine: pulling it")
        failure = pull_image(client, name, architecture=package.architecture, report=report)
    if failure is not None:
        msg = f"The base image {name} is not on this engine and cannot be pulled: {failure}"
        raise SandboxUnavailableError(msg)


def _base_id(client: docker.DockerClient, name: str, *, package: ImagePlan) -> str:
    with engine_errors(f"Looking for the base image {name}"):
        try:
            image = client.images.get(name)
        except ImageNotFound as error:
            msg = f"The base image {name} is not on this engine; `langchain-sandbox build` pulls it."
            raise SandboxUnavailableError(msg) from error
    architecture = image.attrs.get("Architecture")
    if architecture != package.architecture:
        msg = f"The base image {name} is for {architecture}, and an image for {package.architecture} is wanted."
        raise SandboxConfigError(msg)
    refuse_volumes(image, name)
    return str(image.id)


def refuse_volumes(image: Image, name: str) -> None:
    """Refuse an image that would bring a writable disk: an engine makes one for each VOLUME, without a limit.

    Raises:
        SandboxConfigError: If it declares one.
    """
    volumes = (image.attrs.get("Config") or {}).get("Volumes") or {}
    if volumes:
        msg = (
            f"The image {name} declares the volume {', '.join(sorted(volumes))}: a container from it would have a "
            "disk to write on, which no sandbox has. Take an image without VOLUME; an image made from this one "
            "inherits it, `docker export` and `docker import` drop it."
        )
        raise SandboxConfigError(msg)
