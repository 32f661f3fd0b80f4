"""The inner run in the caller's trace: what a tracer sees of it, and what LangSmith's client sends of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agents import answers, asked, call, calling_model, calls, tool_graph
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.types import Send, TracePolicy
from langsmith import tracing_context
from support import bash, make_repository, say
from tracing import LangSmithEndpoint, Tree, draw, walk

from langchain_sandbox import Sandbox, SandboxNode, SandboxState, SandboxTool
from langchain_sandbox.run_folder import state_folder
from langchain_sandbox.testing import ScriptedModel, Turn
from langchain_sandbox.trace import HIDDEN, hide_content

QUESTION = {"messages": [HumanMessage("Please have it looked at.")]}
TREE = [
    "run_in_sandbox (tool): ok",
    "  opencode (chat_model): ok",
    "  read (tool): ok",
    "  opencode (chat_model): ok",
    "  read (tool): error",
    "  opencode (chat_model): ok",
    "  bash (tool): ok",
    "  opencode (chat_model): ok",
]

# Each stands for a kind of content: a file, words in between, a tool's arguments, its output, the answer.
CANARIES = ["in-a-file", "in-the-words", "in-the-arguments", "in-the-output", "in-the-answer"]
PROMPT = "You are opencode"
TASK = "in-the-task"

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")


def read(path: str, text: str = "") -> Turn:
    return {"text": text, "tool_calls": [{"name": "read", "arguments": {"filePath": f"/run/ws/repo/{path}"}}]}


SCRIPT = [
    read("secret.txt"),
    read("in-the-arguments.txt", "in-the-words"),
    bash("echo in-the-out''put | tee -a secret.txt"),
    say("in-the-answer"),
]


@dataclass(kw_only=True)
class Told:
    """One agent's run, as it was told to everybody."""

    tree: Tree
    parts: list[Any]
    plain: LangSmithEndpoint
    hiding: LangSmithEndpoint
    events: str

    @property
    def tool(self) -> Any:
        return self.tree.find("run_in_sandbox")[0]

    @property
    def inner(self) -> list[Any]:
        return [run for run in walk(self.tool) if run is not self.tool]


def check_tree(tool: Any) -> None:
    """Tools are told by OpenCode and model calls by the gateway, so that milliseconds may change their places."""
    first, *lines = draw(tool).splitlines()
    assert [first, *sorted(lines)] == [TREE[0], *sorted(TREE[1:])]
    for name in ("opencode", "read", "bash"):
        assert [line for line in lines if name in line] == [line for line in TREE if name in line]


def run_agent(folder: Path, level: str) -> Iterator[Told]:
    repository = make_repository(folder / "repository", {"secret.txt": "in-a-file\n"})
    with (
        LangSmithEndpoint() as plain,
        LangSmithEndpoint() as hiding,
        ScriptedModel(SCRIPT) as inner,
        calling_model(calls(call("run_in_sandbox", task=TASK)), say("It is done.")) as chat,
    ):
        sandbox = Sandbox(model=inner.endpoint, workspace=repository, trace=level)
        agent = create_agent(chat, tools=[SandboxTool(sandbox=sandbox)])
        tree, tracers = Tree(), [plain.tracer(), hiding.tracer(hide_content)]
        config = {"callbacks": [tree, *tracers]}
        if level == "full":
            parts = asyncio.run(collect(agent.astream_events(QUESTION, config, version="v2")))
        else:
            parts = list(agent.stream(QUESTION, config, stream_mode=["messages", "tools"]))
        for tracer in tracers:
            tracer.client.flush()
        kept = "".join(path.read_text() for path in (state_folder() / "runs").glob("*/events.jsonl"))
        yield Told(tree=tree, parts=parts, plain=plain, hiding=hiding, events=kept)


async def collect(stream: Any) -> list[Any]:
    with blockbuster_ctx("langchain_sandbox"):
        return [part async for part in stream]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yield from run_agent(tmp_path_factory.mktemp("metadata"), "metadata")


