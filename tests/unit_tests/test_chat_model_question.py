"""OpenCode's request in LangChain's words: what belongs to it arrives, and nothing else gets through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, convert_to_openai_messages

from langchain_sandbox.chat_model.question import Question, QuestionError, parse_question

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Runs a command.",
        "parameters": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"command": {"type": "string"}},
        },
    },
}
USER = {"role": "user", "content": "Fix it."}
CALL = {"id": "call_1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}


def ask(*messages: object, **options: object) -> Question:
    return parse_question({"model": "model", "messages": list(messages), **options})


def test_a_conversation_with_tools_arrives_as_it_is() -> None:
    question = ask(
        {"role": "system", "content": "You are an agent."},
        USER,
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "call_1", "content": "a.py"},
        {"role": "assistant", "content": None, "tool_calls": [CALL | {"id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "b"}]},
        tools=[TOOL],
        tool_choice="auto",
        stream=True,
        stream_options={"include_usage": True},
    )
    calls = [
        {"name": "bash", "args": {"command": "ls"}, "id": f"call_{number}", "type": "tool_call"} for number in (1, 2)
    ]
    assert question.messages == [
        SystemMessage("You are an agent."),
        HumanMessage("Fix it."),
        AIMessage("I look.", tool_calls=calls[:1]),
        ToolMessage("a.py", tool_call_id="call_1"),
        AIMessage("", tool_calls=calls[1:]),
        ToolMessage("b", tool_call_id="call_2"),
    ]
    assert (question.stream, question.include_usage, question.tool_choice, question.stop) == (True, True, None, None)
    (tool,) = question.tools
    assert tool["function"]["name"] == "bash"
    assert "$schema" not in tool["function"]["parameters"]
    assert tool["function"]["parameters"]["properties"] == {"command": {"type": "string"}}


CHOICES = [
    (None, None),
    ("auto", None),
    ("required", "any"),
    ({"type": "function", "function": {"name": "bash"}}, "bash"),
]


@pytest.mark.parametrize(("told", "meant"), CHOICES)
def test_the_choice_of_a_tool_is_said_in_langchains_words(told: object, meant: str | None) -> None:
    assert ask(USER, tools=[TOOL], tool_choice=told).tool_choice == meant


def test_tools_that_may_not_be_called_are_not_offered() -> None:
    question = ask(USER, tools=[TOOL], tool_choice="none")
    assert (question.tools, question.tool_choice) == ([], None)


def test_an_image_in_the_request_is_passed_on() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    assert ask({"role": "user", "content": parts}).messages == [HumanMessage(content=parts)]


def test_half_a_character_is_replaced_wherever_it_stands() -> None:
    arguments = json.dumps({"command": "echo \ud83d"})
    question = ask(
        {"role": "user", "content": "a\ud83d b \ude00\ud83d\ude00"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [CALL | {"function": {"name": "bash", "arguments": arguments}}],
        },
    )
    user, assistant = question.messages
    assert user.content == "a\ufffd b \ufffd\U0001f600"
    assert assistant.tool_calls[0]["args"] == {"command": "echo \ufffd"}


@pytest.mark.parametrize("written", ["{broken", "[1]", "3", "null", "[" * 100_000])
def test_a_model_sees_what_nonsense_it_wrote_as_arguments(written: str) -> None:
    message = {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "bash", "arguments": written}}]}
    assert ask(message).messages[0].tool_calls[0]["args"] == {"not_valid_json": written}


REFUSED = [
    ({"messages": []}, "messages"),
    ({"messages": "Fix it."}, "messages"),
    ({"messages": ["Fix it."]}, "object"),
    ({"messages": [{"role": "function", "content": "x"}]}, "role"),
    ({"messages": [{"role": "user", "content": 3}]}, "content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "id"),
    # An integration would fetch these from here, or have its provider do so.
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]}]},
        "image",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]},
        "image",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}, "part"),
    ({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]}, "images"),
    # Tools of the provider's own, which reach the internet.
    ({"messages": [USER], "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "provider's own"),
    ({"messages": [USER], "tools": [{"google_search": {}}]}, "provider's own"),
    ({"messages": [USER], "tools": [TOOL | {"function": {"name": "a b"}}]}, "name"),
    ({"messages": [USER], "tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice"),
    ({"messages": [USER], "stop": [3]}, "stop"),
]


@pytest.mark.parametrize(("body", "word"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_to_be_passed_on_is_refused(body: dict[str, Any], word: str) -> None:
    with pytest.raises(QuestionError, match=word):
        parse_question(body)


def test_what_is_nested_without_end_is_refused() -> None:
    deep: object = {}
    for _ in range(500):
        deep = {"x": deep}
    with pytest.raises(QuestionError, match="deep"):
        ask(USER, tools=[{"type": "function", "function": {"name": "a", "parameters": deep}}])


TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    ["role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "image_url", "url", "id"]
)
VALUES = st.sampled_from(["system", "user", "assistant", "tool", "text", "function", "image_url", PIXEL, "{}", "bash"])
LIKELY = st.recursive(
    VALUES | JSON,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)


@given(
    st.fixed_dictionaries(
        {"messages": st.lists(LIKELY, max_size=4) | JSON},
        optional={"tools": LIKELY, "tool_choice": LIKELY, "stop": JSON, "stream": JSON, "stream_options": JSON},
    )
)
def test_whatever_a_container_asks_is_put_or_refused(body: dict[str, Any]) -> None:
    try:
        question = parse_question(body)
    except QuestionError as error:
        assert str(error)  # noqa: PT017 - either is right, and nothing else
    else:
        assert question.messages
        assert "http" not in json.dumps(
            [part for message in question.messages for part in find_images(message.content)]
        )


def find_images(content: object) -> list[object]:
    return [part for part in content if part["type"] == "image_url"] if isinstance(content, list) else []


ARGUMENTS = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-5, 5) | TEXT, max_size=3)
CALLS = st.lists(ARGUMENTS, min_size=1, max_size=3).map(
    lambda calls: [
        {"id": f"call-{index}", "type": "function", "function": {"name": "bash", "arguments": json.dumps(arguments)}}
        for index, arguments in enumerate(calls)
    ]
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.just("system"), "content": TEXT})
    | st.fixed_dictionaries({"role": st.just("user"), "content": TEXT})
    | st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXT, "tool_calls": CALLS})
    | st.fixed_dictionaries({"role": st.just("tool"), "content": TEXT, "tool_call_id": st.just("call-0")}),
    min_size=1,
    max_size=6,
)


@given(MESSAGES)
def test_there_and_back_again_a_conversation_is_the_same(messages: list[dict[str, Any]]) -> None:
    again = convert_to_openai_messages(ask(*messages).messages)
    assert [normalise(message) for message in again] == [normalise(message) for message in messages]


def normalise(message: dict[str, Any]) -> dict[str, Any]:
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    return {key: message.get(key) for key in ("role", "content", "tool_call_id")} | {"calls": calls}
