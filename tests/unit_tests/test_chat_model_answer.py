"""A chat model's answer in OpenAI's words, whichever style its integration has."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from langchain_sandbox.chat_model.answer import AnswerTranslator
from langchain_sandbox.chat_model.wire import Form, Stream, Whole
from langchain_sandbox.gateway.sse import AnswerError, AnswerReader


def send(form: Form, messages: Iterable[AIMessage]) -> tuple[bytes, AnswerTranslator]:
    answer = AnswerTranslator()
    data = b"".join(form.open() + b"".join(map(form.write, answer.feed(message))) for message in messages)
    data += b"".join(map(form.write, answer.finish()))
    return data + form.finish(reason=answer.reason, usage=answer.usage), answer


def read_stream(messages: Iterable[AIMessage]) -> dict[str, Any]:
    """What a client makes of the stream."""
    data, _ = send(Stream(include_usage=True), messages)
    reader = AnswerReader()
    assert reader.feed(data) == data
    reader.finish()
    assert reader.done
    found: dict[str, Any] = {"text": "", "reasoning": "", "calls": [], "reason": reader.finish_reason}
    for line in data.decode("ascii").split("\n\n")[:-2]:
        for choice in json.loads(line.removeprefix("data: "))["choices"]:
            delta = choice["delta"]
            found["text"] += delta.get("content", "")
            found["reasoning"] += delta.get("reasoning_content", "")
            for call in delta.get("tool_calls", ()):
                if call["index"] == len(found["calls"]):
                    found["calls"].append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
                found["calls"][call["index"]]["arguments"] += call["function"]["arguments"]
    return found | {"usage": (reader.usage.prompt_tokens, reader.usage.completion_tokens)}


def read_whole(messages: Iterable[AIMessage]) -> dict[str, Any]:
    data, _ = send(Whole(), messages)
    document = json.loads(data)
    (choice,) = document["choices"]
    return {
        "text": choice["message"]["content"] or "",
        "reasoning": choice["message"].get("reasoning_content", ""),
        "calls": [{"id": call["id"], **call["function"]} for call in choice["message"].get("tool_calls", ())],
        "reason": choice["finish_reason"],
        "usage": (document["usage"]["prompt_tokens"], document["usage"]["completion_tokens"]),
    }


def chunk(content: Any = "", calls: Iterable[Any] = (), **more: Any) -> AIMessageChunk:
    return AIMessageChunk(content=content, tool_call_chunks=list(calls), **more)


def usage(came: int, went: int) -> dict[str, int]:
    return {"input_tokens": came, "output_tokens": went, "total_tokens": came + went}


WANTED = {
    "text": "I look.",
    "reasoning": "Hm, hm.",
    "calls": [
        {"id": "a", "name": "bash", "arguments": '{"command": "ls"}'},
        {"id": "b", "name": "read", "arguments": '{"filePath": "x"}'},
    ],
    "reason": "tool_calls",
    "usage": (11, 7),
}

OPENAI = [
    chunk("", additional_kwargs={"reasoning_content": "Hm, "}),
    chunk("", additional_kwargs={"reasoning_content": "hm."}),
    chunk("I "),
    chunk("look."),
    chunk("", [tool_call_chunk(name="bash", args="", id="a", index=0)]),
    chunk("", [tool_call_chunk(args='{"command": ', index=0)]),
    chunk("", [tool_call_chunk(args='"ls"}', index=0)]),
    chunk("", [tool_call_chunk(name="read", args='{"filePath": "x"}', id="b", index=1)]),
    chunk("", response_metadata={"finish_reason": "tool_calls", "model_provider": "openai"}),
    chunk("", usage_metadata=usage(11, 7), chunk_position="last"),
]
ANTHROPIC = [
    chunk([], response_metadata={"model_provider": "anthropic"}),
    chunk([{"type": "thinking", "thinking": "Hm, ", "index": 0}]),
    chunk([{"type": "thinking", "thinking": "hm.", "index": 0}]),
    chunk([{"type": "thinking", "thinking": "", "signature": "c2ln", "index": 0}]),
    chunk([{"type": "text", "text": "I look.", "index": 1}]),
    chunk(
        [{"type": "tool_use", "id": "a", "name": "bash", "input": {}, "index": 2}],
        [tool_call_chunk(name="bash", args="", id="a", index=2)],
    ),
    chunk(
        [{"type": "input_json_delta", "partial_json": '{"command": "ls"}', "index": 2}],
        [tool_call_chunk(args='{"command": "ls"}', index=2)],
    ),
    chunk(
        [{"type": "tool_use", "id": "b", "name": "read", "input": {}, "index": 3}],
        [tool_call_chunk(name="read", args="", id="b", index=3)],
    ),
    chunk([], [tool_call_chunk(args='{"filePath": "x"}', index=3)]),
    chunk([], usage_metadata=usage(11, 7), response_metadata={"stop_reason": "tool_use"}),
]
GOOGLE = [
    chunk([{"type": "thinking", "thinking": "Hm, hm."}, "I look."], usage_metadata=usage(11, 3)),
    chunk("", [tool_call_chunk(name="bash", args='{"command": "ls"}', id="a", index=None)]),
    chunk("", [tool_call_chunk(name="read", args='{"filePath": "x"}', id="b", index=None)]),
    chunk(
        "", usage_metadata=usage(0, 4), response_metadata={"finish_reason": "STOP", "model_provider": "google_genai"}
    ),
]
RESPONSES = [
    chunk([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm, hm."}], "index": 0}]),
    chunk([{"type": "text", "text": "I look.", "index": "lc_txt_1"}]),
    chunk("", [tool_call_chunk(name="bash", args='{"command": "ls"}', id="a", index=2)]),
    chunk("", [tool_call_chunk(name="read", args='{"filePath": "x"}', id="b", index=3)]),
    chunk([], usage_metadata=usage(11, 7), response_metadata={"status": "completed", "model_provider": "openai"}),
]
# Servers that give every call the same place.
ONE_PLACE = [
    chunk([{"type": "reasoning", "reasoning": "Hm, hm."}, {"type": "text", "text": "I look."}]),
    chunk("", [tool_call_chunk(name="bash", args='{"command": "ls"}', id="a", index=0)]),
    chunk("", [tool_call_chunk(name="read", args='{"filePath": "x"}', id="b", index=0)], usage_metadata=usage(11, 7)),
]
CALLS = [
    {"name": "bash", "args": {"command": "ls"}, "id": "a", "type": "tool_call"},
    {"name": "read", "args": {"filePath": "x"}, "id": "b", "type": "tool_call"},
]
WHOLE = [
    AIMessage(
        "I look.",
        additional_kwargs={"reasoning_content": "Hm, hm."},
        tool_calls=CALLS,
        usage_metadata=usage(11, 7),
    )
]
V1 = [
    AIMessage(
        content_blocks=[{"type": "reasoning", "reasoning": "Hm, hm."}, {"type": "text", "text": "I look."}, *CALLS]
    )
]
V1[0].usage_metadata = usage(11, 7)
CUSTOM = [
    AIMessage(
        [
            {"type": "reasoning", "reasoning": "Hm, hm."},
            "I look.",
            {"type": "tool_use", "id": "a", "name": "bash", "input": {"command": "ls"}},
            {"type": "tool_use", "id": "b", "name": "read", "input": {"filePath": "x"}},
        ],
        usage_metadata=usage(11, 7),
    )
]
STYLES = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "responses": RESPONSES,
    "one_place": ONE_PLACE,
    "whole": WHOLE,
    "v1": V1,
    "custom": CUSTOM,
}


@pytest.mark.parametrize("style", STYLES)
def test_each_style_comes_out_the_same_streamed_and_whole(style: str) -> None:
    assert read_stream(STYLES[style]) == WANTED
    assert read_whole(STYLES[style]) == WANTED


def test_ids_that_are_missing_or_not_its_own_are_made() -> None:
    same = {"name": "bash", "args": {}, "id": "same", "type": "tool_call"}
    found = read_stream([AIMessage("", tool_calls=[same | {"id": None}, same, same])])
    ids = [call["id"] for call in found["calls"]]
    assert len(set(ids)) == 3
    assert ids[1] == "same"
    assert [call["arguments"] for call in found["calls"]] == ["{}"] * 3


def test_a_call_without_arguments_gets_an_empty_object() -> None:
    (call,) = read_stream([chunk("", [tool_call_chunk(name="list", args="", id="a", index=1)])])["calls"]
    assert call["arguments"] == "{}"


def test_arguments_that_are_no_json_are_passed_on_for_opencode_to_say_so() -> None:
    broken = {"name": "bash", "args": '{"command": ', "id": "a", "error": None, "type": "invalid_tool_call"}
    (call,) = read_stream([AIMessage("", invalid_tool_calls=[broken])])["calls"]
    assert call["arguments"] == '{"command": '


REASONS = [
    ({}, "stop", "stop"),
    ({"finish_reason": "stop"}, "stop", "stop"),
    ({"stop_reason": "end_turn"}, "stop", "stop"),
    ({"finish_reason": "STOP"}, "stop", "stop"),
    ({"done_reason": "stop"}, "stop", "stop"),
    ({"stopReason": "max_tokens"}, "length", "length"),
    ({"finish_reason": "MAX_TOKENS"}, "length", "length"),
    ({"finish_reason": "length"}, "length", "length"),
    ({"status": "incomplete"}, "length", "length"),
    ({"stop_reason": "refusal"}, "content_filter", "content_filter"),
    ({"finish_reason": "SAFETY"}, "content_filter", "content_filter"),
    ({"finish_reason": "MALFORMED_FUNCTION_CALL"}, "length", "malformed_function_call"),
    # It says that it calls a tool, and does not.
    ({"finish_reason": "tool_calls"}, "stop", "stop"),
]


@pytest.mark.parametrize(("metadata", "sent", "recorded"), REASONS)
def test_why_it_ended_is_said_in_openais_words(metadata: dict[str, str], sent: str, recorded: str) -> None:
    data, answer = send(Stream(include_usage=False), [chunk("x"), chunk("", response_metadata=metadata)])
    reader = AnswerReader()
    reader.feed(data)
    assert (reader.finish_reason, answer.finish_reason) == (sent, recorded)
    assert b'"usage"' not in data


def test_an_answer_that_stops_without_a_word_where_there_always_is_one_was_cut() -> None:
    with pytest.raises(AnswerError) as caught:
        send(Whole(), [chunk("half of an", response_metadata={"model_provider": "openai"})])
    assert caught.value.code == "answer_cut"


def test_a_long_text_is_sent_in_lines_of_bounded_length() -> None:
    text = "é" * 2_000_000
    data, _ = send(Stream(include_usage=True), [AIMessage(text)])
    assert max(len(line) for line in data.split(b"\n")) < 128 * 1024
    assert read_stream([AIMessage(text)])["text"] == text


@given(
    st.lists(st.text(max_size=10), max_size=5),
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=3), max_size=4),
    st.integers(1, 7),
)
def test_whatever_way_a_call_is_split_it_comes_out_whole(
    texts: list[str], calls: list[dict[str, str]], size: int
) -> None:
    messages: list[AIMessage] = [chunk(text) for text in texts]
    for index, arguments in enumerate(calls):
        written = json.dumps(arguments)
        messages.append(chunk("", [tool_call_chunk(name="tool", args="", id=f"id-{index}", index=index)]))
        messages += [
            chunk("", [tool_call_chunk(args=written[start : start + size], index=index)])
            for start in range(0, len(written), size)
        ]
    found = read_stream(messages)
    assert found == read_whole(messages)
    assert found["text"] == "".join(texts)
    assert [json.loads(call["arguments"]) for call in found["calls"]] == calls
    assert found["reason"] == ("tool_calls" if calls else "stop")
