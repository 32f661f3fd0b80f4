"""The scripted model is a real server, so it is asked over real HTTP, in every way that it can fail."""

import gc
import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.testing import Fault, ScriptedModel, Turn

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]
TITLE = [{"role": "system", "content": "You are a title generator. You output ONLY a title."}, *HELLO]
WRITE: Turn = {
    "text": ["I will ", "write."],
    "tool_calls": [
        {"name": "write", "arguments": {"filePath": "a.txt", "content": "ä"}},
        {"name": "bash", "arguments": '{"command": ', "id": "mine"},
    ],
}


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    # Loading the certificates of the real world takes longer than most of these tests.
    with httpx.Client(timeout=5, verify=False, trust_env=False) as client:
        yield client


def ask(http: httpx.Client, model: ScriptedModel, messages: object = HELLO, **body: object) -> httpx.Response:
    return http.post(f"{model.endpoint.base_url}/chat/completions", json={"messages": messages, **body})


def said(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def data_lines(response: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def test_whole_answer(http: httpx.Client) -> None:
    with ScriptedModel([WRITE, {"text": "Done", "reasoning": "Hm."}]) as model:
        answer = ask(http, model).json()
        second = ask(http, model).json()
    choice = answer["choices"][0]
    assert (answer["object"], answer["model"]) == ("chat.completion", "scripted-model")
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "I will write."
    write, bash = choice["message"]["tool_calls"]
    assert (write["id"], write["type"], write["function"]["name"]) == ("call_1_0", "function", "write")
    assert json.loads(write["function"]["arguments"]) == {"filePath": "a.txt", "content": "ä"}
    assert (bash["id"], bash["function"]["arguments"]) == ("mine", '{"command": ')
    assert answer["usage"]["prompt_tokens"] > 0
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert second["choices"][0]["finish_reason"] == "stop"
    assert second["choices"][0]["message"]["reasoning_content"] == "Hm."


def test_streamed_answer(http: httpx.Client) -> None:
    turn: Turn = {**WRITE, "reasoning": "Hm.", "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    with ScriptedModel([turn]) as model:
        response = ask(http, model, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *lines, done = data_lines(response)
    *chunks, finish, usage = map(json.loads, lines)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[:4] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm."},
        {"content": "I will "},
        {"content": "write."},
    ]
    calls: dict[int, dict[str, str]] = {}
    for call in (delta["tool_calls"][0] for delta in deltas[4:]):
        known = calls.setdefault(call["index"], {"arguments": "", "pieces": ""})
        known |= {key: call[key] for key in ("id", "type") if key in call}
        known |= {"name": call["function"]["name"]} if "name" in call["function"] else {}
        known["arguments"] += call["function"]["arguments"]
        known["pieces"] += "x" if call["function"]["arguments"] else ""
    assert calls[0].items() >= {"id": "call_1_0", "type": "function", "name": "write", "pieces": "xx"}.items()
    assert json.loads(calls[0]["arguments"]) == {"filePath": "a.txt", "content": "ä"}
    assert calls[1].items() >= {"id": "mine", "name": "bash", "arguments": '{"command": '}.items()
    assert finish["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "tool_calls",
    }
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert done == "[DONE]"


def test_stream_without_usage_and_with_a_finish_reason_of_ones_own(http: httpx.Client) -> None:
    with ScriptedModel([{"text": "Cut sh", "finish_reason": "length"}]) as model:
        *lines, done = data_lines(ask(http, model, stream=True))
    assert [json.loads(line)["choices"][0]["finish_reason"] for line in lines] == [None, None, "length"]
    assert done == "[DONE]"


def test_pieces_arrive_one_by_one_and_delays_are_kept(http: httpx.Client) -> None:
    with ScriptedModel([{"text": ["a", "b"], "delay": 0.1, "chunk_delay": 0.05}]) as model:
        url, body = f"{model.endpoint.base_url}/chat/completions", {"messages": HELLO, "stream": True}
        start = time.monotonic()
        with http.stream("POST", url, json=body) as response:
            headers_after = time.monotonic() - start
            arrivals = [time.monotonic() - start for _ in response.iter_raw()]
    assert headers_after >= 0.1
    assert arrivals[-1] >= 0.1 + 3 * 0.05
    assert len(arrivals) >= 3


def test_requests_are_recorded_as_a_snapshot(http: httpx.Client) -> None:
    with ScriptedModel([{"text": "1"}, {"text": "2"}]) as model:
        before = time.monotonic()
        http.post(f"{model.endpoint.base_url}/chat/completions?x=1", json={"messages": HELLO}, headers={"X-A": "b"})
        early = model.requests
        ask(http, model, temperature=0)
        http.get(f"{model.endpoint.base_url}/models")
    assert len(early) == 1
    first, second = model.requests
    assert (first.path, first.headers["x-a"], first.messages) == (CHAT, "b", HELLO)
    assert second.body == {"messages": HELLO, "temperature": 0}
    assert before <= first.received_at <= second.received_at <= time.monotonic()


def test_models(http: httpx.Client) -> None:
    with ScriptedModel([], name="qwen", context_length=4096, fault="http_500") as model:
        answer = http.get(f"{model.endpoint.base_url}/models").json()
    assert answer["object"] == "list"
    (served,) = answer["data"]
    assert served.pop("created") > 0
    assert served == {
        "id": "qwen",
        "object": "model",
        "owned_by": "vllm",
        "root": "qwen",
        "parent": None,
        "max_model_len": 4096,
    }


def test_endpoint(http: httpx.Client) -> None:
    with ScriptedModel([{"text": "Hi"}], name="qwen", api_key="k") as model:
        endpoint = model.endpoint
        assert (endpoint.name, endpoint.api_key) == ("qwen", "k")
        assert httpx.URL(endpoint.base_url).path == "/v1"
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            for method, path in (("GET", "/models"), ("POST", "/chat/completions")):
                response = http.request(method, endpoint.base_url + path, headers=headers)
                assert response.status_code == 401
                assert response.json()["error"]["code"] == 401
        assert model.requests == []
        http.headers["Authorization"] = "Bearer k"
        assert said(ask(http, model)) == "Hi"
    assert model.endpoint == endpoint


@pytest.mark.parametrize(
    ("method", "path"), [("GET", CHAT), ("POST", "/v1/models"), ("POST", "/v1/completions"), ("PUT", CHAT)]
)
def test_anything_else_is_not_found(http: httpx.Client, method: str, path: str) -> None:
    with ScriptedModel([]) as model:
        response = http.request(method, str(httpx.URL(model.endpoint.base_url).join(path)), json={})
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "NotFoundError"
        assert http.head(f"{model.endpoint.base_url}/models").status_code == 404


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"messages": null}', b'{"messages": [1]}'])
def test_a_body_that_is_no_chat_request(http: httpx.Client, content: bytes) -> None:
    with ScriptedModel([]) as model:
        response = http.post(f"{model.endpoint.base_url}/chat/completions", content=content)
        assert response.status_code == 400
        assert "not a chat request" in response.json()["error"]["message"]
        assert model.requests == []


def test_large_bodies_with_a_length_and_in_chunks(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "x" * 8 * 1024 * 1024}]
    content = json.dumps({"messages": messages}).encode()
    with ScriptedModel(lambda messages: {"text": str(len(messages[0]["content"]))}) as model:
        assert said(ask(http, model, messages)) == "8388608"
        pieces = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
        assert said(http.post(f"{model.endpoint.base_url}/chat/completions", content=pieces)) == "8388608"


def test_garbage_is_answered_in_json_too() -> None:
    with ScriptedModel([]) as model:
        for sent in (b"no http\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
            with socket.create_connection(address(model), timeout=5) as client:
                client.sendall(sent)
                answer = client.makefile("rb").read()
            assert b" 400 " in answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == 400


def test_title_prompts_take_no_turn(http: httpx.Client) -> None:
    parts = [{"role": "system", "content": [{"type": "text", "text": TITLE[0]["content"]}]}]
    with ScriptedModel([{"text": "The turn"}]) as model:
        assert said(ask(http, model, TITLE)) == said(ask(http, model, parts)) == "Scripted title"
        assert "Scripted title" in ask(http, model, TITLE, stream=True).text
        assert model.requests == []
        quoted = [{"role": "user", "content": "You are a title generator"}]
        assert said(ask(http, model, quoted)) == "The turn"
    with ScriptedModel([], fault="http_500") as model:
        assert ask(http, model, TITLE).status_code == 500


def test_exhausted_script_says_so(http: httpx.Client) -> None:
    with ScriptedModel([{"text": "Only"}]) as model:
        ask(http, model)
        response = ask(http, model)
    assert response.status_code == 400
    assert "script of 1 turns is used up" in response.json()["error"]["message"]
    assert len(model.requests) == 2
    assert [type(error) for error in model.errors] == [SandboxConfigError]


def test_function_script(http: httpx.Client) -> None:
    def script(messages: list[dict[str, Any]]) -> Turn:
        messages[0]["content"] += "!"
        return {"text": f"{messages[0]['content']} {len(model.requests)}"}

    with ScriptedModel(script) as model:
        assert said(ask(http, model)) == "Hello! 1"
        assert said(ask(http, model)) == "Hello! 2"
    assert model.requests[0].messages == HELLO
    assert model.errors == []


def test_function_script_that_fails(http: httpx.Client) -> None:
    wrong: list[Any] = [{"txt": "typo"}, None]

    def script(messages: list[dict[str, Any]]) -> Turn:
        if messages == HELLO:
            msg = "no idea"
            raise ValueError(msg)
        turn: Turn = wrong.pop(0)
        return turn

    def failing(_: object) -> Turn:
        pytest.fail("not what I expected")

    with ScriptedModel(script) as model:
        answers = [ask(http, model), ask(http, model, []), ask(http, model, [])]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert "ValueError: no idea" in answers[0].text
    assert "'txt'" in answers[1].text
    assert [type(error) for error in model.errors] == [ValueError, SandboxConfigError, SandboxConfigError]
    with ScriptedModel(failing) as model:
        assert "not what I expected" in ask(http, model).text
    assert len(model.errors) == 1


@pytest.mark.parametrize(
    "turn",
    [
        "Done",
        {"txt": "typo"},
        {"text": 1},
        {"text": ["a", 1]},
        {"fault": "boom"},
        {"delay": -1},
        {"chunk_delay": "1"},
        {"usage": {"prompt_tokens": 1}},
        {"tool_calls": ["write"]},
        {"tool_calls": [{"name": "write"}]},
        {"tool_calls": [{"name": "write", "arguments": None}]},
        {"tool_calls": [{"name": "write", "arguments": {"path": Path()}}]},
    ],
)
def test_a_turn_that_cannot_be_played_is_refused_at_once(turn: object) -> None:
    with pytest.raises(SandboxConfigError):
        ScriptedModel([cast("Turn", turn)])


def test_other_mistakes_are_refused_at_once() -> None:
    with pytest.raises(SandboxConfigError, match="sequence of turns"):
        ScriptedModel(cast("list[Turn]", 5))
    with pytest.raises(SandboxConfigError, match="hang_mid_stream"):
        ScriptedModel([], fault=cast("Fault", "boom"))


def test_parallel_requests_get_one_turn_each() -> None:
    turns: list[Turn] = [{"text": str(number), "delay": 0.02} for number in range(40)]

    with ScriptedModel(turns) as model, ThreadPoolExecutor(20) as pool, httpx.Client(trust_env=False) as http:
        answers = list(pool.map(lambda n: (n, said(ask(http, model, user=str(n)))), range(40)))
    assert sorted(int(answer) for _, answer in answers) == list(range(40))
    # The record has the requests in the order of their turns.
    for asked, answer in answers:
        assert model.requests[int(answer)].body["user"] == str(asked)


# --- faults: of one turn, and of the whole server ---------------------------------------------------------

SCOPES = pytest.mark.parametrize("scope", ["turn", "server"])
MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def faulty(fault: Fault, scope: str) -> ScriptedModel:
    if scope == "server":
        return ScriptedModel([{"text": "Never"}], fault=fault, context_length=1000)
    return ScriptedModel([{"text": "Some text", "fault": fault}, {"text": "Next"}], context_length=1000)


def check_next(http: httpx.Client, model: ScriptedModel, scope: str) -> None:
    # A turn with a fault is used up, so the next one answers; a broken server stays broken.
    assert len(model.requests) == 1
    if scope == "turn":
        assert said(ask(http, model)) == "Next"


@SCOPES
@MODES
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("http_500", (500, "InternalServerError", "Internal")),
        ("http_429", (429, "RateLimitError", "Too many requests")),
        ("unauthorized", (401, "AuthenticationError", "Unauthorized")),
        (
            "context_length",
            (
                400,
                "BadRequestError",
                "This model's maximum context length is 1000 tokens. However, you requested",
            ),
        ),
    ],
)
def test_error_faults(
    http: httpx.Client, scope: str, fault: Fault, expected: tuple[int, str, str], *, stream: bool
) -> None:
    status, kind, words = expected
    with faulty(fault, scope) as model:
        response = ask(http, model, stream=stream, max_tokens=10)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["type"]) == (status, status, kind)
        assert error["message"].startswith(words)
        check_next(http, model, scope)


