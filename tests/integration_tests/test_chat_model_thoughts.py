"""OpenAI's Responses API and Gemini through their integrations: what they sign comes back to them as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest
from chat_model_calls import ASKED, Taken, new_call
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from langchain_sandbox.chat_model.caller import ChatModelCaller
from langchain_sandbox.config import Limits
from langchain_sandbox.gateway.call import CallError

Events: TypeAlias = list[dict[str, Any]]

ABOUT = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "output": [], "status": "in_progress"}
ABOUT |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
TOKENS = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
TOKENS |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 1}}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2lnbmVk"}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": []}
CALLED = {"type": "function_call", "id": "fc_1", "call_id": "call_A", "name": "bash", "arguments": "", "status": "x"}
ARGUMENTS = '{"command": "ls"}'


def respond(*more: tuple[str, dict[str, Any]]) -> Events:
    """Thoughts, two words, and the beginning of a call, as the Responses API streams them; then what more there is."""
    events = [
        ("created", {"response": ABOUT}),
        ("output_item.added", {"output_index": 0, "item": THOUGHT | {"encrypted_content": None}}),
        ("reasoning_summary_text.delta", {"item_id": "rs_1", "output_index": 0, "summary_index": 0, "delta": "Hm."}),
        ("output_item.done", {"output_index": 0, "item": THOUGHT}),
        ("output_item.added", {"output_index": 1, "item": SAID}),
        ("output_text.delta", {"item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": "I look."}),
        ("output_item.done", {"output_index": 1, "item": SAID}),
        ("output_item.added", {"output_index": 2, "item": CALLED}),
        ("function_call_arguments.delta", {"item_id": "fc_1", "output_index": 2, "delta": ARGUMENTS}),
        *more,
    ]
    return [{"type": f"response.{name}", "sequence_number": at, **fields} for at, (name, fields) in enumerate(events)]


def end(status: str) -> tuple[str, dict[str, Any]]:
    return status, {"response": ABOUT | {"status": status, "usage": TOKENS}}


def part(*parts: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """A piece of what Gemini says."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, "finishReason": reason}
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    return {"candidates": [candidate], "usageMetadata": usage}


CALLS = [
    {"functionCall": {"name": "bash", "args": {"command": "ls"}}, "thoughtSignature": "c2lnbmVk"},
    {"functionCall": {"name": "bash", "args": {"command": "pwd"}}},
]
GEMINI = [part({"text": "Hm.", "thought": True}), part({"text": "I look."}), part(*CALLS, reason="STOP")]


class Provider:
    """A server that answers each request with the same events, and keeps what it was asked."""

    def __init__(self, events: Events) -> None:
        self.asked: list[dict[str, Any]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for event in events:
                    kind = f"event: {event['type']}\n" if "type" in event else ""
                    self.wfile.write(f"{kind}data: {json.dumps(event)}\n\n".encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Events], Provider]]:
    made: list[Provider] = []

    def make(events: Events) -> Provider:
        made.append(Provider(events))
        return made[-1]

    yield make
    for each in made:
        each.close()


def open_gpt(provider: Provider, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="gpt-5",
        base_url=f"{provider.address}/v1",
        api_key="x",
        use_responses_api=True,
        max_retries=0,
        **options,
    )


def open_gemini(provider: Provider) -> BaseChatModel:
    integration = pytest.importorskip("langchain_google_genai")
    model: BaseChatModel = integration.ChatGoogleGenerativeAI(
        model="gemini-2.5-pro", google_api_key="x", base_url=provider.address, max_retries=1, include_thoughts=True
    )
    return model


async def ask_twice(model: BaseChatModel) -> tuple[Taken, Any]:
    """Ask, and go on from the answer, of which the container knows what OpenAI's chat completions can say."""
    caller, sink, call = ChatModelCaller(model, Limits()), Taken(), new_call()
    await caller.call(ASKED | {"stream": False}, call, sink)
    said = json.loads(sink.data)["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": each["id"], "content": "a.py"} for each in said["tool_calls"]]
    history = [{key: value for key, value in said.items() if key != "reasoning_content"}, *results]
    await caller.call(ASKED | {"messages": [*ASKED["messages"], *history]}, new_call(), Taken())
    assert (said["reasoning_content"], said["content"]) == ("Hm.", "I look.")
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"command": "ls"}
    return sink, call


@pytest.mark.parametrize("version", [None, "responses/v1", "v1"])
async def test_the_responses_api_gets_its_thoughts_back(
    serve: Callable[[Events], Provider], version: str | None
) -> None:
    provider = serve(respond(("output_item.done", {"output_index": 2, "item": CALLED}), end("completed")))
    _, call = await ask_twice(open_gpt(provider, output_version=version))
    assert (call.finish_reason, call.usage.prompt_tokens, call.usage.completion_tokens) == ("tool_calls", 11, 7)
    _, thought, _, called, result = provider.asked[1]["input"]
    assert (thought["id"], thought["encrypted_content"]) == ("rs_1", "c2lnbmVk")
    assert called["id"] == "fc_1"
    assert called["call_id"] == result["call_id"] == "call_A"


async def test_gemini_gets_the_signature_of_its_call_back(serve: Callable[[Events], Provider]) -> None:
    provider = serve(GEMINI)
    _, call = await ask_twice(open_gemini(provider))
    assert (call.finish_reason, call.usage.prompt_tokens, call.usage.completion_tokens) == ("tool_calls", 11, 7)
    _, said, results = provider.asked[1]["contents"]
    calls = [each for each in said["parts"] if "functionCall" in each]
    assert [each.get("thoughtSignature") for each in calls] == ["c2lnbmVk", None]
    assert len(results["parts"]) == 2


async def test_an_answer_of_the_responses_api_that_was_cut_or_is_too_long(serve: Callable[[Events], Provider]) -> None:
    call = new_call()
    await ChatModelCaller(open_gpt(serve(respond(end("incomplete")))), Limits()).call(ASKED, call, Taken())
    assert call.finish_reason == "length"
    with pytest.raises(CallError) as caught:
        await ChatModelCaller(open_gpt(serve(respond())), Limits()).call(ASKED, new_call(), Taken())
    assert caught.value.code == "answer_cut"


async def test_what_gemini_will_not_answer_is_told_as_that(serve: Callable[[Events], Provider]) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 11}}
    call = new_call()
    await ChatModelCaller(open_gemini(serve([blocked])), Limits()).call(ASKED, call, Taken())
    assert call.finish_reason == "content_filter"