@pytest.fixture(scope="module")
def told_in_full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yield from run_agent(tmp_path_factory.mktemp("full"), "full")


def test_the_tree(told: Told) -> None:
    check_tree(told.tool)
    assert [run.parent_run_id for run in told.tool.child_runs] == [told.tool.id] * 7


def test_a_model_call_has_its_tokens_its_times_and_its_ending(told: Told) -> None:
    first, *_, last = [run for run in told.inner if run.name == "opencode"]
    metadata = first.extra["metadata"]
    assert (metadata["ls_provider"], metadata["ls_model_name"]) == ("openai_compatible", "scripted-model")
    assert metadata["sandbox_index"] == 0
    assert metadata["sandbox_messages"] > 1
    assert metadata["langgraph_node"] == "tools"
    assert set(first.tags) >= {"nostream", "langchain-sandbox"}
    (generation,) = last.outputs["generations"][0]
    message = generation["message"]["kwargs"]
    assert message["usage_metadata"]["input_tokens"] > 1000
    facts = message["response_metadata"]
    assert (facts["status"], facts["finish_reason"], facts["model_name"]) == (200, "stop", "scripted-model")
    assert 0 < facts["first_byte"] <= facts["duration"]
    assert last.start_time < last.end_time


def test_by_default_no_content_is_in_the_child_runs(told: Told) -> None:
    held = "\n".join(f"{run.inputs}{run.outputs}{run.error}{run.extra}{run.events}{run.tags}" for run in told.inner)
    assert "tool_calls" in held
    assert not [canary for canary in [*CANARIES, PROMPT, TASK, "secret.txt", "echo"] if canary in held]


def test_langsmith_gets_no_content_of_the_child_runs(told: Told) -> None:
    sent = told.plain.of(told.inner)
    assert sent.count("scripted-model") > 4
    assert not [canary for canary in [*CANARIES, PROMPT, TASK, "secret.txt", "echo"] if canary in sent]


def test_the_callers_own_runs_hold_what_came_back(told: Told) -> None:
    """LangChain sends what goes into a tool and what comes out of it, and what a model is then told of it."""
    sent = told.plain.of([told.tool])
    assert TASK in sent
    assert [canary for canary in CANARIES if canary in sent] == CANARIES
    assert PROMPT not in told.plain.sent


def test_what_came_back_can_be_hidden(told: Told) -> None:
    assert HIDDEN in told.hiding.sent
    assert not [canary for canary in [*CANARIES, PROMPT, "secret.txt"] if canary in told.hiding.sent]
    assert TASK in told.hiding.of([told.tool])  # it is the calling model's word, not the run's


def test_the_graphs_own_streams_know_nothing_of_the_child_runs(told: Told) -> None:
    tools = [payload for mode, payload in told.parts if mode == "tools"]
    assert [payload["tool_name"] for payload in tools if payload["event"] == "tool-started"] == ["run_in_sandbox"]
    assert {payload["tool_call_id"] for payload in tools} == {"call-1"}
    said = [message for mode, (message, _) in [part for part in told.parts if part[0] == "messages"]]
    assert {message.name for message in said if message.type == "tool"} == {"run_in_sandbox"}
    assert "".join(message.text for message in said if message.type != "tool") == "It is done."


def test_in_full_the_trace_holds_what_was_said(told_in_full: Told) -> None:
    check_tree(told_in_full.tool)
    sent = told_in_full.plain.of(told_in_full.inner)
    assert [canary for canary in [*CANARIES, PROMPT, TASK] if canary in sent] == [*CANARIES, PROMPT, TASK]
    models = [run for run in told_in_full.inner if run.name == "opencode"]
    roles = [message["kwargs"]["type"] for message in models[1].inputs["messages"][0]]
    assert roles == ["system", "human", "ai", "tool"]
    (called,) = models[0].outputs["generations"][0][0]["message"]["kwargs"]["tool_calls"]
    assert (called["name"], called["args"]) == ("read", {"filePath": "/run/ws/repo/secret.txt"})
    failed = [run for run in told_in_full.inner if run.error]
    assert "in-the-arguments.txt" in failed[0].error


