"""OpenCode in a sandbox as a subagent of an agent that deepagents makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_sandbox.errors import SandboxError
from langchain_sandbox.graph.node import SandboxNode
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.tools.content import describe_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepagents import CompiledSubAgent

    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.sandbox import Sandbox

DEFAULT_NAME = "opencode"
DEFAULT_DESCRIPTION = (
    "Hands a coding task to OpenCode, an agent that works alone on a copy of the repository in a sandbox: it reads, "
    "edits, and runs commands and tests there. Give it everything that it needs to know in one message; it cannot ask "
    "back and does not see this conversation. It answers with how the run ended, what OpenCode says, and which files "
    "it changed. The changes are a patch: they are in nobody's files until somebody applies them."
)


def create_sandbox_subagent(
    *,
    sandbox: Sandbox | None = None,
    name: str = DEFAULT_NAME,
    description: str = DEFAULT_DESCRIPTION,
    command: str | Command | None = None,
    output: object = None,
    changes: ChangesPolicy | None = None,
    timeout: float | None = None,
    on_result: Callable[[SandboxResult], object] | None = None,
) -> CompiledSubAgent:
    """Make a subagent for `create_deep_agent(subagents=[...])`.

    Each call of the agent's tool `task` is one run in a container of its own, so several at once are fine. A run that
    fails, and one that cannot be tried, comes back as words: it does not end the agent.

    Args:
        sandbox: What runs the tasks; made from the environment by default.
        name: What the agent calls it.
        description: What the agent is told of it.
        command: The repository's command that it always runs; what the agent says is its arguments then.
        output: The typed answer that is wanted, as for `Sandbox.run`; the agent gets it as JSON.
        changes: What becomes of the changes; as for `Sandbox` by default.
        timeout: Seconds that a run may take; as for `Sandbox` by default.
        on_result: Called with each run's result, in the thread or task in which it ended: for `Sandbox.apply`. What it
            raises ends the agent.

    Raises:
        SandboxConfigError: If an option cannot work.

    Example:
        ```python
        results = []
        opencode = create_sandbox_subagent(sandbox=sandbox, on_result=results.append)
        agent = create_deep_agent(model, subagents=[opencode])
        agent.invoke({"messages": [HumanMessage("Have the failing test fixed.")]})
        sandbox.apply(results[-1])
        ```
    """
    node = SandboxNode(sandbox=sandbox, command=command, output=output, changes=changes, timeout=timeout, name=name)
    return {"name": name, "description": description, "runnable": _Subagent(node, on_result)}


class _Subagent(Runnable[dict[str, Any], dict[str, Any]]):
    """Takes an agent's message, and gives one back."""

    def __init__(self, node: SandboxNode, on_result: Callable[[SandboxResult], object] | None) -> None:
        self.name = node.name
        self._node = node
        self._on_result = on_result

    def invoke(
        self,
        input: dict[str, Any],  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **_: Any,  # noqa: ANN401 - LangChain's own
    ) -> dict[str, Any]:
        """Run the message's task."""
        try:
            update = self._node.invoke({"messages": input["messages"]}, config)
        except SandboxError as error:
            return self._refuse(error)
        return self._answer(update)

    async def ainvoke(
        self,
        input: dict[str, Any],  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **_: Any,  # noqa: ANN401 - as above
    ) -> dict[str, Any]:
        """As `invoke`. Cancelling it ends the run and removes its container first."""
        try:
            update = await self._node.ainvoke({"messages": input["messages"]}, config)
        except SandboxError as error:
            return self._refuse(error)
        return self._answer(update)

    def _refuse(self, error: SandboxError) -> dict[str, Any]:
        return {"messages": [AIMessage(describe_refusal(error), name=self.name)]}

    def _answer(self, update: dict[str, Any]) -> dict[str, Any]:
        """The messages, and the typed answer if there is one: any other key would need a reducer in the agent."""
        (fields,) = update["sandbox_results"]
        if self._on_result is not None:
            self._on_result(SandboxResult.model_validate(fields))
        answer: dict[str, Any] = {"messages": update["messages"]}
        if fields["structured"] is not None:
            answer["structured_response"] = fields["structured"]
        return answer
