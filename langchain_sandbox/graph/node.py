"""The node of a LangGraph graph that hands a task to a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.graph.request import build_request
from langchain_sandbox.output import Output
from langchain_sandbox.progress import Progress
from langchain_sandbox.request import check_timeout
from langchain_sandbox.runs_once import DEFAULT_STORE, arun_once, run_once
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.tools.content import APPLY, describe_result

if TYPE_CHECKING:
    import os

    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.run_store import RunStore
    from langchain_sandbox.workspace_config import Workspace


class SandboxNode(Runnable[Any, dict[str, Any]]):
    """Hands a task from a graph's state to an agent in an ephemeral sandbox, and puts the result into the state.

    It reads `sandbox_task`, a text or a `SandboxTask`, else the text of the last human message. It writes `messages`,
    one AI message that says what came of it, and `sandbox_results`, the result as plain JSON data. `SandboxState` has
    these keys; keys that the graph's state does not have are left out.

    A run that was tried is returned, however it ended: look at the result's `status`. What keeps it from being tried is
    raised, a `SandboxUnavailableError` such that `RetryPolicy()` tries again, a `SandboxConfigError` such that it does
    not. Cancelling the graph, or a `TimeoutPolicy`, ends the run and removes its container.

    A step that is taken again, by a retry, by a resume after an interrupt or after the process was killed, gets the
    result of the run that it has had, without another one. In one step the same task is thus one run; send it to
    several steps (`Send`) for several runs.

    Args:
        sandbox: What runs the tasks; made from the environment by default.
        command: The command that it always runs: its name, such as `"refactor-audit"`, or a loaded one. The state's
            task or message is its arguments then.
        arguments: The command's, where the state has no `sandbox_task`; `{}` for none, whatever the messages say.
        output: The typed answer that is wanted: a pydantic model, another type that pydantic can describe, or a JSON
            Schema. It is in the result's `structured`, as plain JSON.
        changes: What becomes of the changes; as for `Sandbox` by default.
        timeout: Seconds that a run may take; as for `Sandbox` by default.
        workspaces: Folders that a `SandboxTask` may pick from by their names; it cannot have any other than these and
            the sandbox's own.
        store: Where results are kept for steps that are taken again; `None` to run each time.
        session_ttl: With it, the tasks of one thread (`thread_id`) go into one session, which ends when no task came
            for that many seconds; see `Sandbox.session`. By default each task has a container of its own.
        name: The name of the node and of its messages.

    Raises:
        SandboxConfigError: If an option cannot work.

    Example:
        ```python
        graph = StateGraph(SandboxState)
        graph.add_node("sandbox", SandboxNode(sandbox=Sandbox(workspace="path/to/repository")))
        graph.add_edge(START, "sandbox")
        state = graph.compile().invoke({"messages": [HumanMessage("Make the failing test pass.")]})
        result = SandboxResult.model_validate(state["sandbox_results"][-1])
        ```
    """

    def __init__(  # noqa: PLR0913 - each is a choice that somebody has to make
        self,
        *,
        sandbox: Sandbox | None = None,
        command: str | Command | None = None,
        arguments: str | Mapping[str, Any] | None = None,
        output: object = None,
        changes: ChangesPolicy | None = None,
        timeout: float | None = None,
        workspaces: Mapping[str, Workspace | str | os.PathLike[str]] | None = None,
        store: RunStore | None = DEFAULT_STORE,
        session_ttl: float | None = None,
        name: str = "sandbox",
    ) -> None:
        if arguments is not None and command is None:
            msg = "SandboxNode(arguments=...) are those of a command; say which: command=..."
            raise SandboxConfigError(msg)
        if workspaces is not None and not isinstance(workspaces, Mapping):
            msg = 'SandboxNode(workspaces=...) are folders by name, such as {"shop": "path/to/shop"}.'
            raise SandboxConfigError(msg)
        if output is not None:
            Output.of(output)  # what cannot be described is refused now, not in the first run
        self.sandbox = sandbox or Sandbox()
        self.command = command
        self.arguments = arguments
        self.workspaces = workspaces
        self.store = store
        self.session_ttl = None if session_ttl is None else check_timeout("session_ttl", session_ttl)
        self.name = name
        options = {"output": output, "changes": changes, "timeout": timeout}
        self._options = {key: value for key, value in options.items() if value is not None}

    def invoke(
        self,
        input: Any,  # noqa: A002, ANN401 - LangChain's own name; a state is its graph's own
        config: RunnableConfig | None = None,
        **_: Any,  # noqa: ANN401 - LangChain's own
    ) -> dict[str, Any]:
        """Run the state's task and give the state's update.

        Args:
            input: The state.
            config: LangChain's.

        Raises:
            SandboxConfigError: If the state asks for nothing, or for what cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        if _has_parent(config):
            return self._step(input)
        return self._call_with_config(self._step, input, config)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002, ANN401 - as above
        config: RunnableConfig | None = None,
        **_: Any,  # noqa: ANN401 - as above
    ) -> dict[str, Any]:
        """As `invoke`. Cancelling it ends the run and removes its container first."""
        if _has_parent(config):
            return await self._astep(input)
        return await self._acall_with_config(self._astep, input, config)

    def _step(self, state: Any) -> dict[str, Any]:  # noqa: ANN401 - a state is its graph's own
        with Progress(trace=self.sandbox.trace) as progress:
            result = run_once(
                self.sandbox,
                self._build_request(state),
                store=self.store,
                emit=progress.emit,
                contents=progress.contents,
                session_ttl=self.session_ttl,
            )
        return self._build_update(result)

    async def _astep(self, state: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        async with Progress(trace=self.sandbox.trace) as progress:
            result = await arun_once(
                self.sandbox,
                self._build_request(state),
                store=self.store,
                emit=progress.aemit,
                contents=progress.contents,
                session_ttl=self.session_ttl,
            )
        return self._build_update(result)

    def _build_request(self, state: object) -> dict[str, Any]:
        asked = build_request(state, command=self.command, arguments=self.arguments, workspaces=self.workspaces)
        return asked | self._options

    def _build_update(self, result: SandboxResult) -> dict[str, Any]:
        return build_update(result, name=self.name)


def _has_parent(config: RunnableConfig | None) -> bool:
    """Whether whoever calls has a run of its own in the trace, as a graph's node or a chain; else we need one."""
    return config is not None and isinstance(config.get("callbacks"), BaseCallbackManager)


def build_update(result: SandboxResult, *, name: str | None, apply: str = APPLY) -> dict[str, Any]:
    """The state's update from a result.

    Args:
        result: What the run gave back, or what has become of it since.
        name: The name of the message.
        apply: How changes that are not applied get into the workspace, as the end of a sentence.
    """
    # The id is the run's, so that a step which is taken again replaces its message and adds none.
    message = AIMessage(describe_result(result, apply=apply), name=name, id=f"sandbox-{result.run_id}")
    return {"messages": [message], "sandbox_results": [result.model_dump(mode="json")]}