def test_what_was_said_to_the_model_never_enters_the_kept_events(told_in_full: Told) -> None:
    assert "model_call_started" in told_in_full.events
    assert PROMPT not in told_in_full.events


def test_astream_events_has_the_child_runs(told_in_full: Told) -> None:
    kinds = [(part["event"], part["name"]) for part in told_in_full.parts]
    assert kinds.count(("on_chat_model_start", "opencode")) == kinds.count(("on_chat_model_end", "opencode")) == 4
    assert kinds.count(("on_tool_error", "read")) == 1
    assert kinds.count(("on_tool_end", "run_in_sandbox")) == 1


class Echo:
    """A model that says the last line of its task: runs side by side can be told apart."""

    def __call__(self, messages: list[dict]) -> Turn:
        if messages[-1]["role"] == "tool":
            return say()
        asked = [message for message in messages if message["role"] == "user"][-1]["content"]
        words = asked if isinstance(asked, str) else "".join(block["text"] for block in asked)
        return bash(f"echo {words.split()[-1]}")


class Broken(BaseCallbackHandler):
    """Fails at whatever it is told, and wants that to be noticed."""

    raise_error = True

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        msg = "broken"
        raise RuntimeError(msg)

    on_llm_end = on_tool_end = on_chat_model_start


def test_calls_side_by_side_have_each_their_own_children(repository: Path) -> None:
    names = ["one", "two", "three"]
    made = [call("run_in_sandbox", call_id=name, task=f"Say {name}") for name in names]
    with ScriptedModel(Echo()) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository, trace="full"))
        tree = Tree()
        state = asyncio.run(tool_graph([tool]).ainvoke(asked(*made), {"callbacks": [tree]}))
    assert {message.status for message in answers(state).values()} == {"success"}
    found = tree.find("run_in_sandbox")
    assert len(found) == len(names)
    for run in found:
        assert sorted(child.name for child in run.child_runs) == ["bash", "opencode", "opencode"]
        (name,) = [name for name in names if name in str(run.inputs)]
        (used,) = [child for child in run.child_runs if child.name == "bash"]
        assert f"echo {name}" in str(used.inputs)
        assert len({child.extra["metadata"]["sandbox_run_id"] for child in run.child_runs}) == 1


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_node_that_no_graph_calls_is_a_run_of_its_own(repository: Path, awaited: bool) -> None:  # noqa: FBT001 - the two ways
    tree = Tree()
    with ScriptedModel([say()]) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository), name="mend")
        config: Any = {"callbacks": [tree]}
        given = {"sandbox_task": "Look."}
        told = asyncio.run(node.ainvoke(given, config)) if awaited else node.invoke(given, config)
    assert told["sandbox_results"][0]["status"] == "completed"
    assert [draw(root) for root in tree.roots] == ["mend (chain): ok\n  opencode (chat_model): ok"]


def test_nodes_under_send_have_each_their_own_children(repository: Path) -> None:
    class State(TypedDict):
        sandbox_results: Annotated[list, add]

    with ScriptedModel(Echo()) as model:
        graph = StateGraph(State)
        graph.add_node("sandbox", SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository)))
        graph.add_conditional_edges(
            START, lambda _: [Send("sandbox", {"sandbox_task": f"Say {name}"}) for name in ("one", "two")], ["sandbox"]
        )
        tree = Tree()
        state = graph.compile().invoke({"sandbox_results": []}, {"callbacks": [tree]})
    assert [result["status"] for result in state["sandbox_results"]] == ["completed"] * 2
    runs = {result["run_id"] for result in state["sandbox_results"]}
    nodes = [run for run in tree.find("sandbox") if run.child_runs]
    traced = [{child.extra["metadata"]["sandbox_run_id"] for child in node.child_runs} for node in nodes]
    assert sorted(map(sorted, traced)) == sorted([run] for run in runs)
    assert [draw(node).count("ok") for node in nodes] == [4, 4]