def test_refused_turn_is_a_reset(http: httpx.Client) -> None:
    with faulty("refused", "turn") as model:
        with socket.create_connection(address(model), timeout=5) as client:
            body = json.dumps({"messages": HELLO}).encode()
            client.sendall(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        check_next(http, model, "turn")


def test_refused_server_listens_nowhere_and_keeps_its_port(http: httpx.Client) -> None:
    with ScriptedModel([], fault="refused") as model:
        with pytest.raises(httpx.ConnectError):
            ask(http, model)
        with pytest.raises(httpx.ConnectError):
            http.get(f"{model.endpoint.base_url}/models")
        with (
            pytest.raises(OSError, match="in use"),
            ScriptedModel([], port=address(model)[1], fault="refused"),
        ):
            pass
        assert model.requests == []


@SCOPES
@MODES
def test_hang(http: httpx.Client, scope: str, *, stream: bool) -> None:
    with faulty("hang", scope) as model:
        with pytest.raises(httpx.ReadTimeout):
            http.post(
                f"{model.endpoint.base_url}/chat/completions",
                json={"messages": HELLO, "stream": stream},
                timeout=0.05,
            )
        check_next(http, model, scope)


@SCOPES
@MODES
def test_hang_mid_stream(http: httpx.Client, scope: str, *, stream: bool) -> None:
    got: list[bytes] = []
    with faulty("hang_mid_stream", scope) as model:
        url = f"{model.endpoint.base_url}/chat/completions"
        with (
            pytest.raises(httpx.ReadTimeout),
            http.stream("POST", url, json={"messages": HELLO, "stream": stream}, timeout=0.1) as response,
        ):
            got.extend(response.iter_raw())
        check_next(http, model, scope)
    assert response.status_code == 200
    if stream:
        (chunk,) = got
        assert json.loads(chunk.removeprefix(b"data: "))["choices"][0]["delta"]["role"] == "assistant"
    else:
        assert got[0].startswith(b'{"id": "chatcmpl-1"')


@SCOPES
@MODES
def test_error_mid_stream(http: httpx.Client, scope: str, *, stream: bool) -> None:
    with faulty("error_mid_stream", scope) as model:
        response = ask(http, model, stream=stream)
        assert response.status_code == (200 if stream else 500)
        if stream:
            first, second, third = data_lines(response)
            assert json.loads(first)["choices"][0]["delta"]["role"] == "assistant"
            assert third == "[DONE]"
        error = json.loads(second if stream else response.text)["error"]
        assert (error["code"], error["type"]) == (500, "InternalServerError")
        check_next(http, model, scope)


@SCOPES
@MODES
def test_cut(http: httpx.Client, scope: str, *, stream: bool) -> None:
    got: list[bytes] = []
    with faulty("cut", scope) as model:
        url = f"{model.endpoint.base_url}/chat/completions"
        with (
            pytest.raises(httpx.RemoteProtocolError, match="closed connection"),
            http.stream("POST", url, json={"messages": HELLO, "stream": stream}) as response,
        ):
            got.extend(response.iter_raw())
        check_next(http, model, scope)
    text = b"".join(got)
    assert text
    assert b"[DONE]" not in text
    assert b'"stop"' not in text
    if stream:
        assert (b"Some text" in text) == (scope == "turn")


@SCOPES
@MODES
def test_malformed(http: httpx.Client, scope: str, *, stream: bool) -> None:
    with faulty("malformed", scope) as model:
        response = ask(http, model, stream=stream)
        assert response.status_code == 200
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(data_lines(response)[1] if stream else response.text)
        check_next(http, model, scope)


# --- beginning and end ------------------------------------------------------------------------------------


def address(model: ScriptedModel) -> tuple[str, int]:
    url = httpx.URL(model.endpoint.base_url)
    assert url.port is not None
    return url.host, url.port


def test_start_and_close(http: httpx.Client) -> None:
    model = ScriptedModel([{"text": "Hi"}])
    model.close()
    with pytest.raises(RuntimeError, match="no address"):
        _ = model.endpoint
    assert model.start() is model
    with pytest.raises(RuntimeError, match="once"):
        model.start()
    assert said(ask(http, model)) == "Hi"
    model.close()
    model.close()
    with pytest.raises(httpx.TransportError):
        ask(http, model)
    assert len(model.requests) == 1


def test_a_port_that_is_taken() -> None:
    with ScriptedModel([]) as model, pytest.raises(OSError, match="in use"):
        ScriptedModel([], port=address(model)[1]).start()


def test_close_is_prompt_and_leaves_nothing() -> None:
    turns: list[Turn] = [
        {"fault": "hang"},
        {"fault": "hang_mid_stream"},
        {"delay": 60},
        {"text": ["a", "b"], "chunk_delay": 60},
        {"text": "An idle connection"},
        {"text": "y" * 20_000_000},  # nobody reads it, so that writing blocks
    ]
    threads, descriptors = set(threading.enumerate()), count_descriptors()
    body = json.dumps({"messages": HELLO, "stream": True}).encode()
    head = b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with ScriptedModel(turns) as model:
            clients = [socket.create_connection(address(model), timeout=5) for _ in range(8)]
            for client in clients[:6]:
                client.sendall(head + body)
            clients[6].sendall(head)  # its body never comes
            while len(model.requests) < 6:
                time.sleep(0.005)
            start = time.monotonic()
        took = time.monotonic() - start
        assert set(threading.enumerate()) <= threads
        for client in clients:
            client.close()
        del model
        gc.collect()
    assert took < 10  # and not the minute that one of them pauses
    assert count_descriptors() == descriptors


def count_descriptors() -> int:
    folder = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")
    return len(os.listdir(folder))  # noqa: PTH208 - a generator would count its own descriptor


def test_close_inside_a_script_function(http: httpx.Client) -> None:
    def script(_: object) -> Turn:
        model.close()
        return {"text": "Too late"}

    model = ScriptedModel(script).start()
    with pytest.raises(httpx.TransportError):
        ask(http, model)


def test_close_does_not_wait_for_a_script_function_that_blocks() -> None:
    entered, release = threading.Event(), threading.Event()

    def script(_: object) -> Turn:
        entered.set()
        release.wait(10)
        return {}

    with ThreadPoolExecutor(1) as pool, httpx.Client(trust_env=False) as http:
        with ScriptedModel(script) as model:
            asking = pool.submit(ask, http, model)
            assert entered.wait(5)
            start = time.monotonic()
        assert not release.is_set()
        assert time.monotonic() - start < 8  # the function would have held it up for ten
        assert isinstance(asking.exception(), httpx.TransportError)
        release.set()


def test_a_client_that_leaves_is_no_news(http: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    turns: list[Turn] = [{"text": ["x" * 100_000] * 50, "chunk_delay": 0.001}, {"text": "Next"}]
    with ScriptedModel(turns) as model:
        body = json.dumps({"messages": HELLO, "stream": True}).encode()
        with socket.create_connection(address(model), timeout=5) as client:
            client.sendall(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
            client.recv(100)
        with socket.create_connection(address(model), timeout=5) as client:
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.1)
        assert said(ask(http, model)) == "Next"
    assert capfd.readouterr() == ("", "")


# --- a real client ----------------------------------------------------------------------------------------


def test_langchain_openai_gets_tool_calls() -> None:
    openai = pytest.importorskip("langchain_openai")

    def write(file_path: str) -> str:
        """Write a file."""
        return file_path

    turn: Turn = {"text": "Sure.", "tool_calls": [{"name": "write", "arguments": {"file_path": "a.txt"}}]}
    with ScriptedModel([turn, turn, {"text": "Done"}], api_key="k") as model:
        chat = openai.ChatOpenAI(
            base_url=model.endpoint.base_url, api_key="k", model="m", max_retries=0, stream_usage=True
        )
        with_tools = chat.bind_tools([write])
        chunks = list(with_tools.stream("Write a.txt"))
        streamed = chunks[0]
        for chunk in chunks[1:]:
            streamed += chunk
        answers = [with_tools.invoke("Write a.txt"), streamed]
        done = chat.invoke("Hello")
    for answer in answers:
        assert answer.content == "Sure."
        assert answer.usage_metadata["input_tokens"] > 0
        (call,) = answer.tool_calls
        assert (call["name"], call["args"]) == ("write", {"file_path": "a.txt"})
    assert [bool(request.body.get("stream")) for request in model.requests] == [True, False, False]
    assert model.requests[0].body["tools"][0]["function"]["name"] == "write"
    assert (done.content, done.tool_calls) == ("Done", [])
