"""Real integrations of LangChain against servers that speak their language: what fails, and what must come back."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from chat_model_calls import ASKED, Asked, Taken, ask, new_call
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from langchain_sandbox.chat_model.caller import ChatModelCaller
from langchain_sandbox.config import Limits
from langchain_sandbox.gateway.call import CallError
from langchain_sandbox.testing import ScriptedModel


def open_chat(model: ScriptedModel) -> ChatOpenAI:
    return ChatOpenAI(
        model="scripted-model", base_url=model.endpoint.base_url, api_key="sk-s3cr3t", stream_usage=True, max_retries=0
    )


# fault of the server | code, as the same fault has without LangChain between
FAULTS = [
    ("http_500", "http_500"),
    ("http_429", "http_429"),
    ("unauthorized", "http_401"),
    ("refused", "model_unreachable"),
    ("hang", "model_timeout"),
    ("hang_mid_stream", "answer_stalled"),
    ("error_mid_stream", "error_in_answer"),
    ("cut", "answer_cut"),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS)
async def test_a_servers_fault_has_the_same_code_through_langchain_openai(fault: Any, code: str) -> None:
    limits = {"hang": Limits(first_byte=1), "hang_mid_stream": Limits(idle=1)}.get(fault, Limits())
    with ScriptedModel([], fault=fault) as model, pytest.raises(CallError) as caught:
        await ask(open_chat(model), limits=limits)
    assert caught.value.code == code, caught.value
    assert "s3cr3t" not in str(caught.value)


async def test_a_conversation_that_is_too_long_is_refused_in_words_that_opencode_knows() -> None:
    with ScriptedModel([], fault="context_length") as model:
        asked: Asked = await ask(open_chat(model))
    assert (asked.sink.status, asked.call.overflow, asked.call.error) == (400, True, "context_overflow")
    assert "maximum context length" in asked.sink.data.decode()


async def test_text_reasoning_calls_and_tokens_come_through_langchain_openai() -> None:
    turn = {"text": ["I ", "look."], "tool_calls": [{"name": "bash", "arguments": {"command": "ls"}}] * 2}
    with ScriptedModel([turn]) as model:
        asked = await ask(open_chat(model))
    assert asked.sink.text == "I look."
    assert asked.sink.data.count(b'"name": "bash"') == 2
    assert asked.call.finish_reason == "tool_calls"
    assert asked.call.usage.prompt_tokens > 0


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def go_on(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


ABOUT = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "c", "stop_reason": None}
ANSWER: list[dict[str, Any]] = [
    {"type": "message_start", "message": ABOUT | {"usage": {"input_tokens": 11, "output_tokens": 1}}},
    start(0, type="thinking", thinking="", signature=""),
    go_on(0, type="thinking_delta", thinking="Hm."),
    go_on(0, type="signature_delta", signature="c2lnbmVk"),
    {"type": "content_block_stop", "index": 0},
    start(1, type="text", text=""),
    go_on(1, type="text_delta", text="I look."),
    {"type": "content_block_stop", "index": 1},
    start(2, type="tool_use", id="toolu_1", name="bash", input={}),
    go_on(2, type="input_json_delta", partial_json='{"command": '),
    go_on(2, type="input_json_delta", partial_json='"ls"}'),
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"input_tokens": 11, "output_tokens": 7}},
    {"type": "message_stop"},
]


class _Claude(BaseHTTPRequestHandler):
    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in ANSWER:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def claude() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Claude", (_Claude,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


async def test_claude_gets_the_signature_of_its_thoughts_back(claude: tuple[str, list[dict[str, Any]]]) -> None:
    address, asked = claude
    chat = ChatAnthropic(
        model_name="claude-test",
        base_url=address,
        api_key="x",
        max_tokens=4096,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    caller = ChatModelCaller(chat, Limits())
    sink, call = Taken(), new_call()
    await caller.call(ASKED, call, sink)
    assert sink.text == "I look."
    assert b'"reasoning_content": "Hm."' in sink.data
    assert (call.finish_reason, call.usage.prompt_tokens, call.usage.completion_tokens) == ("tool_calls", 11, 7)
    told = {"id": "toolu_1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    history = [
        {"role": "assistant", "content": "I look.", "tool_calls": [told]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "a.py"},
    ]
    await caller.call(ASKED | {"messages": [*ASKED["messages"], *history]}, new_call(), Taken())
    assert [tool["name"] for tool in asked[0]["tools"]] == ["bash"]
    _, assistant, result = asked[1]["messages"]
    thinking, text, use = assistant["content"]
    assert (thinking["thinking"], thinking["signature"], text["text"]) == ("Hm.", "c2lnbmVk", "I look.")
    assert (use["id"], use["input"]) == ("toolu_1", {"command": "ls"})
    assert result["content"][0]["tool_use_id"] == "toolu_1"
