"""Who decides about changes: the user, and a model only where the user was to look and cannot be asked by us."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
import pytest
from runs import make_result

from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.integrations.mcp.review import Case, Reviews
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.sandbox import Sandbox

RUN = "0123456789ab"


class Client:
    """A client that can ask its user, who answers so."""

    has_forms = True
    can_wait = True

    def __init__(self, action: str | None, content: dict[str, Any] | None = None) -> None:
        self._answer = types.ElicitResult(action=action, content=content) if action else None  # type: ignore[arg-type]

    async def keep_reporting(self, _: Any) -> None:
        await asyncio.Event().wait()

    async def ask(self, *_: Any, **__: Any) -> types.ElicitResult | None:
        return self._answer


def result(**fields: Any) -> SandboxResult:
    return make_result(**{"files": [{"path": "a.py", "kind": "modified"}], "settings": {"changes": "review"}, **fields})


def reviews() -> Reviews:
    return Reviews(closing=asyncio.Event())


def case(**fields: Any) -> Case:
    sandbox = Sandbox(model=ModelEndpoint("http://127.0.0.1:9/v1"))
    return Case(result=result(**fields), changes="review", sandbox=sandbox, call="")


@pytest.mark.parametrize(
    ("client", "asked", "by_hand"),
    [
        (Client("accept", {"decision": "reject"}), True, False),
        (Client("accept", {}), True, False),
        (Client("decline"), True, False),
        (Client("cancel"), False, True),
        (Client(None), False, True),
    ],
)
async def test_what_is_said_of_a_user_is_what_the_user_did(client: Any, asked: bool, by_hand: bool) -> None:  # noqa: FBT001
    after, how = await reviews().decide(case(), client)
    assert not after.applied
    assert ("the user was asked and did not accept" in how) is asked
    assert (f"langchain-sandbox apply {RUN}" in how) is by_hand
    assert "apply_run" not in how  # such a client has no tool of that name


@pytest.mark.parametrize(
    ("fields", "forms", "reason"),
    [
        ({}, False, None),
        ({}, True, "the user decides"),
        ({"settings": {"changes": "return"}}, False, "not to be reviewed"),
        ({"settings": {"changes": "apply"}}, False, "not to be reviewed"),
        ({"settings": {"changes": "discard"}}, False, "not to be reviewed"),
        ({"ok": False, "status": "timeout"}, False, "did not complete"),
    ],
)
def test_a_model_applies_only_what_was_to_be_reviewed(fields: dict[str, Any], forms: bool, reason: str | None) -> None:  # noqa: FBT001
    if reason is None:
        reviews().check(result(**fields), forms=forms)
        return
    with pytest.raises(SandboxConfigError, match=reason):
        reviews().check(result(**fields), forms=forms)


async def test_a_model_does_not_apply_what_the_user_has_declined_elsewhere() -> None:
    them = reviews()
    them.check(result(), forms=False)
    await them.decide(case(), Client("decline"))  # type: ignore[arg-type]
    with pytest.raises(SandboxConfigError, match="has declined"):
        them.check(result(), forms=False)


async def test_a_server_that_stops_waits_for_no_user() -> None:
    class Silent(Client):
        async def ask(self, *_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

    closing = asyncio.Event()
    deciding = asyncio.create_task(Reviews(closing=closing).decide(case(), Silent(None)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    closing.set()
    after, how = await asyncio.wait_for(deciding, 60)
    assert not after.applied
    assert f"langchain-sandbox apply {RUN}" in how
