"""What a pool is told, what it is warmed up with, and that it stays behind where a sandbox is copied."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import signal
from typing import TYPE_CHECKING, Any

import pytest

from langchain_sandbox import ModelEndpoint, Pool, Sandbox, SandboxConfigError
from langchain_sandbox import spare as spare_module
from langchain_sandbox.config import Limits
from langchain_sandbox.gateway.warm_up import build_answer
from langchain_sandbox.link import Channel, LinkEvent, Message
from langchain_sandbox.pool_handle import PoolHandle
from langchain_sandbox.spare import Spare, SpareKind

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = ModelEndpoint("http://127.0.0.1:9/v1", "m")


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"size": 0}, "size"),
        ({"size": 65}, "size"),
        ({"size": True}, "size"),
        ({"size": 1.5}, "size"),
        ({"idle": 0}, "idle"),
        ({"idle": float("inf")}, "idle"),
        ({"memory": 0}, "memory"),
        ({"memory": "much"}, "memory"),
        ({"memory": "511m"}, "memory"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(SandboxConfigError, match=rf"Pool\.{word}"):
        Pool(**wrong)


@pytest.mark.parametrize(
    ("value", "environ", "pool"),
    [
        (None, {}, None),
        (None, {"SANDBOX_POOL_IDLE": "5"}, None),
        (None, {"SANDBOX_POOL_SIZE": "0"}, None),
        (None, {"SANDBOX_POOL_SIZE": "none"}, None),
        (None, {"SANDBOX_POOL_SIZE": "3"}, Pool(3)),
        (
            None,
            {"SANDBOX_POOL_SIZE": "3", "SANDBOX_POOL_IDLE": "5", "SANDBOX_POOL_MEMORY": "2g"},
            Pool(3, idle=5, memory="2g"),
        ),
        (0, {"SANDBOX_POOL_SIZE": "3"}, None),
        (1, {"SANDBOX_POOL_SIZE": "3"}, Pool(1)),
        (Pool(2), {"SANDBOX_POOL_SIZE": "3"}, Pool(2)),
    ],
)
def test_what_is_said_comes_before_the_environment(value: Any, environ: dict[str, str], pool: Pool | None) -> None:
    assert Pool.of(value, environ) == pool


@pytest.mark.parametrize("value", ["2", True, -1, 1.0])
def test_what_is_no_pool_is_refused(value: Any) -> None:
    with pytest.raises(SandboxConfigError):
        Pool.of(value, {})


def test_a_copy_has_the_settings_and_a_pool_of_its_own() -> None:
    sandbox = Sandbox(model=MODEL, pool=Pool(3, idle=9))
    for other in (copy.copy(sandbox), copy.deepcopy(sandbox), pickle.loads(pickle.dumps(sandbox))):
        assert other.pool == Pool(3, idle=9)
        assert other._pool not in {None, sandbox._pool}


def test_a_forked_child_can_let_go_although_the_parent_was_busy_with_it() -> None:
    handle = PoolHandle(Pool())
    with handle._lease._own():
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            handle.close()
            os._exit(0 if handle.begin() is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not handle._lease.closed


def test_a_pool_that_is_borrowed_is_left_open() -> None:
    lender = Sandbox(model=MODEL, pool=2)
    borrower = Sandbox(model=MODEL, pool=lender)
    assert borrower._pool is lender._pool
    assert borrower.pool == Pool(2)
    assert lender._pool is not None
    borrower.close()
    assert not lender._pool._lease.closed
    lender.close()
    assert lender._pool._lease.closed
    assert Sandbox(model=MODEL, pool=Sandbox(model=MODEL, pool=0))._pool is None


def test_warming_up_calls_the_tools_that_most_tasks_use_and_ends() -> None:
    called = []
    for done in range(20):
        answer = [line.removeprefix(b"data: ") for line in b"".join(build_answer(done)).split(b"\n\n") if line]
        assert answer.pop() == b"[DONE]"
        choices = [choice for event in answer for choice in json.loads(event)["choices"]]
        calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
        if choices[-1]["finish_reason"] == "stop":
            assert not calls
            break
        assert choices[-1]["finish_reason"] == "tool_calls"
        (call,) = calls
        assert json.loads(call["function"]["arguments"])
        called.append(call["function"]["name"])
    assert {"bash", "read", "write", "edit", "grep"} <= set(called)


class Container:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.link = self

    def listen(self, hear: Callable[[LinkEvent], None]) -> None:
        self.hear = hear

    def send_message(self, body: dict[str, Any]) -> None:
        self.said.append(body)

    async def serve(self) -> None:
        await asyncio.Event().wait()


def make_spare(container: Any) -> Spare:
    return Spare(container, SpareKind(image="i", limits=Limits(), context=1, output=1))


def test_a_late_answer_to_an_earlier_wish_does_not_count() -> None:
    async def scenario() -> list[bool]:
        container = Container()
        spare = make_spare(container)
        spare.rouse()
        spare.calm()
        spare.rouse()
        awake = []
        first, _, second = container.said
        for number in (first["number"], None, second["number"]):
            container.hear(Message(Channel.CONTROL, 0, {"type": "awake", "number": number}))
            awake.append(spare._heard["awake"].is_set())
        return awake

    assert asyncio.run(scenario()) == [False, False, True]


@pytest.mark.parametrize(("quiet", "rounds", "settles"), [(99, 3, True), (3, 3, False), (1, 1, False), (0, 0, False)])
def test_a_spare_warms_up_better_while_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch, *, quiet: int, rounds: int, settles: bool
) -> None:
    class Answering(Container):
        """Does another round at once when it is told to."""

        def send_message(self, body: dict[str, Any]) -> None:
            super().send_message(body)
            self.hear(Message(Channel.CONTROL, 0, {"type": "warm"}))

    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(spare_module.anyio, "sleep", sleep)
    moments = iter([True] * quiet)
    container = Answering()
    asyncio.run(make_spare(container)._warm_better(lambda: next(moments, False)))
    assert container.said == [{"type": "again"}] * rounds
    assert bool(slept) is settles
