"""Every way in which a model server fails ends the run in bounded time, with a result that tells which it was."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from support import bash, say

from langchain_sandbox import Limits, ModelEndpoint, Sandbox, SandboxConfigError
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path

    import docker

IMPATIENT = Limits(first_byte=3, idle=3)

# fault | status | code of the ending
FAULTS = [
    ("http_500", "model_error", "http_500"),
    ("http_429", "model_error", "http_429"),
    ("unauthorized", "model_error", "http_401"),
    ("hang", "model_error", "model_timeout"),
    ("hang_mid_stream", "model_error", "answer_stalled"),
    ("error_mid_stream", "model_error", "error_in_answer"),
    ("cut", "model_error", "answer_cut"),
    ("malformed", "model_error", "malformed_answer"),
    ("context_length", "context_overflow", None),
]


@pytest.mark.parametrize(("fault", "status", "code"), FAULTS, ids=[row[0] for row in FAULTS])
def test_a_model_that_fails_for_good(repository: Path, fault: str, status: str, code: str | None) -> None:
    with ScriptedModel([], fault=fault) as model:
        began = time.monotonic()
        result = Sandbox(model=model.endpoint, workspace=repository, limits=IMPATIENT).run("Work.", timeout=120)
        took = time.monotonic() - began
    assert result.status == status, result.ending
    assert code in {None, result.ending.code}
    assert result.ending.message
    assert result.ending.hint
    assert took < 45
    assert result.evidence.cleanup_confirmed
    assert result.usage.model_calls <= 5


@pytest.mark.parametrize("fault", ["http_500", "http_429", "refused"])
def test_a_passing_failure_is_tried_again_and_not_noticed(repository: Path, fault: str) -> None:
    with ScriptedModel([bash("echo one"), {"fault": fault}, say("Done.")]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Work.")
    assert result.ok, result.ending
    assert result.text == "Done."


def test_a_failure_in_the_middle_keeps_what_was_done(repository: Path) -> None:
    with ScriptedModel([bash("echo kept > kept.txt"), {"text": ["half an ", "answer"], "fault": "cut"}]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Work.")
    assert (result.status, result.ending.code) == ("model_error", "answer_cut")
    assert [file.path for file in result.files] == ["kept.txt"]


def test_a_model_that_goes_away_in_the_middle(repository: Path) -> None:
    with ScriptedModel([bash("sleep 2"), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        for event in (handle := sandbox.start("Work.")).events():
            if event.type == "tool_started":
                model.close()
        result = handle.result()
    assert (result.status, result.ending.code) == ("model_unreachable", "model_unreachable")


def test_a_server_that_is_down_costs_no_container(client: docker.DockerClient, repository: Path) -> None:
    since = int(time.time())
    with ScriptedModel([], fault="refused") as model:
        began = time.monotonic()
        result = Sandbox(model=model.endpoint, workspace=repository).run("Work.")
        took = time.monotonic() - began
    assert result.status == "model_unreachable"
    assert not result.ok
    assert "SANDBOX_MODEL_BASE_URL" in result.ending.hint
    assert took < 20
    assert _made(client, since, result.run_id) == []


def test_a_server_that_accepts_and_says_nothing_costs_no_container(client: docker.DockerClient) -> None:
    since = int(time.time())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        result = Sandbox(model=ModelEndpoint(f"http://127.0.0.1:{silent.getsockname()[1]}")).run("Work.")
        took = time.monotonic() - began
    assert result.status == "model_unreachable"
    assert took < 20
    assert _made(client, since, result.run_id) == []


def test_too_many_model_calls_end_the_run(repository: Path) -> None:
    with ScriptedModel(lambda _messages: bash("echo again")) as model:
        limits = Limits(model_calls=3)
        result = Sandbox(model=model.endpoint, workspace=repository, limits=limits).run("Never stop.")
        assert len(model.requests) == 3
    assert result.status == "budget_exceeded"
    assert "Limits.model_calls" in result.ending.message
    assert result.usage.model_calls == 3


def test_too_many_tokens_end_the_run(repository: Path) -> None:
    turn = bash("echo again") | {"usage": {"prompt_tokens": 900, "completion_tokens": 200}}
    with ScriptedModel(lambda _messages: turn) as model:
        result = Sandbox(model=model.endpoint, workspace=repository, limits=Limits(tokens=2000)).run("Never stop.")
    assert result.status == "budget_exceeded"
    assert "Limits.tokens" in result.ending.message
    assert result.usage.prompt_tokens == 1800


def test_an_answer_cut_at_its_length_is_not_success(repository: Path) -> None:
    with ScriptedModel([{"text": "I was just about to", "finish_reason": "length"}]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Work.")
    assert result.status == "incomplete"
    assert not result.ok


def test_a_script_that_is_used_up_says_so(repository: Path) -> None:
    with ScriptedModel([bash("echo one")]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Work.")
    assert result.status == "model_error"
    assert "script" in result.ending.message


def test_a_model_that_is_not_served_is_a_mistake_of_the_caller() -> None:
    with ScriptedModel([]) as model:
        sandbox = Sandbox(model=ModelEndpoint(model.endpoint.base_url, name="other"))
        with pytest.raises(SandboxConfigError, match=r"does not serve the model 'other'.*scripted-model"):
            sandbox.run("Work.")


def test_a_public_address_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(SandboxConfigError, match="allow_remote_model"):
        Sandbox(model=ModelEndpoint("http://8.8.8.8/v1")).run("Work.")


def test_requests_that_are_none_of_the_agents_business_are_refused(repository: Path) -> None:
    targets = ["/metrics", "//v1/models", "/v1/../metrics", "/v1/completions", "/v1/chat/completions?x=1"]
    program = (
        "import http.client\n"
        f"for target in {targets!r}:\n"
        "    connection = http.client.HTTPConnection('127.0.0.1', 4000)\n"
        "    connection.putrequest('GET', target)\n"
        "    connection.endheaders()\n"
        "    print(connection.getresponse().status)\n"
    )
    (repository / "ask.py").write_text(program)
    with (
        ScriptedModel([bash("python3 ask.py"), say()]) as model,
        Sandbox(model=model.endpoint, workspace=repository).start("Ask.") as handle,
    ):
        (output,) = [event.output for event in handle.events() if event.type == "tool_ended"]
        result = handle.result()
    assert output.split() == ["403"] * len(targets)
    assert result.evidence.refused_requests == [f"GET {target}" for target in targets]


def _made(client: docker.DockerClient, since: int, run_id: str) -> list[dict]:
    seen = client.api.events(since=since, until=int(time.time()) + 1, decode=True, filters={"event": "create"})
    return [event for event in seen if run_id in event["Actor"]["Attributes"].get("name", "")]
