"""Whether changes get into the workspace: by the server's policy, and by the user's word where that is wanted."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import mcp_types as types

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.integrations.mcp.catalogue import APPLY_RUN
from langchain_sandbox.integrations.mcp.review_form import FORM, build_question, is_accepted, may_run
from langchain_sandbox.workspace_config import ApplyPolicy

if TYPE_CHECKING:
    import asyncio

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.integrations.mcp.peer import Peer
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.sandbox import Sandbox

_KEY = "review"
_WAITING = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run whose changes are decided about.

    Args:
        result: What the run gave back.
        changes: What is to become of its changes.
        sandbox: What ran it.
        call: The tool and its arguments, which a client that comes again has to call again.
    """

    result: SandboxResult
    changes: ChangesPolicy
    sandbox: Sandbox
    call: str


class Reviews:
    """Asks users about changes, and applies those that they accept.

    A client that has to come again with its answer comes with a name that only it was told, for the same call.

    Args:
        closing: Set when the server stops: then nobody is asked any more.
    """

    def __init__(self, *, closing: asyncio.Event) -> None:
        self._closing = closing
        self._waiting: OrderedDict[str, Case] = OrderedDict()
        self._declined: set[str] = set()

    def find_waiting(self, state: str, call: str) -> Case:
        """What a client comes again for.

        Args:
            state: What it says; whatever it may be.
            call: The tool and its arguments.

        Raises:
            SandboxConfigError: If that is no review that waits for it.
        """
        case = self._waiting.pop(state, None)
        if case is None or case.call != call:
            msg = "No review waits for this answer; call the tool again."
            raise SandboxConfigError(msg)
        return case

    async def decide(self, case: Case, peer: Peer) -> tuple[SandboxResult, str]:
        """Apply a run's changes if they are to be.

        Args:
            case: The run.
            peer: The client.

        Returns:
            The result as it is now, and how changes that are still not applied get into the workspace.

        Raises:
            InputNeededError: If the client has to come again with its user's answer.
        """
        result = case.result
        if not _is_open(case) or not peer.has_forms:
            return result, _describe_way(case, forms=peer.has_forms)
        state = secrets.token_urlsafe(24)
        if not peer.can_wait:
            self._remember(state, case)
        params = types.ElicitRequestFormParams(message=build_question(result), requested_schema=FORM)
        answer = await self._ask(peer, types.ElicitRequest(params=params), state)
        if answer is None:
            return result, _by_hand(result)
        self._waiting.pop(state, None)
        if answer.action == "cancel":  # a window was closed, or nobody was there
            return result, f"nobody has decided about them; {_by_hand(result)}"
        if not is_accepted(answer):
            self._declined.add(result.run_id)
            return result, "the user was asked and did not accept them"
        policy = ApplyPolicy(risky="allow" if may_run(result) else "refuse")
        return await apply_changes(result, case.sandbox, policy=policy)

    async def _ask(self, peer: Peer, question: types.ElicitRequest, state: str) -> types.ElicitResult | None:
        if not peer.can_wait:
            return await peer.ask(_KEY, question, types.ElicitResult, state=state)
        answer = None
        async with anyio.create_task_group() as tasks:

            async def stop() -> None:
                await self._closing.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop)
            tasks.start_soon(peer.keep_reporting, lambda: "waits for the user's decision")
            answer = await peer.ask(_KEY, question, types.ElicitResult)
            tasks.cancel_scope.cancel()
        return answer

    def check(self, result: SandboxResult, *, forms: bool) -> None:
        """See that a model's call may apply a run: only where the user was to look at it, and cannot be asked by us.

        Args:
            result: The run.
            forms: Whether the client can ask its user.

        Raises:
            SandboxConfigError: If it may not.
        """
        run_id = result.run_id
        if forms:
            msg = f"{APPLY_RUN} is for hosts that cannot ask their user. This one can, and the user decides."
        elif run_id in self._declined:
            msg = f"The user has declined the changes of run {run_id}."
        elif result.settings.changes != "review":
            msg = f"{APPLY_RUN} applies no run whose changes were not to be reviewed; {_by_hand(result)}."
        elif not result.ok:
            msg = f"Run {run_id} did not complete; only the user can apply what there is of it, after a look at it."
        else:
            return
        raise SandboxConfigError(msg)

    def _remember(self, state: str, case: Case) -> None:
        self._waiting[state] = case
        while len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)


async def apply_changes(result: SandboxResult, sandbox: Sandbox, *, policy: ApplyPolicy) -> tuple[SandboxResult, str]:
    """Apply a result. It is not interrupted: a client that leaves meanwhile leaves a whole tree behind.

    Args:
        result: What a run gave back.
        sandbox: What applies it.
        policy: How.

    Returns:
        As for `Reviews.decide`.
    """
    with anyio.CancelScope(shield=True):
        try:
            report = await sandbox.aapply(result, policy=policy)
        except SandboxApplyError as error:
            warning = f"The changes were not applied: {error}"
            refused = result.model_copy(update={"warnings": [*result.warnings, warning]})
            return refused, _by_hand(result)
    warnings = list(result.warnings)
    if report.branch is not None:
        warnings.append(f"The branch could not simply move forward: the commits are on {report.branch}.")
    return result.model_copy(update={"applied": True, "warnings": warnings}), ""


def _describe_way(case: Case, *, forms: bool) -> str:
    """How changes get into the workspace that are not applied.

    Args:
        case: The run.
        forms: Whether the client can ask its user.
    """
    if case.changes == "review" and case.result.ok and not forms:
        run_id = case.result.run_id
        return f"the tool {APPLY_RUN} applies them: call it with run_id {run_id}, after the user has agreed"
    return _by_hand(case.result)


def _by_hand(result: SandboxResult) -> str:
    return f"the user can look at them and apply them with `langchain-sandbox apply {result.run_id}`"


def _is_open(case: Case) -> bool:
    """Whether the user's word could change something."""
    result = case.result
    if not result.ok or result.applied or not (result.files or result.commits):
        return False
    return case.changes == "review" or (case.changes == "apply" and may_run(result))
