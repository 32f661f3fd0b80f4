"""One call of a chat model: given on as it comes, bounded in time and size, seen by nobody else."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest
from chat_model_calls import ASKED, TOOL, Taken, ask, new_call
from chat_models import Chunks, Whole, call_tool, hang
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from langchain_sandbox.chat_model import asking
from langchain_sandbox.chat_model.caller import ChatModelCaller
from langchain_sandbox.config import Limits
from langchain_sandbox.gateway.call import CallError

IMPATIENT = Limits(first_byte=0.2)


def pieces(*texts: str, pause: float = 0) -> Any:
    def answer(_: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        for text in texts:
            yield AIMessageChunk(text)
            time.sleep(pause)

    return answer


async def test_an_answer_is_given_on_piece_by_piece_and_counted() -> None:
    def answer(_: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        yield AIMessageChunk("I ")
        yield AIMessageChunk("look.")
        usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
        yield AIMessageChunk("", usage_metadata=usage, response_metadata={"finish_reason": "stop"})

    asked = await ask(Chunks(answer=answer))
    assert (asked.sink.status, asked.sink.content_type, asked.sink.ended) == (200, "text/event-stream", True)
    assert asked.sink.text == "I look."
    assert asked.sink.pieces >= 3
    record = asked.call.record()
    assert (record.status, record.finish_reason, record.error) == (200, "stop", None)
    assert (record.prompt_tokens, record.completion_tokens) == (11, 7)
    assert record.first_byte is not None


async def test_a_request_that_does_not_stream_gets_one_document() -> None:
    asked = await ask(Chunks(answer=pieces("I ", "look.")), ASKED | {"stream": False})
    assert asked.sink.content_type == "application/json"
    assert json.loads(asked.sink.data)["choices"][0]["message"] == {"role": "assistant", "content": "I look."}


async def test_a_model_gets_the_tools_and_nothing_of_how_to_draw() -> None:
    model = Whole(answer=lambda _: AIMessage("x"))
    body = ASKED | {"tool_choice": "required", "temperature": 1.9, "max_tokens": 3, "stop": "###", "seed": 1}
    await ask(model, body | {"response_format": {"type": "json_object"}, "logit_bias": {}})
    assert model._asked == [
        {"messages": [HumanMessage("Fix it.")], "tools": [TOOL], "tool_choice": "any", "stop": ["###"]}
    ]


@pytest.mark.parametrize("body", [{}, {"messages": [3]}, {"messages": [{"role": "user", "content": {}}]}])
async def test_a_request_that_is_none_gets_a_400_and_the_run_goes_on(body: dict[str, Any]) -> None:
    model = Whole(answer=lambda _: AIMessage("x"))
    asked = await ask(model, {"x": 1, **body})
    assert (asked.sink.status, asked.sink.ended, asked.call.status, asked.call.error) == (400, True, 400, "http_400")
    assert json.loads(asked.sink.data)["error"]["message"]
    assert model._asked == []


async def fail(model: BaseChatModel, limits: Limits | None = None) -> CallError:
    with pytest.raises(CallError) as caught:
        await ask(model, limits=limits)
    return caught.value


async def test_what_it_raises_ends_the_run_with_its_words_and_without_its_key() -> None:
    def answer(_: object) -> AIMessage:
        msg = "the key sk-never-to-be-seen is of no use"
        raise LookupError(msg)

    error = await fail(Whole(answer=answer))
    assert error.code == "model_exception"
    assert "LookupError: the key … is of no use" in str(error)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, RecursionError])
async def test_no_exception_whatsoever_leaves_the_call_waiting(raised: type[BaseException]) -> None:
    def answer(_: object) -> AIMessage:
        raise raised

    assert (await fail(Whole(answer=answer))).code == "model_exception"


async def test_a_model_that_hangs_is_left() -> None:
    error = await fail(Whole(answer=lambda _: hang()), IMPATIENT)
    assert error.code == "model_timeout"
    assert "Limits.first_byte" in str(error)


async def test_a_model_that_pauses_for_too_long_is_left() -> None:
    error = await fail(Chunks(answer=pieces("a", "b", pause=3600)), Limits(first_byte=60, idle=0.2))
    assert error.code == "answer_stalled"
    assert "Limits.idle" in str(error)


async def test_an_answer_without_end_is_broken_off() -> None:
    def answer(_: object) -> Iterator[AIMessageChunk]:
        while True:
            yield AIMessageChunk("x" * 4_000_000)

    assert (await fail(Chunks(answer=answer))).code == "answer_too_long"


async def test_an_answer_of_nothing_that_never_ends_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_MAX_MESSAGES", 100)
    error = await fail(Chunks(answer=lambda _: itertools.repeat(AIMessageChunk(""))))
    assert (error.code, str(error)) == ("answer_too_long", "the chat model's answer passed 100 pieces")


async def test_a_slow_reader_slows_the_model_down_and_nothing_piles_up() -> None:
    made: list[int] = []

    def answer(_: object) -> Iterator[AIMessageChunk]:
        for number in range(10_000):
            made.append(number)
            yield AIMessageChunk("x")

    class Slow(Taken):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            if self.pieces == 5:
                await anyio.sleep(0.3)  # the model could have said all of it by now
                scope.cancel()

    sink = Slow()
    with anyio.CancelScope() as scope:
        await ChatModelCaller(Chunks(answer=answer), Limits()).call(ASKED, new_call(), sink)
    assert 5 <= len(made) < 5 + 20


async def test_a_cancelled_call_stops_reading_and_closes_the_stream() -> None:
    closed = threading.Event()

    def answer(_: object) -> Iterator[AIMessageChunk]:
        try:
            while True:
                time.sleep(0.01)
                yield AIMessageChunk("x")
        finally:
            closed.set()

    with anyio.move_on_after(0.2) as scope:
        await ask(Chunks(answer=answer))
    assert scope.cancelled_caught
    assert await anyio.to_thread.run_sync(closed.wait, 5)


async def test_threads_that_are_left_and_hang_are_counted() -> None:
    release = threading.Event()
    caller = ChatModelCaller(Whole(answer=lambda _: AIMessage(str(release.wait(20)))), Limits())
    for _ in range(32):
        with anyio.move_on_after(0.01):
            await caller.call(ASKED, new_call(), Taken())
    sink = Taken()
    await caller.call(ASKED, new_call(), sink)
    assert sink.status == 429
    release.set()


async def test_the_loop_goes_on_while_the_model_thinks() -> None:
    seen = threading.Event()

    def answer(_: object) -> Iterator[AIMessageChunk]:
        yield AIMessageChunk("first")
        yield AIMessageChunk(f", then {seen.wait(60)}")

    class Watching(Taken):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            seen.set()

    sink = Watching()
    await ChatModelCaller(Chunks(answer=answer), Limits()).call(ASKED, new_call(), sink)
    assert sink.text == "first, then True"


class Listener(BaseCallbackHandler):
    """Hears what LangChain tells."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_chat_model_start(self, _: Any, messages: Any, **__: Any) -> None:
        self.heard.append(str(messages))

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.heard.append(str(token))


