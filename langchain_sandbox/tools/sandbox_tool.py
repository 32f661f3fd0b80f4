"""The tool that hands a task to a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_stream_writer
from pydantic import BaseModel, ConfigDict, Field

from langchain_sandbox.errors import SandboxError
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.tools.content import describe_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.result import SandboxResult

Answer = tuple[str | ToolMessage, dict[str, Any]]


class SandboxToolInput(BaseModel):
    """What the calling model may say. Paths, image and limits are the tool's own, never the model's."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(
        description="What the agent should do, complete in itself: it sees the repository, not this conversation."
    )


class SandboxTool(BaseTool):
    """Hands a coding task to an agent in an ephemeral sandbox that works on a copy of the repository.

    The message's text is for the calling model; its `artifact` is the whole `SandboxResult` as plain JSON data.
    A run that ended badly, and an engine that is missing, come back as a message with `status="error"` and an
    artifact: a tool that raises would end the agent. Inside a graph, progress goes to `stream_mode="custom"`.

    Args:
        sandbox: What runs the tasks; made from the environment by default.

    Example:
        ```python
        tool = SandboxTool(sandbox=Sandbox(workspace="path/to/repository"))
        agent = create_agent(model, tools=[tool])
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = "run_in_sandbox"
    description: str = (
        "Hand a coding task to an autonomous coding agent. It works on a copy of the repository in an isolated "
        "container without network, where it can read, edit and run programs, and returns what it did and a patch. "
        "Use it for anything that needs code to be changed, run or inspected. One call is one complete task."
    )
    args_schema: Any = SandboxToolInput
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    sandbox: Sandbox = Field(default_factory=Sandbox)

    def _run(self, task: str, *, tool_call_id: str | None = None, **_: Any) -> Answer:  # noqa: ANN401 - LangChain's own
        try:
            with self.sandbox.start(task) as handle:
                write = _find_writer()
                for event in handle.events():
                    write(event)
                return _build_answer(handle.result(), tool_call_id)
        except SandboxError as error:
            return _build_refusal(error, tool_call_id)

    async def _arun(self, task: str, *, tool_call_id: str | None = None, **_: Any) -> Answer:  # noqa: ANN401 - as above
        try:
            async with await self.sandbox.astart(task) as handle:
                write = _find_writer()
                async for event in handle.aevents():
                    write(event)
                return _build_answer(await handle.aresult(), tool_call_id)
        except SandboxError as error:
            return _build_refusal(error, tool_call_id)

    def _to_args_and_kwargs(self, tool_input: Any, tool_call_id: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:  # noqa: ANN401 - LangChain's own
        # The one way to learn the call's id that a model cannot forge and a plain `invoke` does not need.
        positional, named = super()._to_args_and_kwargs(tool_input, tool_call_id)
        return tuple(positional), {**named, "tool_call_id": tool_call_id}


def _find_writer() -> Callable[[SandboxEvent], None]:
    """Where progress goes: the graph's stream, if a graph is running us."""
    try:
        writer = get_stream_writer()
    except (RuntimeError, KeyError):
        return lambda _event: None
    return lambda event: writer({"sandbox": event.model_dump(mode="json")})


def _build_answer(result: SandboxResult, tool_call_id: str | None) -> Answer:
    artifact = result.model_dump(mode="json")
    content = describe_result(result)
    if result.ok or tool_call_id is None:
        return content, artifact
    return ToolMessage(content, artifact=artifact, tool_call_id=tool_call_id, status="error"), artifact


def _build_refusal(error: SandboxError, tool_call_id: str | None) -> Answer:
    artifact = {"ok": False, "error": type(error).__name__, "message": str(error)}
    content = f"The sandbox could not be used. {error}"
    if tool_call_id is None:
        return content, artifact
    return ToolMessage(content, artifact=artifact, tool_call_id=tool_call_id, status="error"), artifact
