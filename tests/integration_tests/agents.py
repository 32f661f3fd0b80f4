"""Calling agents: their model is scripted as well, and speaks to them through the OpenAI client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.tools import BaseTool

    from langchain_sandbox.testing import Turn


@contextlib.contextmanager
def calling_model(*turns: Turn) -> Iterator[ChatOpenAI]:
    """The model of a calling agent, which says these turns."""
    with ScriptedModel(turns) as model:
        yield ChatOpenAI(model="scripted-model", base_url=model.endpoint.base_url, api_key="none", max_retries=0)
        assert not model.errors


def call(name: str, *, call_id: str = "call-1", **arguments: Any) -> dict:
    """A tool call of a model, as a script's turn has it."""
    return {"name": name, "arguments": arguments, "id": call_id}


def calls(*made: dict) -> Turn:
    """A turn with tool calls."""
    return {"text": "", "tool_calls": list(made)}


def tool_graph(tools: Sequence[BaseTool], **options: Any) -> Any:
    """A graph of nothing but a `ToolNode`."""
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "tools")
    return graph.compile(**options)


def asked(*made: dict) -> dict:
    """The input of `tool_graph`: a message with these calls."""
    called = [{"name": one["name"], "args": one["arguments"], "id": one["id"], "type": "tool_call"} for one in made]
    return {"messages": [AIMessage("", tool_calls=called)]}


async def wait_for(event: asyncio.Event, task: asyncio.Task) -> None:
    """Wait until a task has set an event; a task that ends without it fails the test with its own error."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not event.is_set():
        await task
        msg = "the task is over"
        raise AssertionError(msg)


def answers(state: dict) -> dict[str, ToolMessage]:
    """The tool messages of a state, by the ids of their calls."""
    return {message.tool_call_id: message for message in state["messages"] if isinstance(message, ToolMessage)}