async def test_callbacks_around_the_caller_hear_nothing_and_those_on_the_model_do() -> None:
    around, own = Listener(), Listener()
    model = Chunks(answer=pieces("secret"), callbacks=[own])

    async def step(_: object) -> str:
        return (await ask(model)).sink.text

    assert await RunnableLambda(step).ainvoke("x", {"callbacks": [around]}) == "secret"
    assert around.heard == []
    assert "secret" in own.heard


class _Posts(BaseHTTPRequestHandler):
    posts: list[bytes]

    def do_POST(self) -> None:
        self.posts.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(202)
        self.end_headers()

    do_PATCH = do_POST  # noqa: N815 - the server's word

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


TRACED = """
import anyio, sys, time
from chat_models import Chunks
from langchain_core.messages import AIMessageChunk
from langchain_core.tracers.langchain import wait_for_all_tracers
from chat_model_calls import ASKED, Taken
from langchain_sandbox.chat_model.caller import ChatModelCaller
from langchain_sandbox.config import Limits
from langchain_sandbox.gateway.call import ModelCall
model = Chunks(answer=lambda _: iter([AIMessageChunk("said-by-the-model")]))
sink = Taken()
anyio.run(ChatModelCaller(model, Limits()).call, ASKED, ModelCall(index=0, started=0), sink)
assert sink.text == "said-by-the-model"
if "directly" in sys.argv:
    list(model.stream("Fix it."))
wait_for_all_tracers()
"""


@pytest.mark.parametrize("directly", [False, True])
def test_a_tracer_that_the_environment_asks_for_gets_nothing(directly: bool) -> None:  # noqa: FBT001 - two cases
    posts: list[bytes] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Posts", (_Posts,), {"posts": posts}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ = {
        "PYTHONPATH": ":".join(sys.path),
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "LANGSMITH_API_KEY": "x",
    }
    try:
        command = [sys.executable, "-c", TRACED, *(["directly"] if directly else [])]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    # The second case shows that the tracer would have told.
    assert bool(posts) == directly


def test_a_model_that_hangs_for_ever_does_not_keep_the_process_from_ending() -> None:
    program = (
        "import anyio; from chat_model_calls import *; from chat_models import Whole, hang\n"
        "from langchain_sandbox.gateway.call import CallError\n"
        "try: anyio.run(lambda: ask(Whole(answer=lambda _: hang()), limits=Limits(first_byte=0.2)))\n"
        "except CallError as error: print(error.code)\n"
    )
    environ = {"PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "model_timeout"


async def test_a_model_gets_its_own_messages_back_as_they_were() -> None:
    said = call_tool("bash", command="ls")
    said.additional_kwargs["signature"] = "c2ln"
    model = Whole(answer=lambda _: said)
    caller = ChatModelCaller(model, Limits())
    await caller.call(ASKED, new_call(), Taken())

    async def go_on(call_id: str, command: str) -> AIMessage:
        call = {"id": call_id, "function": {"name": "bash", "arguments": json.dumps({"command": command})}}
        history = [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": "x"},
        ]
        body = ASKED | {"messages": [*ASKED["messages"], *history]}
        await caller.call(body, new_call(), Taken())
        return model._asked[-1]["messages"][1]

    assert (await go_on("call-1", "ls")).additional_kwargs == {"signature": "c2ln"}
    # What only looks like it is taken for what it says.
    assert (await go_on("call-1", "rm")).tool_calls[0]["args"] == {"command": "rm"}
    assert (await go_on("call-2", "ls")).additional_kwargs == {}
