"""What all tools over a `Sandbox` do: start the run, pass its events on, and answer for it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field

from langchain_sandbox.config import ChangesPolicy  # noqa: TC001 - pydantic reads the fields' types at run time
from langchain_sandbox.errors import SandboxError
from langchain_sandbox.output import Output
from langchain_sandbox.progress import Progress
from langchain_sandbox.request import check_timeout
from langchain_sandbox.runs_once import DEFAULT_STORE, arun_once, run_once
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.tools.content import describe_refusal, describe_result
from langchain_sandbox.tools.injected import Injected, with_injected, without_injected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langgraph.prebuilt import ToolRuntime

    from langchain_sandbox.result import SandboxResult

Answer = tuple[str | ToolMessage, dict[str, Any]]


class RunTool(BaseTool):
    """A tool each of whose calls is one run of a `Sandbox`. What it runs is up to the subclass.

    The message's text is for the calling model; its `artifact` is the whole `SandboxResult` as plain JSON data. A run
    that ended badly, and an engine that is missing, come back as a message with `status="error"` and an artifact: a
    tool that raises would end the agent. Inside a graph, events go wherever somebody watches, see `Progress`.

    The tool copies and pickles as its configuration.

    Args:
        sandbox: What runs the tasks; made from the environment by default. Everything that decides what a run may
            reach is in here, where no model can change it.
        output: What the typed answer must look like: a pydantic model, any type, or a JSON Schema.
        changes: As for `Sandbox.run`, for every run of the tool.
        store: Where results are kept, so that a graph's step which is taken again, by a retry or a resume, gets the
            result that the same call has had, without another run; `None` to run each time. A plain
            `invoke({...})`, which is no model's call, always runs.
        session_ttl: With it, the tasks of one thread of a graph (`thread_id`) go into one session, which ends when no
            task came for that many seconds; see `Sandbox.session`. By default each task has a container of its own.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    sandbox: Sandbox = Field(default_factory=Sandbox)
    output: Any = None
    changes: ChangesPolicy | None = None
    store: Any = DEFAULT_STORE
    session_ttl: float | None = None

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 - the subclasses' fields
        super().__init__(**fields)
        if self.session_ttl is not None:
            check_timeout("session_ttl", self.session_ttl)
        if self.output is not None:
            Output.of(self.output)  # what cannot be described is refused now, not in the first call
        self._describe_arguments()

    def _describe_arguments(self) -> None:
        """Make the arguments' class, which follows from the fields."""
        self.args_schema = with_injected(self._build_arguments())

    @abstractmethod
    def _build_arguments(self) -> type[BaseModel]:
        """What a model may say in a call. Its first field takes the text of a call that is only a text."""

    @abstractmethod
    def _build_request(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A call's run, as the arguments of `Sandbox.start`.

        Args:
            arguments: What the model said, by the names of the fields of `_build_arguments`, valid and complete.
        """

    def read_call(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A call's run, for faces that are not LangChain's.

        Args:
            arguments: What a model said, by the names that `tool_call_schema` has.

        Returns:
            The arguments of `Sandbox.start`.

        Raises:
            pydantic.ValidationError: If that is not what `tool_call_schema` asks for.
        """
        said = self.tool_call_schema.model_validate(arguments)
        return self._request({name: getattr(said, name) for name in type(said).model_fields})

    def _request(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {**self._build_request(arguments), "output": self.output, "changes": self.changes}

    @property
    def tool_call_schema(self) -> type[BaseModel]:
        """What a model is told of the arguments, names and bounds as they are checked."""
        # LangChain's own is rebuilt from single fields, and loses aliases and the ban on further ones on the way.
        return without_injected(self._arguments)

    @property
    def _arguments(self) -> type[BaseModel]:
        schema = self.args_schema
        if not (isinstance(schema, type) and issubclass(schema, Injected)):
            msg = "The arguments of a sandbox tool are its own; leave args_schema alone."
            raise TypeError(msg)
        return schema

    def _run(
        self,
        arguments: dict[str, Any],
        *,
        tool_call_id: str | None = None,
        runtime: ToolRuntime[Any, Any] | None = None,
    ) -> Answer:
        try:
            with Progress(tool_call_id=tool_call_id, runtime=runtime, trace=self.sandbox.trace) as progress:
                result = run_once(
                    self.sandbox,
                    self._request(arguments),
                    store=self.store if tool_call_id is not None else None,
                    emit=progress.emit,
                    call_id=tool_call_id,
                    contents=progress.contents,
                    session_ttl=self.session_ttl,
                )
        except SandboxError as error:
            return self._refuse(error, tool_call_id)
        return self._answer(result, tool_call_id)

    async def _arun(
        self,
        arguments: dict[str, Any],
        *,
        tool_call_id: str | None = None,
        runtime: ToolRuntime[Any, Any] | None = None,
    ) -> Answer:
        try:
            async with Progress(tool_call_id=tool_call_id, runtime=runtime, trace=self.sandbox.trace) as progress:
                result = await arun_once(
                    self.sandbox,
                    self._request(arguments),
                    store=self.store if tool_call_id is not None else None,
                    emit=progress.aemit,
                    call_id=tool_call_id,
                    contents=progress.contents,
                    session_ttl=self.session_ttl,
                )
        except SandboxError as error:
            return self._refuse(error, tool_call_id)
        return self._answer(result, tool_call_id)

    def _to_args_and_kwargs(self, tool_input: Any, tool_call_id: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:  # noqa: ANN401 - LangChain's own
        # The one way to learn the call's id that a model cannot forge and a plain `invoke` does not need.
        if isinstance(tool_input, str):
            tool_input = {self._text_argument(): tool_input}
        _, given = super()._to_args_and_kwargs(tool_input, tool_call_id)
        runtime = given.pop("runtime", None)
        return (), {"arguments": given, "tool_call_id": tool_call_id, "runtime": runtime}

    def _text_argument(self) -> str:
        """Which argument a call means that is only a text, as in `tool.invoke("...")`."""
        fields = without_injected(self._arguments).model_fields
        return next((field.alias or name for name, field in fields.items()), "arguments")

    def _answer(self, result: SandboxResult, tool_call_id: str | None) -> Answer:
        content, artifact = describe_result(result), result.model_dump(mode="json")
        return (content, artifact) if result.ok else self._fail(content, artifact, tool_call_id)

    def _refuse(self, error: SandboxError, tool_call_id: str | None) -> Answer:
        artifact = {"ok": False, "error": type(error).__name__, "message": str(error)}
        return self._fail(describe_refusal(error), artifact, tool_call_id)

    def _fail(self, content: str, artifact: dict[str, Any], tool_call_id: str | None) -> Answer:
        """An answer that a graph sees as an error; LangChain knows only a raised error, and would lose the artifact."""
        if tool_call_id is None:
            return content, artifact
        message = ToolMessage(content, artifact=artifact, tool_call_id=tool_call_id, name=self.name, status="error")
        return message, artifact

    def __getstate__(self) -> dict[Any, Any]:
        """Leave out the arguments' class, which was made for this tool and has no place to be imported from."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "args_schema": None}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._describe_arguments()

    def model_copy(self, *, update: Any = None, deep: bool = False) -> Self:  # noqa: ANN401 - pydantic's own
        """A copy with some fields changed, and the arguments that follow from them."""
        copied = super().model_copy(update=update, deep=deep)
        copied._describe_arguments()  # noqa: SLF001 - our own
        return copied
