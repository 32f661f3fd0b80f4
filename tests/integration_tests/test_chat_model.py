"""Any LangChain chat model inside: whole runs, with a real integration and with models of one's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_models import Chunks, Whole, call_tool, hang, play
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel
from support import bash, make_repository, say, told

from langchain_sandbox import Limits, Sandbox, SandboxResult
from langchain_sandbox.testing import ScriptedModel, Turn

KEY = "sk-s3cr3t-key"
FILES = {"calc.py": "def add(a, b):\n    return a - b\n"}
FIX = {"filePath": "/run/ws/repo/calc.py", "oldString": "a - b", "newString": "a + b"}
TRY = "python3 -c 'import calc; print(calc.add(1, 2))'"
# The letter in brackets keeps the command itself from being found.
SEARCH = "env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; grep -rsl 's3cr3[t]-key' /home /run /tmp; true"


class Count(BaseModel):
    numbers: list[int]


def edit() -> Turn:
    return {"text": "I mend it.", "tool_calls": [{"name": "edit", "arguments": FIX}]}


def read() -> Turn:
    return {"text": "", "tool_calls": [{"name": "read", "arguments": {"filePath": FIX["filePath"]}}]}


def open_sandbox(model: Any, workspace: Path | None = None, **options: Any) -> Sandbox:
    return Sandbox(model=model, workspace=workspace, allow_remote_model=True, **options)


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[SandboxResult, ScriptedModel]:
    """A whole run with `langchain-openai`, streaming."""
    repository = make_repository(tmp_path_factory.mktemp("chat") / "repository", FILES)
    with ScriptedModel([read(), edit(), bash(TRY), bash(SEARCH), say("Fixed.")], api_key=KEY) as model:
        chat = ChatOpenAI(
            model="scripted-model", base_url=model.endpoint.base_url, api_key=KEY, stream_usage=True, max_retries=0
        )
        result = open_sandbox(chat, repository).run("Fix add.")
    return result, model


def test_a_real_integration_drives_a_whole_run_with_tools(one_run: tuple[SandboxResult, ScriptedModel]) -> None:
    result, model = one_run
    assert (result.status, result.ending.code) == ("completed", "completed")
    assert result.text == "Fixed."
    assert "+    return a + b" in result.patch
    assert told(model)[2].strip() == "3"
    assert all(request.body["stream"] for request in model.requests)
    assert "max_tokens" not in model.requests[0].body


def test_calls_and_tokens_are_counted_as_a_servers(one_run: tuple[SandboxResult, ScriptedModel]) -> None:
    result, _ = one_run
    assert result.usage.model_calls == 5
    assert result.usage.prompt_tokens > 1000
    assert result.usage.completion_tokens > 0
    assert result.evidence.model_finish_reason == "stop"
    assert result.receipt.model == "scripted-model"


def test_the_models_key_is_not_in_the_container(one_run: tuple[SandboxResult, ScriptedModel]) -> None:
    result, model = one_run
    assert "HOME=" in told(model)[3]
    assert "s3cr3t" not in told(model)[3]
    assert KEY not in result.model_dump_json()


def test_a_model_that_does_not_stream_and_names_no_ids_drives_one_too(repository: Path) -> None:
    answers = [
        call_tool("read", None, filePath=FIX["filePath"]),
        call_tool("edit", None, **FIX),
        call_tool("bash", None, command=TRY, description="test"),
        AIMessage("Fixed."),
    ]
    result = open_sandbox(Whole(answer=play(*answers)), repository).run("Fix add.")
    assert (result.status, result.text) == ("completed", "Fixed.")
    assert [file.path for file in result.files] == ["calc.py"]
    assert result.usage.model_calls == 4


def test_claude_style_blocks_and_two_megabytes_come_out_right(repository: Path) -> None:
    content = "x" * 2_000_000

    def answer(messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        if any(isinstance(message, AIMessage) for message in messages):
            yield AIMessageChunk([{"type": "text", "text": content, "index": 0}])
            return
        yield AIMessageChunk([{"type": "thinking", "thinking": "Hm.", "index": 0}])
        yield AIMessageChunk([{"type": "text", "text": "I write.", "index": 1}])
        for name, args, call_id in [("write", "", "toolu_1"), (None, '{"filePath": "/run/ws/repo/big.txt", ', None)]:
            yield AIMessageChunk([], tool_call_chunks=[{"name": name, "args": args, "id": call_id, "index": 2}])
        yield AIMessageChunk(
            [], tool_call_chunks=[{"name": None, "args": f'"content": "{content}"}}', "id": None, "index": 2}]
        )
        yield AIMessageChunk([], response_metadata={"stop_reason": "tool_use"})

    result = open_sandbox(Chunks(answer=answer), repository).run("Write.")
    assert result.ok, result.ending
    assert result.text is not None
    assert result.text.startswith("xxx")
    assert [(file.path, file.size) for file in result.files] == [("big.txt", len(content))]


def test_a_typed_answer_is_given_by_a_tool(repository: Path) -> None:
    model = Whole(answer=play(call_tool("StructuredOutput", numbers=[1, 2])))
    result = open_sandbox(model, repository).run("Count.", output=Count)
    assert result.ok, result.ending
    assert result.structured == Count(numbers=[1, 2])
    assert model._asked[0]["tool_choice"] == "any"


def raise_it(error: Exception) -> Any:
    def answer(_: object) -> AIMessage:
        raise error

    return answer


FAULTS = [
    (raise_it(LookupError(f"no use for {KEY}")), "model_error", "model_exception"),
    (raise_it(ConnectionRefusedError(111, "refused")), "model_unreachable", "model_unreachable"),
    (raise_it(ContextOverflowError("too long")), "context_overflow", None),
    (lambda _: hang(), "model_error", "model_timeout"),
]


@pytest.mark.parametrize(("answer", "status", "code"), FAULTS, ids=["raises", "unreachable", "overflow", "hangs"])
def test_a_model_that_fails_ends_the_run_with_a_code_of_its_own(
    repository: Path, answer: Any, status: str, code: str | None
) -> None:
    result = open_sandbox(Whole(answer=answer), repository, limits=Limits(first_byte=3)).run("Work.")
    assert result.status == status, result.ending
    assert code in {None, result.ending.code}
    assert result.ending.message
    assert result.ending.hint
    assert "s3cr3t" not in result.model_dump_json()
    assert result.evidence.cleanup_confirmed


def test_a_conversation_that_is_too_long_is_summed_up_and_goes_on(repository: Path) -> None:
    raised: list[int] = []

    def answer(messages: list[BaseMessage]) -> AIMessage:
        if len(messages) > 3 and not raised:
            raised.append(len(messages))
            raise ContextOverflowError
        return AIMessage("Done.") if raised else call_tool("bash", command="echo one", description="test")

    result = open_sandbox(Whole(answer=answer), repository).run("Work.")
    assert raised
    assert result.ok, result.ending


def test_a_run_is_cancelled_although_its_model_hangs(repository: Path) -> None:
    asked: list[float] = []

    def answer(_: object) -> AIMessage:
        asked.append(time.monotonic())
        return hang()

    with open_sandbox(Whole(answer=answer), repository).start("Work.") as handle:
        while not asked:
            time.sleep(0.05)
        handle.cancel()
        result = handle.result()
    assert result.status == "cancelled"
    assert result.evidence.cleanup_confirmed


def test_too_many_calls_and_tokens_end_the_run(repository: Path) -> None:
    usage = {"input_tokens": 900, "output_tokens": 200, "total_tokens": 1100}

    def answer(_: object) -> AIMessage:
        return call_tool("bash", command="echo again", description="test").model_copy(update={"usage_metadata": usage})

    result = open_sandbox(Whole(answer=answer), repository, limits=Limits(tokens=2000)).run("Never stop.")
    assert result.status == "budget_exceeded"
    assert result.usage.prompt_tokens == 1800


def test_several_at_once_share_one_model_and_a_graph_sees_none_of_their_words() -> None:
    def answer(messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        (task,) = [word for word in str(messages[1].content).split() if word.startswith("task-")]
        for letter in task:
            yield AIMessageChunk(letter)

    sandbox = open_sandbox(Chunks(answer=answer))
    results: list[SandboxResult] = []

    def work(_: MessagesState) -> dict[str, Any]:
        results.extend(sandbox.batch([f"Do task-{number} now" for number in range(5)]))
        return {"messages": [AIMessage("The node's own word.")]}

    graph = StateGraph(MessagesState).add_node("work", work).add_edge(START, "work").add_edge("work", END).compile()
    seen = [message.content for message, _ in graph.stream({"messages": []}, stream_mode="messages")]
    assert seen == ["The node's own word."]
    assert [(result.status, result.text) for result in results] == [("completed", f"task-{n}") for n in range(5)]
