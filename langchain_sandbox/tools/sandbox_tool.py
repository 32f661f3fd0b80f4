"""The tool that hands a task to a sandbox."""

from __future__ import annotations

import math
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from langchain_sandbox.egress_config import describe_network
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.tools.base import RunTool
from langchain_sandbox.untrusted import strip_controls

FREE = "run_in_sandbox"
"""The tool's name. It stands for a free task, where every other tool stands for one command."""
MAX_FILES = 50
MAX_FILE_NAME = 300

_DESCRIPTION = (
    "Hand a coding task to an autonomous coding agent. It works on a copy of the repository in an isolated container "
    "{network}, where it can read, edit and run programs, and returns what it did and a patch. Use it for "
    "anything that needs code to be changed, run or inspected. One call is one complete task."
)


def clean_file_name(name: str) -> str:
    """A hint's name on one line, with nothing hidden in it; no file is ever looked at.

    Raises:
        ValueError: If it leaves the repository.
    """
    cleaned = " ".join(strip_controls(name).split())
    windows = PureWindowsPath(cleaned)
    if PurePosixPath(cleaned).is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        msg = "names are relative to the repository's root, such as src/app.py"
        raise ValueError(msg)
    return cleaned


_FileName = Annotated[str, Field(max_length=MAX_FILE_NAME), AfterValidator(clean_file_name)]


class SandboxTask(BaseModel):
    """What the calling model may say. Paths, image and limits are the tool's own, never the model's."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(
        description="What the agent should do, complete in itself: it sees the repository, not this conversation."
    )
    files: list[_FileName] = Field(
        default_factory=list,
        max_length=MAX_FILES,
        description="Files of the repository that the agent should look at first, as names relative to its root.",
    )


class SandboxTool(RunTool):
    """Hands a coding task to an agent in an ephemeral sandbox that works on a copy of the repository.

    The message's text is for the calling model; its `artifact` is the whole `SandboxResult` as plain JSON data. A run
    that ended badly, and an engine that is missing, come back as a message with `status="error"` and an artifact: a
    tool that raises would end the agent. Inside a graph, events go to `stream_mode="custom"` and `"tools"`, to
    `astream_events` and to `stream_events(version="v3")`.

    Args:
        sandbox: What runs the tasks; made from the environment by default.
        max_timeout: Seconds that a model may give a task at most; the sandbox's `timeout` by default, which is also
            what a task gets for which the model names none.
        output: What the typed answer must look like: a pydantic model, any type, or a JSON Schema.
        changes: As for `Sandbox.run`, for every run of the tool.
        session_ttl: With it, the tasks of one thread of a graph (`thread_id`) go into one session, which ends when no
            task came for that many seconds; see `Sandbox.session`. By default each task has a container of its own.

    Raises:
        SandboxConfigError: If `max_timeout` is no positive number.

    Example:
        ```python
        tool = SandboxTool(sandbox=Sandbox(workspace="path/to/repository"))
        agent = create_agent(model, tools=[tool])
        ```
    """

    name: str = FREE
    description: str = ""
    max_timeout: float | None = None

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 - the fields
        super().__init__(**fields)
        if not self.description:
            self.description = _DESCRIPTION.format(network=describe_network(self.sandbox.egress))

    def _build_arguments(self) -> type[BaseModel]:
        ceiling = self.sandbox.timeout if self.max_timeout is None else self.max_timeout
        if not 0 < ceiling < math.inf:
            msg = f"max_timeout is a positive number of seconds, not {ceiling!r}."
            raise SandboxConfigError(msg)
        usual = min(self.sandbox.timeout, ceiling)
        description = f"Seconds that the task may take, at most {ceiling:g}."
        timeout = (float, Field(default=usual, gt=0, le=ceiling, description=description))
        return create_model("SandboxTask", __base__=SandboxTask, __doc__=SandboxTask.__doc__, timeout=timeout)

    def _build_request(self, arguments: dict[str, Any]) -> dict[str, Any]:
        task = _add_files(arguments["task"], arguments["files"])
        return {"task": task, "timeout": arguments["timeout"]}


def _add_files(task: str, files: list[str]) -> str:
    names = [name for name in dict.fromkeys(files) if name]
    if not names or not task.strip():  # names alone are no task
        return task
    return "\n".join([task.rstrip(), "", "Look at these files first:", *(f"- {name}" for name in names)])
