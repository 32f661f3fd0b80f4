"""OpenCode's own events, recorded, told once each; and whatever else a container may say instead."""

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_sandbox.events import SandboxEvent, build_event
from langchain_sandbox.transcript import Step, ToolUse, Transcript

RECORDED = [
    json.loads(line.partition(" ")[2])
    for line in (Path(__file__).parent / "data" / "events.jsonl").read_text(encoding="utf-8").splitlines()
]
DELTAS = sorted({body["properties"]["partID"] for body in RECORDED if body["type"] == "message.part.delta"})
STEPS = [
    Step(
        index=0,
        text="Let me look",
        tools=["bash"],
        reason="tool-calls",
        at=2.5,
        seconds=0.0,
        uses=[ToolUse(tool="bash", title="ls -la", status="completed", at=2.5, seconds=0.0)],
    ),
    Step(index=1, text="All done now.", tools=[], reason="stop", at=2.5, seconds=0.0),
]


class Listener:
    """A transcript and the events that it emits."""

    def __init__(self) -> None:
        self.events: list[SandboxEvent] = []
        self.transcript = Transcript(self._emit, clock=lambda: 2.5)

    def _emit(self, kind: str, **fields: Any) -> None:
        self.events.append(build_event(kind, run_id="r", at=0.0, **fields))

    def hear(self, *bodies: dict[str, Any]) -> "Listener":
        for body in bodies:
            self.transcript.on_event(body)
        return self

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.model_dump(exclude={"type", "run_id", "at"}) for event in self.events if event.type == kind]

    @property
    def text(self) -> str:
        return "".join(fields["text"] for fields in self.told("text"))


def kind_of(body: dict[str, Any]) -> str:
    return str(body["properties"].get("part", {}).get("type") or body["type"])


def begun() -> Listener:
    """A listener in the middle of the task's own session `s`, in the assistant's message `m`."""
    session = {"type": "session.created", "properties": {"sessionID": "s"}}
    message = {"type": "message.updated", "properties": {"info": {"id": "m", "role": "assistant"}}}
    return Listener().hear(session, message)


def part(kind: str, *, identity: str = "p", session: str = "s", message: str = "m", **fields: Any) -> dict[str, Any]:
    whole = {"type": kind, "id": identity, "sessionID": session, "messageID": message, **fields}
    return {"type": "message.part.updated", "properties": {"part": whole}}


def delta(text: object, *, identity: str = "p", field: str = "text") -> dict[str, Any]:
    return {"type": "message.part.delta", "properties": {"partID": identity, "field": field, "delta": text}}


def tool(status: str, call: str = "c", **state: Any) -> dict[str, Any]:
    return part("tool", identity=call, callID=call, tool="bash", state={"status": status, **state})


def test_a_recorded_run_is_told_exactly_once() -> None:
    heard = Listener().hear(*RECORDED)
    assert [event.type for event in heard.events if event.type != "text"] == [
        "tool_started",
        "tool_ended",
        "step",
        "step",
    ]
    assert heard.text == "Let me lookAll done now."
    assert heard.told("step") == [{"index": 0, "reason": "tool-calls"}, {"index": 1, "reason": "stop"}]
    command = {"command": "ls -la", "description": "look"}
    assert heard.told("tool_started") == [{"call_id": "c1", "tool": "bash", "input": command}]
    [ended] = heard.told("tool_ended")
    assert (ended["status"], "AGENTS.md" in ended["output"]) == ("completed", True)
    assert heard.transcript.steps == STEPS


def test_the_users_own_words_are_not_told() -> None:
    assert "do it" in json.dumps(RECORDED)
    assert "do it" not in Listener().hear(*RECORDED).text


@given(st.dictionaries(st.sampled_from(DELTAS), st.integers(0, 2)))
def test_where_deltas_stop_coming_the_final_part_brings_the_rest(coming: dict[str, int]) -> None:
    left = Counter(coming)
    kept = []
    for body in RECORDED:
        if body["type"] == "message.part.delta":
            left[body["properties"]["partID"]] -= 1
            if left[body["properties"]["partID"]] < 0:
                continue
        kept.append(body)
    heard = Listener().hear(*kept)
    assert heard.text == "Let me lookAll done now."
    assert heard.transcript.steps == STEPS


def test_every_text_comes_before_the_step_that_it_belongs_to_ends() -> None:
    kinds = [event.type for event in Listener().hear(*RECORDED).events]
    assert kinds[0] == "text"
    assert kinds[-1] == "step"


def test_a_subagents_session_is_left_out_but_for_the_tool_that_started_it() -> None:
    child = json.loads(
        json.dumps(RECORDED)
        .replace("ses_df4b12109ffe0djvsoCp7VTKL8", "ses_child")
        .replace("msg_", "msg_child_")
        .replace("prt_", "prt_child_")
    )
    middle = next(index for index, body in enumerate(RECORDED) if kind_of(body) == "tool")
    heard = Listener().hear(*RECORDED[:middle], *child, *RECORDED[middle:])
    assert heard.text == "Let me lookAll done now."
    assert heard.transcript.steps == STEPS
    assert len(heard.told("tool_started")) == 1


