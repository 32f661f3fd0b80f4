"""Which image a run starts from: the caller's, else what the workspace's table picks, else the package's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker.errors import ImageNotFound

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.base_image import engine_errors
from langchain_sandbox.engine.images.derived_image import plan_derived, refuse_volumes
from langchain_sandbox.engine.images.package_image import find_image
from langchain_sandbox.engine.images.table import TABLE, ProjectTable, read_project_table
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import docker
    from docker.models.images import Image


def choose_image(client: docker.DockerClient, name: str | None, *, workspace: Path | None) -> str:
    """Find the image that a run starts from. Reads files and asks the engine, so it belongs into a thread.

    The workspace's `[tool.langchain-sandbox]` counts when the caller named no image. The repository may be a
    stranger's, and its word is taken for this much: it picks among the sandbox images that are on the engine. Nothing
    is built or pulled for it, and an image without our label is refused: otherwise a repository could have any
    image of the host's engine started, and read what is in it. What the caller names is the caller's business.

    Args:
        client: The engine.
        name: What the caller named, as `Sandbox(image=)` or in `SANDBOX_IMAGE`.
        workspace: The repository, if there is one.

    Returns:
        The image's id, which stays the same image when somebody moves the tag.

    Raises:
        SandboxConfigError: If the table is wrong, it names an image that is no sandbox, or the image declares a
            volume.
        SandboxUnavailableError: If the engine does not answer or does not have the image; the message says how
            to get it.

    Example:
        ```python
        image_id = choose_image(client, None, workspace=Path("path/to/repository"))
        ```
    """
    table = read_project_table(workspace) if name is None and workspace is not None else None
    if table is None:
        image = find_image(client, name)
        if name is not None:
            refuse_volumes(image, name)
        return str(image.id)
    if table.image is not None:
        return _named(client, table, table.image)
    return _derived(client, table)


def _named(client: docker.DockerClient, table: ProjectTable, name: str) -> str:
    image = _find(client, name)
    if image is None:
        msg = (
            f"The sandbox image {name}, which {table.path} names in {TABLE}, is not on this engine. Pull or build it "
            "yourself, if you trust it; a run does neither for a repository. Or pass Sandbox(image=...)."
        )
        raise SandboxUnavailableError(msg)
    if labels.IMAGE not in (image.labels or {}):
        msg = (
            f"{table.path} names the image {name} in {TABLE}, and that is no sandbox image: it lacks the label "
            f"{labels.IMAGE}. A repository can pick images made by `langchain-sandbox build` or FROM one of those; "
            f"to use this one all the same, pass Sandbox(image={name!r})."
        )
        raise SandboxConfigError(msg)
    refuse_volumes(image, name)
    return str(image.id)


def _derived(client: docker.DockerClient, table: ProjectTable) -> str:
    command = f"langchain-sandbox build --workspace {table.path.parent}"
    assert table.recipe is not None  # noqa: S101 - a table has one or the other
    try:
        tag = plan_derived(client, table.recipe).tag
    except SandboxUnavailableError as error:
        msg = f"{error} Look at {TABLE} in {table.path}; the command is `{command}`."
        raise SandboxUnavailableError(msg) from error
    image = _find(client, tag)
    if image is None:
        msg = (
            f"The sandbox image {tag}, which {table.path} asks for in {TABLE}, is not on this engine. "
            f"Build it with `{command}`."
        )
        raise SandboxUnavailableError(msg)
    return str(image.id)


def _find(client: docker.DockerClient, name: str) -> Image | None:
    with engine_errors(f"Looking for the sandbox image {name}"):
        try:
            return client.images.get(name)
        except ImageNotFound:
            return None
