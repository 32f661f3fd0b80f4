"""The steps of a graph that asks a person before changes are applied: the run, the question, the applying.

What one step has to tell the next is in channels that hold for one step. So nothing of an old decision can reach a
later run of the same thread, and a parent graph sees none of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, cast

from langgraph.channels import EphemeralValue
from langgraph.config import get_config
from langgraph.types import Command, interrupt

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.graph.decision import DECISION_SCHEMA, SandboxDecision
from langchain_sandbox.graph.node import SandboxNode, build_update
from langchain_sandbox.graph.plain_answer import NOT_TAKEN, PlainAnswer, drop_plain_answer, find_plain_answer, is_spent
from langchain_sandbox.graph.question import build_review, find_risks, is_open
from langchain_sandbox.graph.state import SandboxState
from langchain_sandbox.result import Review, SandboxResult
from langchain_sandbox.revision import Revision
from langchain_sandbox.thread_sessions import find_thread
from langchain_sandbox.tools.content import APPLY

if TYPE_CHECKING:
    from langchain_sandbox.graph.decision import AcceptDecision
    from langchain_sandbox.graph.question import ReviewRisk
    from langchain_sandbox.sandbox import Sandbox
    from langchain_sandbox.workspace_config import ApplyPolicy

_CHECKPOINTER = "__pregel_checkpointer"  # whose it is, this graph's or that of one around it, is said nowhere else
_ALLOW = '{"type": "accept", "risky": "allow"}'


class ReviewState(SandboxState):
    """What the steps have beside the state that everybody sees.

    Attributes:
        sandbox_decision: What was decided, for the step after the question.
        sandbox_again: Why the changes could not be applied, for the next question.
        sandbox_plain: The answer that no later question is to take for its own; only in a graph of a graph.
    """

    sandbox_decision: NotRequired[Annotated[SandboxDecision, EphemeralValue]]
    sandbox_again: NotRequired[Annotated[str, EphemeralValue]]
    sandbox_plain: NotRequired[PlainAnswer]


class RunStep(SandboxNode):
    """The run; one that goes on from another's changes where a person asked for that.

    If that cannot begin, since the workspace has moved on too far for example, the person is asked again.
    """

    def _step(self, state: Any) -> dict[str, Any]:  # noqa: ANN401 - as in the base
        try:
            return super()._step(state)
        except SandboxConfigError as error:
            return _ask_again(state, error)

    async def _astep(self, state: Any) -> dict[str, Any]:  # noqa: ANN401 - as in the base
        try:
            return await super()._astep(state)
        except SandboxConfigError as error:
            return _ask_again(state, error)

    def _build_request(self, state: Any) -> dict[str, Any]:  # noqa: ANN401 - as in the base
        _require_checkpointer()
        request = super()._build_request(state)
        decision = state.get("sandbox_decision")
        if decision is not None:
            request["revision"] = Revision(result=find_result(state), comment=decision["comment"])
        return request

    def _build_update(self, result: SandboxResult) -> dict[str, Any]:
        return build_update(result, name=self.name, apply="a person decides about them" if is_open(result) else APPLY)


class ReviewSteps:
    """The question and what follows from its answer.

    Args:
        sandbox: What applies the changes.
        policy: How they are applied.
        name: The name of the messages.
    """

    def __init__(self, *, sandbox: Sandbox, policy: ApplyPolicy, name: str) -> None:
        self._sandbox = sandbox
        self._policy = policy
        self._name = name

    def review(self, state: ReviewState) -> Command[Literal["apply", "run", "__end__"]]:
        """Ask, and go where the answer leads. An answer that is no decision is refused by LangGraph itself."""
        result = find_result(state)
        again = state.get("sandbox_again") or describe_failed_revision(state)
        before, plain = state.get("sandbox_plain"), find_plain_answer(result.run_id)
        if plain is not None and is_spent(plain, before):
            plain = before
            if drop_plain_answer():
                again = again or NOT_TAKEN
        question = build_review(result, risky=self._policy.risky, again=again)
        decision = interrupt(question, response_schema=DECISION_SCHEMA)
        if decision["type"] != "accept":
            self._end_session()
        if decision["type"] == "reject":
            return Command(goto="__end__", update=self._build_update(_decide(result, decision)))
        told: dict[str, Any] = {"sandbox_decision": decision}
        if plain is not None:
            told["sandbox_plain"] = plain
        if decision["type"] == "accept":
            return Command(goto="apply", update=told)
        return Command(goto="run", update={**self._build_update(_decide(result, decision)), **told})

    def apply(self, state: ReviewState) -> Command[Literal["review", "__end__"]]:
        """Apply what was accepted. What cannot be applied is asked about again: nothing was touched, nothing is lost.

        To apply twice is to apply once, so this step may be taken again.
        """
        result, decision = find_result(state), state["sandbox_decision"]
        risky = cast("AcceptDecision", decision).get("risky", self._policy.risky)
        policy = replace(self._policy, risky=risky)
        again = describe_refused(result, policy)
        if again is None:
            try:
                report = self._sandbox.apply(result, policy=policy)
            except SandboxApplyError as error:
                again = str(error)
        if again is not None:
            return Command(goto="review", update={"sandbox_again": again})
        warnings = list(result.warnings)
        if report.branch is not None:
            warnings.append(f"The branch could not simply move forward: the commits are on {report.branch}.")
        decided = _decide(result, decision).model_copy(update={"applied": True, "warnings": warnings})
        return Command(goto="__end__", update=self._build_update(decided))

    def _end_session(self) -> None:
        """The thread's container has the changes that nobody wants, so the next task is not to go on from there."""
        thread = find_thread()
        if thread is not None:
            self._sandbox.threads.end(thread)

    def _build_update(self, result: SandboxResult) -> dict[str, Any]:
        return build_update(result, name=self._name)