@pytest.mark.parametrize("status", ["completed", "error"])
def test_a_tool_that_was_never_seen_running_is_told_from_start_to_end(status: str) -> None:
    heard = begun().hear(tool("pending"), tool(status, output="o", error="o"), tool(status), tool("running"))
    assert [event.type for event in heard.events] == ["tool_started", "tool_ended"]
    assert heard.told("tool_ended") == [{"call_id": "c", "tool": "bash", "status": status, "output": "o"}]
    use = ToolUse(tool="bash", status=status, at=2.5, seconds=0.0)
    assert heard.transcript.steps == [Step(index=0, tools=["bash"], at=2.5, uses=[use])]


def test_a_delta_that_was_dropped_does_not_garble_the_rest() -> None:
    heard = begun().hear(part("text", text=""), delta("done"), delta(" now."), part("text", text="All done now."))
    assert heard.transcript.steps == [Step(index=0, text="All done now.", at=2.5)]  # "All " had not come


def test_reasoning_is_not_text() -> None:
    heard = begun().hear(part("reasoning", text="hm"), delta("hm"), delta("x", field="reasoning"))
    assert heard.events == []


@pytest.mark.parametrize(
    "body",
    [
        part("text", session="other", text="x"),
        part("text", message="other", text="x"),
        delta("x", identity="unknown"),
        delta(7),
        part("text", text=""),
        part("snapshot"),
        tool("unheard-of"),
        part("tool", callID="c", tool="bash", state="running"),
        {"type": "message.part.updated", "properties": {"part": None}},
        {"type": "message.part.updated"},
        {"type": "nonsense", "properties": {}},
        {},
    ],
)
def test_what_is_not_understood_is_left_out(body: dict[str, Any]) -> None:
    heard = begun().hear(body)
    assert (heard.events, heard.transcript.steps) == ([], [])


def test_what_is_kept_of_a_run_has_limits() -> None:
    heard = begun()
    for number in range(1100):
        heard.hear(part("step-start"))
        heard.hear(tool("completed", f"{number}", output="x" * 100_000))
    for number in range(300):
        heard.hear(tool("running", f"more-{number}"))
    heard.hear(part("text", text="y" * 1_000_000))
    steps = heard.transcript.steps
    assert len(steps) == 1000
    assert max(len(step.tools) for step in steps) == 200
    assert max(len(step.text) for step in steps) == 16 * 1024
    assert max(len(fields["output"]) for fields in heard.told("tool_ended")) == 32 * 1024


words = st.sampled_from(
    ["s", "m", "p", "text", "tool", "step-start", "step-finish", "running", "completed", "error", "assistant"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
states = st.fixed_dictionaries(
    {"status": st.sampled_from(["pending", "running", "completed", "error"]) | values},
    optional={"input": values, "output": values, "error": values},
)
parts = st.fixed_dictionaries(
    {"sessionID": st.just("s"), "messageID": st.just("m"), "type": words | values},
    optional={"id": values, "text": values, "callID": values, "tool": values, "state": states | values},
)
properties = st.one_of(
    values,
    st.builds(lambda part: {"part": part}, parts | values),
    st.builds(lambda info: {"info": info}, st.dictionaries(st.sampled_from(["id", "role"]), values) | values),
    st.dictionaries(st.sampled_from(["sessionID", "partID", "field", "delta"]), values),
)
types = st.sampled_from(["session.created", "message.updated", "message.part.delta", "message.part.updated"])
bodies = st.fixed_dictionaries({}, optional={"type": types | values, "properties": properties})


def test_what_is_held_of_a_run_that_says_too_much_is_small() -> None:
    listener = begun().hear(part("step-start"))
    long = "x" * 20_000
    tracemalloc.start()
    try:
        for number in range(500):
            message = {
                "type": "message.updated",
                "properties": {"info": {"role": "assistant", "id": f"{number}{long}"}},
            }
            listener.transcript.on_event(message)
            listener.transcript.on_event(part("text", identity=f"{number}", text=f"{number}{long}"))
            listener.transcript.on_event(part("text", identity=f"{number}{long}", text="-"))
            listener.events.clear()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000
    (step,) = listener.transcript.steps
    assert step.text.startswith(f"0{long[:1000]}")
    assert len(step.text) == 16 * 1024


@settings(max_examples=200)
@given(st.lists(bodies, max_size=8))
def test_no_json_of_any_shape_raises(garbage: list[dict[str, Any]]) -> None:
    heard = begun().hear(*garbage, *RECORDED)
    assert all(isinstance(step, Step) for step in heard.transcript.steps)
    json.dumps([event.model_dump(mode="json") for event in heard.events])
