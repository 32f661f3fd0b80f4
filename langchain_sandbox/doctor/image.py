"""The check of the image: that it is there, and that what is derived from ours is derived from the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from docker.errors import DockerException, ImageNotFound

from langchain_sandbox._version import __version__
from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.engine.images.choice import choose_image
from langchain_sandbox.engine.images.package_image import OPENCODE_VERSION, REPOSITORY, image_tag
from langchain_sandbox.engine.images.table import read_project_table
from langchain_sandbox.engine.labels import DERIVED_FROM, PREFIX
from langchain_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import docker

_BUILD = "Run `langchain-sandbox build`."


def check_image(known: Known) -> Finding:
    """Whether the image that runs would start from is on the engine, and current."""
    client = known.client
    assert client is not None  # noqa: S101 - the table says that it is needed
    try:
        own = _find(client, image_tag())
        if known.image is None and known.workspace is not None and read_project_table(known.workspace.path) is not None:
            return _judge_table(client, known, own)
        if known.image is None:
            return _judge_own(client, known, own)
        derived = _find(client, known.image)
        if derived is None:
            remedy = "Pull or build it, correct its name (--image, SANDBOX_IMAGE), or leave the name out."
            return Finding("image", "error", f"The image {known.image} is not on this engine.", remedy)
        known.image_id = str(derived["Id"])
        return judge_derived(known.image, derived, own)
    except SandboxError as error:
        return Finding("image", "error", str(error))
    except (DockerException, requests.RequestException) as error:
        return Finding("image", "error", f"The engine does not tell about its images: {error}", "Look at its log.")


def _find(client: docker.DockerClient, name: str) -> dict[str, Any] | None:
    try:
        return dict(client.images.get(name).attrs)
    except ImageNotFound:
        return None


def _judge_own(client: docker.DockerClient, known: Known, own: Mapping[str, Any] | None) -> Finding:
    tag = image_tag()
    if own is not None:
        known.image_id = str(own["Id"])
        size = int(own.get("Size") or 0) / 1e6
        return Finding("image", "ok", f"{tag} is there, with OpenCode {OPENCODE_VERSION} ({size:.0f} MB).")
    others = sorted(name for image in client.api.images(REPOSITORY) for name in image.get("RepoTags") or [])
    note = (
        f" The {len(others)} that are, such as {others[0]}, belong to other versions of the package." if others else ""
    )
    return Finding("image", "error", f"The sandbox image {tag} is not on this engine.{note}", _BUILD)


def _judge_table(client: docker.DockerClient, known: Known, own: Mapping[str, Any] | None) -> Finding:
    """The image that the workspace's own pyproject.toml picks; what is wrong with that choice is raised."""
    known.image_id = choose_image(client, None, workspace=known.workspace.path if known.workspace else None)
    attributes = dict(client.images.get(known.image_id).attrs)
    name = next(iter(attributes.get("RepoTags") or []), known.image_id)
    return judge_derived(f"{name}, which the workspace's pyproject.toml picks,", attributes, own)


def judge_derived(name: str, derived: Mapping[str, Any], own: Mapping[str, Any] | None) -> Finding:
    """Say whether an image is built on the current one of ours.

    Args:
        name: What it is called.
        derived: The engine's words on it.
        own: The engine's words on the current image of ours, if it is there.
    """
    labels = (derived.get("Config") or {}).get("Labels") or {}
    if f"{PREFIX}.image" not in labels:
        message = f"The image {name} is not built on the sandbox image, so no run can start from it."
        return Finding(
            "image", "error", message, f"Begin its Dockerfile with `FROM {image_tag()}`, and build it again."
        )
    made_from = labels.get(DERIVED_FROM)
    if made_from is not None:
        return _judge_made(name, made_from)
    rebuild = f"Build it again on {image_tag()}."
    if own is not None:
        below, above = _layers(own), _layers(derived)
        if above[: len(below)] == below:
            return Finding("image", "ok", f"{name} is there, built on the current {image_tag()}.")
        return Finding("image", "error", f"The image {name} is not built on the current {image_tag()}.", rebuild)
    versions = (labels.get(f"{PREFIX}.version"), labels.get(f"{PREFIX}.opencode"))
    if versions != (__version__, OPENCODE_VERSION):
        message = (
            f"The image {name} is built on the sandbox image of version {versions[0]} with OpenCode {versions[1]}; "
            f"this is version {__version__} with OpenCode {OPENCODE_VERSION}."
        )
        return Finding("image", "error", message, f"{_BUILD} {rebuild}")
    return Finding("image", "ok", f"{name} is there, built on a sandbox image of version {__version__}.")


def _judge_made(name: str, made_from: str) -> Finding:
    """What `langchain-sandbox build` made says itself from what; on a base of the user's the layers would not tell."""
    if made_from == image_tag():
        return Finding("image", "ok", f"{name} is there, made from the current {image_tag()}.")
    message = f"The image {name} was made from {made_from}, which is not the current {image_tag()}."
    return Finding("image", "error", message, "Build it again with `langchain-sandbox build` and the same options.")


def _layers(image: Mapping[str, Any]) -> list[str]:
    return list((image.get("RootFS") or {}).get("Layers") or [])