def route(state: SandboxState) -> Literal["review", "__end__"]:
    """Where it goes after the run: to a person only if there is something to decide."""
    return "review" if is_open(find_result(state)) else "__end__"


def find_result(state: Any) -> SandboxResult:  # noqa: ANN401 - a state's values are its graph's own
    """The result that is decided about. A graph has a list of its own, also within another graph.

    It is the last one; where that has nothing to decide and was to revise another one, it is that one again.
    """
    results = {result["run_id"]: result for result in state["sandbox_results"]}
    last = found = SandboxResult.model_validate(state["sandbox_results"][-1])
    while not is_open(found):
        if found.settings.revises not in results:
            return last
        found = SandboxResult.model_validate(results.pop(found.settings.revises))
    return found


def describe_failed_revision(state: Any) -> str | None:  # noqa: ANN401 - as above
    """Why it is asked about a result once more, if another run was to take its place and did not."""
    last = SandboxResult.model_validate(state["sandbox_results"][-1])
    if is_open(last):
        return None
    why = "left nothing changed" if last.ok else f"ended as {last.status}: {last.ending.message}"
    return f"The other run, {last.run_id}, {why}. These are the changes from before it."


def describe_refused(result: SandboxResult, policy: ApplyPolicy) -> str | None:
    """Why changes are not applied that the person was told of and has not allowed; `None` if there are none.

    Args:
        result: What the run gave back.
        policy: How it would be applied.
    """
    refused = [risk for risk in find_risks(result, risky=policy.risky) if risk["refused"]]
    if not refused:
        return None
    told = "; ".join(f"{risk['where'][0]}{_count_more(risk)} {risk['meaning']}" for risk in refused)
    return f"Not applied: {told}. If that is wanted, too, answer {_ALLOW}."


def _require_checkpointer() -> None:
    """See that the question can be answered, before there is a run.

    Raises:
        SandboxConfigError: If it cannot.
    """
    if get_config()["configurable"].get(_CHECKPOINTER, True) is None:
        msg = (
            "create_sandbox_graph(review=True) needs a checkpointer, its own or that of the graph around it: without "
            "one, nobody could answer. Nothing was started."
        )
        raise SandboxConfigError(msg)


def _ask_again(state: Any, error: SandboxConfigError) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Lead back to the question, which the result before is still open for; raise where there was none."""
    if state.get("sandbox_decision") is None:
        raise error
    return {"sandbox_again": f"The other run was not begun: {error}"}


def _count_more(risk: ReviewRisk) -> str:
    return f" (and {risk['count'] - 1} more)" if risk["count"] > 1 else ""


def _decide(result: SandboxResult, decision: SandboxDecision) -> SandboxResult:
    review = Review(decision=decision["type"], comment=decision.get("comment", ""))
    return result.model_copy(update={"review": review})
