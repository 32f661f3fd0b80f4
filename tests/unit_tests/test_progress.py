"""Events reach every way to watch a graph, from any thread; calls side by side do not mix, and watchers fail alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.errors import NodeTimeoutError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolCallTransformer, ToolNode, ToolRuntime
from langgraph.stream.transformers import CustomTransformer
from langgraph.types import TimeoutPolicy

from langchain_sandbox.events import TextEvent
from langchain_sandbox.progress import EVENT_NAME, Progress

CALLS = ("a", "b")
WORDS = ["one", "two", "three"]

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")


def event(run_id: str, word: str) -> TextEvent:
    return TextEvent(run_id=run_id, at=0.0, text=word)


def in_a_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call)  # bare: it inherits no context variable
    thread.start()
    thread.join()


def directly(call: Callable[[], None]) -> None:
    call()


def build_graph(how: Callable[[Callable[[], None]], None]) -> Any:
    """Two tool calls side by side; each says three words under its own name."""

    def speak(name: str, runtime: ToolRuntime, tool_call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Speak."""
        progress = Progress(tool_call_id=tool_call_id, runtime=runtime)
        for word in WORDS:
            how(lambda word=word: progress.emit(event(name, word)))
        return "spoken"

    async def aspeak(name: str, runtime: ToolRuntime, tool_call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Speak."""
        progress = Progress(tool_call_id=tool_call_id, runtime=runtime)
        for word in WORDS:
            if how is directly:
                await progress.aemit(event(name, word))
            else:
                await asyncio.to_thread(how, lambda word=word: progress.emit(event(name, word)))
        return "spoken"

    speak_tool = tool("speak")(speak)
    speak_tool.coroutine = aspeak
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([speak_tool]))
    graph.add_edge(START, "tools")
    return graph.compile()


def calls() -> dict:
    made = [{"name": "speak", "args": {"name": name}, "id": f"call-{name}", "type": "tool_call"} for name in CALLS]
    return {"messages": [AIMessage("", tool_calls=made)]}


def check(payloads: list[dict]) -> None:
    """Each call's events are all there, in their order, under its own ids."""
    for name in CALLS:
        mine = [payload["sandbox"] for payload in payloads if payload["tool_call_id"] == f"call-{name}"]
        assert mine == [{"type": "text", "run_id": name, "at": 0.0, "text": word} for word in WORDS]
    assert len(payloads) == len(CALLS) * len(WORDS)


def deltas(parts: list[dict]) -> list[dict]:
    found = [part for part in parts if part["event"] == "tool-output-delta"]
    return [{"sandbox": part["delta"], "tool_call_id": part["tool_call_id"]} for part in found]


class Watcher(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[dict] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        assert name == EVENT_NAME
        self.seen.append(data)


class AsyncWatcher(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[dict] = []

    async def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        assert name == EVENT_NAME
        self.seen.append(data)


WAYS = pytest.mark.parametrize("how", [directly, in_a_thread])


@WAYS
def test_stream_modes(how: Any) -> None:
    graph = build_graph(how)
    check(list(graph.stream(calls(), stream_mode="custom")))
    check(deltas(list(graph.stream(calls(), stream_mode="tools"))))


@WAYS
def test_stream_modes_in_a_loop(how: Any) -> None:
    async def watch(mode: str) -> list:
        return [part async for part in build_graph(how).astream(calls(), stream_mode=mode)]

    check(asyncio.run(watch("custom")))
    check(deltas(asyncio.run(watch("tools"))))


@WAYS
def test_astream_events_are_those_of_the_tools_own_run(how: Any) -> None:
    async def watch() -> list:
        return [part async for part in build_graph(how).astream_events(calls(), version="v2")]

    parts = asyncio.run(watch())
    custom = [part for part in parts if part["event"] == "on_custom_event"]
    assert {part["name"] for part in custom} == {EVENT_NAME}
    check([part["data"] for part in custom])
    runs = {part["run_id"]: part["data"]["input"]["name"] for part in parts if part["event"] == "on_tool_start"}
    assert all(runs[part["run_id"]] == part["data"]["sandbox"]["run_id"] for part in custom)


@WAYS
@pytest.mark.parametrize("watcher", [Watcher, AsyncWatcher])
def test_callback_handlers_of_both_kinds(how: Any, watcher: Any) -> None:
    first, second = watcher(), watcher()
    build_graph(how).invoke(calls(), {"callbacks": [first]})
    check(first.seen)
    asyncio.run(build_graph(how).ainvoke(calls(), {"callbacks": [second]}))
    check(second.seen)


@WAYS
def test_stream_events_v3_has_them_as_custom_data_and_as_deltas_of_each_call(how: Any) -> None:
    graph = build_graph(how)
    transformers = [CustomTransformer, ToolCallTransformer]
    parts = list(graph.stream_events(calls(), version="v3", transformers=transformers))
    check([part["params"]["data"] for part in parts if part["method"] == "custom"])
    check(deltas([part["params"]["data"] for part in parts if part["method"] == "tools"]))
    check(list(graph.stream_events(calls(), version="v3", transformers=transformers).custom))


@WAYS
def test_stream_events_v3_in_a_loop(how: Any) -> None:
    async def read(call: Any) -> list[dict]:
        return [{"sandbox": delta, "tool_call_id": call.tool_call_id} async for delta in call.output_deltas]

    async def watch() -> tuple[list, list]:
        run = await build_graph(how).astream_events(
            calls(), version="v3", transformers=[CustomTransformer, ToolCallTransformer]
        )

        async def read_custom() -> list:
            return [payload async for payload in run.custom]

        async def read_calls() -> list:
            # A call's deltas are kept for those who ask while it runs, so each is asked at once.
            readers = [asyncio.create_task(read(call)) async for call in run.tool_calls]
            return [delta for reader in readers for delta in await reader]

        return await asyncio.gather(read_custom(), read_calls())

    custom, _ = asyncio.run(watch())
    check(custom)


def test_a_node_has_no_call() -> None:
    def speak(_state: MessagesState) -> dict:
        Progress().emit(event("node", "one"))
        return {}

    graph = StateGraph(MessagesState)
    graph.add_node("speak", speak)
    graph.add_edge(START, "speak")
    (payload,) = graph.compile().stream({"messages": []}, stream_mode="custom")
    assert payload == {"sandbox": event("node", "one").model_dump(mode="json"), "tool_call_id": None}


@WAYS
def test_each_event_is_a_heartbeat(how: Any) -> None:
    """The node takes longer than its idle time-out, and says something all the time."""
    done = threading.Event()

    async def speak(_state: MessagesState) -> dict:
        progress = Progress()
        for _ in range(8):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(how, lambda: progress.emit(event("node", "one")))
        done.set()
        return {}

    async def silent(_state: MessagesState) -> dict:
        await asyncio.sleep(30)
        return {}

    def build(node: Any) -> Any:
        graph = StateGraph(MessagesState)
        graph.add_node("node", node, timeout=TimeoutPolicy(idle_timeout=0.5, refresh_on="heartbeat"))
        graph.add_edge(START, "node")
        return graph.compile()

    asyncio.run(build(speak).ainvoke({"messages": []}))
    assert done.is_set()
    with pytest.raises(NodeTimeoutError):
        asyncio.run(build(silent).ainvoke({"messages": []}))


def test_where_nobody_is_nothing_happens() -> None:
    Progress(tool_call_id="c").emit(event("r", "one"))
    asyncio.run(Progress(tool_call_id="c").aemit(event("r", "one")))
    in_a_thread(lambda: Progress().emit(event("r", "one")))
    RunnableLambda(lambda _: Progress().emit(event("r", "one"))).invoke(None)  # a runnable, and no graph


def test_a_watcher_that_fails_keeps_the_event_from_nobody_else() -> None:
    class Broken(BaseCallbackHandler):
        raise_error = True

        def on_custom_event(self, *_: Any, **__: Any) -> None:
            raise OSError

    graph = build_graph(directly)
    check(list(graph.stream(calls(), {"callbacks": [Broken()]}, stream_mode="custom")))

    async def watch() -> list:
        return [part async for part in graph.astream(calls(), {"callbacks": [Broken()]}, stream_mode="custom")]

    check(asyncio.run(watch()))


async def test_a_watcher_that_is_cancelled_cancels_nobody_else() -> None:
    class Cancelled(AsyncCallbackHandler):
        raise_error = True

        async def on_custom_event(self, *_: Any, **__: Any) -> None:
            raise asyncio.CancelledError

    graph = build_graph(directly)
    check([part async for part in graph.astream(calls(), {"callbacks": [Cancelled()]}, stream_mode="custom")])


def test_events_after_the_watchers_loop_has_ended_are_nobodys() -> None:
    kept: list[Progress] = []

    async def speak(_state: MessagesState) -> dict:
        kept.append(Progress())
        return {}

    graph = StateGraph(MessagesState)
    graph.add_node("speak", speak)
    graph.add_edge(START, "speak")

    async def watch() -> list:
        return [part async for part in graph.compile().astream({"messages": []}, stream_mode="custom")]

    assert asyncio.run(watch()) == []
    kept[0].emit(event("late", "one"))
    in_a_thread(lambda: kept[0].emit(event("late", "two")))