def test_a_handler_that_raises_ends_nothing_and_a_policy_hides_what_a_node_gives_back(repository: Path) -> None:
    with ScriptedModel(Echo()) as model, LangSmithEndpoint() as endpoint:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        graph = StateGraph(SandboxState)
        graph.add_node("sandbox", node, trace_policy=TracePolicy(process_outputs=hide_content))
        graph.add_edge(START, "sandbox")
        tree, tracer = Tree(), endpoint.tracer()
        config = {"callbacks": [tree, tracer, Broken()]}
        state = graph.compile().invoke({"sandbox_task": "Say one"}, config)
        tracer.client.flush()
        (run,) = tree.find("sandbox")
        sent = endpoint.of([run])
        assert state["sandbox_results"][0]["ok"]
        assert [child.name for child in run.child_runs].count("opencode") == 2
        assert HIDDEN in sent
        assert "Done." not in sent
        assert "Done." in endpoint.of(tree.roots)  # the graph's own run has the state still


def test_cancelling_ends_what_is_open_in_the_trace(repository: Path) -> None:
    class Canceller(BaseCallbackHandler):
        def on_tool_start(self, serialized: dict, *_: Any, **__: Any) -> None:
            if serialized["name"] == "bash":
                loop.call_soon_threadsafe(task.cancel)

    async def scenario() -> None:
        nonlocal loop, task
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(tool.ainvoke({"task": "Wait."}, {"callbacks": [tree, Canceller()]}))
        with pytest.raises(asyncio.CancelledError):
            await task

    loop: Any = None
    task: Any = None
    tree = Tree()
    with ScriptedModel([bash("sleep 60")]) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        asyncio.run(scenario())
    (run,) = tree.find("run_in_sandbox")
    (waiting,) = [child for child in run.child_runs if child.name == "bash"]
    assert waiting.error.startswith("CancelledError")
    assert "unfinished" not in draw(run)


def test_an_interrupt_ends_what_is_open_in_a_trace_that_no_callback_asks_for(repository: Path) -> None:
    """LangSmith's own context does, as its environment variables do."""

    def interrupt(event: Any) -> None:
        if event.type == "tool_ended":
            raise KeyboardInterrupt

    tree = Tree()
    with ScriptedModel([bash("true"), {"fault": "hang"}]) as model, LangSmithEndpoint() as endpoint:
        client = endpoint.tracer().client
        sandbox = Sandbox(model=model.endpoint, workspace=repository, on_event=interrupt)
        with tracing_context(enabled=True, client=client), pytest.raises(KeyboardInterrupt):
            SandboxTool(sandbox=sandbox).invoke({"task": "Wait."}, {"callbacks": [tree]})
        client.flush()
        told = endpoint.of(tree.find("run_in_sandbox")[0].child_runs)
    (run,) = tree.find("run_in_sandbox")
    errors = [child.error for child in run.child_runs if child.error]
    assert errors
    assert all(error.startswith("KeyboardInterrupt") for error in errors)
    assert "KeyboardInterrupt" in told
    assert "unfinished" not in draw(run)


def test_a_chat_model_inside_is_traced_under_its_providers_name(repository: Path) -> None:
    tree = Tree()
    with ScriptedModel(Echo()) as model:
        chat = ChatOpenAI(model="scripted-model", base_url=model.endpoint.base_url, api_key="none", max_retries=0)
        sandbox = Sandbox(model=chat, workspace=repository, allow_remote_model=True, trace="full")
        SandboxTool(sandbox=sandbox).invoke({"task": "Say one"}, {"callbacks": [tree]})
    first, last = tree.find("opencode")
    assert first.extra["metadata"]["ls_provider"] == "openai"
    (called,) = first.outputs["generations"][0][0]["message"]["kwargs"]["tool_calls"]
    assert called["args"]["command"] == "echo one"
    assert last.outputs["generations"][0][0]["text"] == "Done."
    assert not tree.find("ChatOpenAI")
