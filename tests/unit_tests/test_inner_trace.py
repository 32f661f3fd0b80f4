"""Which child runs a run's events make, what may be said of them, and what is hidden of results."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, CallbackManager
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langgraph.types import Command, Send
from pydantic import BaseModel
from runs import make_result

from langchain_sandbox.events import SandboxEvent, build_event
from langchain_sandbox.gateway.contents import Contents
from langchain_sandbox.gateway.spoken import MAX_ANSWER, MAX_REQUEST, Answer, Spoken, SpokenCall, read_request
from langchain_sandbox.progress import Progress
from langchain_sandbox.tools.content import describe_result
from langchain_sandbox.trace import HIDDEN, hide_content
from langchain_sandbox.trace.inner_runs import MAX_RUNS, OTHER, Begin, End, InnerRunError, InnerRuns, describe_error
from langchain_sandbox.trace.inner_trace import InnerTrace, build_result
from langchain_sandbox.trace.messages import build_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["role", "content", "tool_calls", "function", "name", "arguments", "id", "type", "text"])
MESSAGES = st.lists(st.dictionaries(KEYS, JSON | st.sampled_from(["assistant", "tool", "system"])) | JSON, max_size=5)


def event(kind: str, **fields: Any) -> SandboxEvent:
    return build_event(kind, run_id="r", at=0.0, **fields)


def asks(index: int = 0) -> SandboxEvent:
    return event("model_call_started", index=index, model="m", provider="p", messages=2, tools=10)


def answered(index: int = 0, **fields: Any) -> SandboxEvent:
    usual = {"status": 200, "first_byte": 0.1, "duration": 0.2, "prompt_tokens": 3, "completion_tokens": 2}
    return event("model_call", index=index, **{**usual, "finish_reason": "stop", "error": None, **fields})


def uses(call_id: str = "c", tool: str = "bash", **given: Any) -> SandboxEvent:
    return event("tool_started", call_id=call_id, tool=tool, input=given)


def used(call_id: str = "c", tool: str = "bash", status: str = "completed", output: str = "") -> SandboxEvent:
    return event("tool_ended", call_id=call_id, tool=tool, status=status, output=output)


def take(runs: InnerRuns, *events: SandboxEvent) -> list[Begin | End]:
    return [step for each in events for step in runs.take(each)]


def test_a_beginning_and_an_end_for_each_call_and_each_tool() -> None:
    steps = take(InnerRuns(), asks(), answered(), uses(), used(), event("step", index=0, reason="stop"))
    assert [(type(step), step.kind) for step in steps] == [
        (Begin, "model"),
        (End, "model"),
        (Begin, "tool"),
        (End, "tool"),
    ]
    assert [step.error for step in steps if isinstance(step, End)] == [None, None]
    assert steps[0].key == steps[1].key != steps[2].key == steps[3].key


def test_without_full_nothing_that_was_said_is_told() -> None:
    steps = take(
        InnerRuns(),
        asks(),
        answered(finish_reason="secret"),
        uses("secret", "secret", command="secret"),
        used("secret", "secret", "error", "secret"),
    )
    told = [(step, getattr(step, "error", None)) for step in steps]
    shown = [repr(part).replace("tool-secret", "") for pair in told for part in pair]
    assert not [part for part in shown if "secret" in part]
    assert steps[1].facts["finish_reason"] == OTHER
    assert steps[2].name == OTHER


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"error": "model_timeout", "status": None}, "model_timeout"),
        ({"error": None, "status": 400}, "http_400"),
        ({"error": "cancelled"}, "cancelled"),
    ],
)
def test_a_call_that_failed_says_how(fields: dict, code: str) -> None:
    _, end = take(InnerRuns(), asks(), answered(**fields))
    assert isinstance(end.error, InnerRunError)
    assert str(end.error) == code


def test_what_is_open_at_the_end_ends_with_the_run() -> None:
    runs = InnerRuns()
    ends = take(runs, asks(), uses(), event("finished", status="cancelled", ok=False))[2:]
    assert [str(end.error) for end in ends] == ["cancelled"] * 2
    assert runs.close() == []


def test_an_end_without_a_beginning_is_nothing() -> None:
    assert take(InnerRuns(), answered(), used()) == []


def test_a_container_cannot_have_its_host_trace_without_end() -> None:
    steps = take(InnerRuns(), *(each for n in range(MAX_RUNS + 50) for each in (uses(str(n)), used(str(n)))))
    assert len(steps) == 2 * MAX_RUNS


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (asyncio.CancelledError("secret"), asyncio.CancelledError, "the run was cancelled"),
        (KeyboardInterrupt("secret"), KeyboardInterrupt, "the run was cancelled"),
        (ValueError("secret"), InnerRunError, "ValueError"),
    ],
)
def test_an_error_is_told_by_its_kind(error: BaseException, kind: type, words: str) -> None:
    told = describe_error(error)
    assert (type(told), str(told)) == (kind, words)


@given(MESSAGES)
def test_whatever_a_request_holds_it_can_be_read(messages: list) -> None:
    body = {"messages": messages}
    kept = Contents()
    kept.follow(0, body, sink=None)  # type: ignore[arg-type]
    request = kept.take_request(0)
    assert len(request) == len(messages)
    for spoken in request:
        assert isinstance(build_message(spoken).content, str)


@given(st.lists(JSON.map(json.dumps) | st.text(), max_size=6), st.booleans())
def test_whatever_an_answer_holds_it_can_be_read(lines: list[str], streamed: bool) -> None:  # noqa: FBT001 - made up
    answer = Answer()
    answer.streamed = streamed
    for line in lines:
        answer.feed(f"data: {line}\n".encode("utf-8", "replace"))
    assert isinstance(build_message(answer.build()).content, str)


def test_an_answer_is_put_together_from_its_pieces() -> None:
    def chunk(**delta: Any) -> bytes:
        return f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n".encode()

    def call(**fields: Any) -> dict:
        return {"index": 0, **fields}

    answer = Answer()
    stream = b"".join(
        [
            chunk(role="assistant", content="Let me "),
            chunk(content="look."),
            chunk(tool_calls=[call(id="c1", function={"name": "bash", "arguments": '{"com'})]),
            chunk(tool_calls=[call(function={"arguments": 'mand": "ls"}'})]),
            b"data: [DONE]\n\n",
        ]
    )
    for start in range(0, len(stream), 7):
        answer.feed(stream[start : start + 7])
    called = SpokenCall(id="c1", name="bash", arguments='{"command": "ls"}')
    assert answer.build() == Spoken(text="Let me look.", calls=[called])


def test_a_whole_answer_is_read_as_well() -> None:
    answer = Answer()
    answer.streamed = False
    answer.feed(json.dumps({"choices": [{"message": {"content": "Yes."}}]}).encode())
    assert answer.build() == Spoken(text="Yes.")


def test_contents_are_bounded_whoever_takes_them() -> None:
    long = {"role": "user", "content": "x" * 100_000}
    texts = [spoken.text for spoken in read_request([long] * 500) if "left out" not in spoken.text]
    assert sum(map(len, texts)) <= MAX_REQUEST
    kept = read_request([{"role": "system", "content": "first"}, *[long] * 500, {"role": "user", "content": "last"}])
    assert (kept[0].text, kept[-1].text) == ("first", "last")
    assert "left out" in kept[1].text
    contents = Contents()
    for index in range(100):
        contents.follow(index, {"messages": [long]}, sink=None)  # type: ignore[arg-type]
    assert contents.take_request(0) == []
    assert contents.take_request(99) != []
    answer = Answer()
    for _ in range(10):
        answer.feed(b"data: " + json.dumps({"choices": [{"delta": {"content": "x" * 50_000}}]}).encode() + b"\n")
    assert len(answer.build().text) == MAX_ANSWER


def test_the_result_of_a_call_has_its_tokens() -> None:
    _, end = take(InnerRuns(), asks(), answered())
    (generation,) = build_result(end).generations[0]
    assert generation.message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert generation.message.content == ""


class Listener(BaseCallbackHandler):
    pass


def open_inside(*handlers: BaseCallbackHandler, **options: Any) -> Progress:
    """A progress that was made and entered inside of a run with these handlers."""

    def work(_: Any) -> Progress:
        return Progress(**options).__enter__()

    return RunnableLambda(work).invoke(None, {"callbacks": list(handlers)})


def test_where_nobody_listens_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InnerTrace, "__init__", lambda *_, **__: pytest.fail("somebody listens"))
    assert open_inside(trace="full").contents is None
    assert open_inside(Listener(), trace="off").contents is None
    with Progress(trace="full") as progress:
        progress.emit(asks())
        assert progress.contents is None
    assert InnerTrace.open({"callbacks": [Listener()]}, level="full") is None
    assert InnerTrace.open({"callbacks": CallbackManager(handlers=[Listener()])}, level="full") is None


class Cancelled(AsyncCallbackHandler):
    async def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        raise asyncio.CancelledError


async def test_a_handler_that_is_cancelled_cancels_no_run() -> None:
    progress = open_inside(Cancelled())
    async with progress:
        await progress.aemit(asks())
        await progress.aemit(answered())


def test_contents_are_collected_in_full_only() -> None:
    assert open_inside(Listener()).contents is None
    assert open_inside(Listener(), trace="full").contents is not None


def result() -> dict[str, Any]:
    return make_result(text="secret", patch="secret").model_dump(mode="json")


@dataclass
class State:
    results: list[Any]


class Model(BaseModel):
    messages: list[Any]


TOLD = describe_result(make_result(text="secret"))


@pytest.mark.parametrize(
    "data",
    [
        result(),
        {"output": ToolMessage("secret", artifact=result(), tool_call_id="c")},
        {"messages": [AIMessage("secret", id="sandbox-1")], "sandbox_results": [result()]},
        {"messages": [[{"kwargs": {"content": "secret", "artifact": result()}}]]},
        {"deep": [(make_result(text="secret"),)]},
        {"sandbox": {"type": "text", "text": "secret"}, "tool_call_id": None},
        {"output": TOLD},
        {"messages": [ToolMessage(TOLD, tool_call_id="c"), AIMessage([{"type": "text", "text": TOLD}])]},
        {"messages": [{"role": "tool", "content": [{"type": "text", "text": TOLD}]}]},
        {"output": Command(update={"messages": [ToolMessage(TOLD, tool_call_id="c")]})},
        {"output": Command(goto=Send("next", {"sandbox_results": [result()]}))},
        State(results=[result()]),
        {"input": Model(messages=[AIMessage("secret", id="sandbox-1")])},
    ],
)
def test_results_are_hidden_wherever_they_are(data: Any) -> None:
    before = repr(data)
    hidden = hide_content(data)
    assert "secret" not in repr(hidden)
    assert HIDDEN in repr(hidden)
    assert repr(data) == before


def test_what_is_no_result_stays() -> None:
    data = {"messages": [HumanMessage("hello"), ToolMessage("4", tool_call_id="c")], "n": 1, "pair": (1, 2)}
    assert hide_content(data) == data
    objects = [Command(update=data), Send("next", data), State([1]), Model(messages=data["messages"]), State]
    assert all(after is before for after, before in zip(hide_content(objects), objects, strict=True))
    kept = hide_content(result())
    assert (kept["status"], kept["usage"]) == (result()["status"], result()["usage"])


def test_objects_that_hold_each_other_are_looked_at_once() -> None:
    states = [State([]) for _ in range(50)]
    for state in states:
        state.results = [*states, result()]
    assert "secret" not in repr(hide_content(states))


@given(JSON)
def test_hiding_never_fails(data: Any) -> None:
    assert hide_content(data) == data or "sandbox" in str(data)
