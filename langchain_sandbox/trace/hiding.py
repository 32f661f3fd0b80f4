"""Takes what runs have brought back out of what a tracer is about to send: the caller's own runs hold it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langgraph.types import Send
from pydantic import BaseModel

HIDDEN = "[hidden: the content of a sandbox's run]"
"""Stands in the place of what was taken out."""

# What tells a result from other data, and what of one says nothing of the repository, the task or the answer.
_MARKS = frozenset(["schema_version", "run_id", "status", "patch", "steps", "receipt"])
_HARMLESS = frozenset(["schema_version", "run_id", "status", "ok", "usage", "timings", "applied"])
# What is told of a run begins so, and may be all that there is: a tool that is not called by a model gives text alone.
_TOLD = re.compile(r"\s*Sandbox run \w{1,64}: ")
_EVENT = "sandbox"
_DEPTH = 40


def hide_content(data: Any) -> Any:  # noqa: ANN401 - whatever a tracer sends
    """A copy without what sandbox runs have brought back: patches, texts, files, steps, and the messages on them.

    A result keeps how it ended, its tokens and its times. It is found wherever it is: in a tool's message, in a
    graph's state, in what a calling model is given, and as the text alone. What others say of it, such as the calling
    model in its answer or in the task that it words, is not known to be of a run, and stays; so does a typed answer
    that deepagents has of a subagent.

    Args:
        data: Inputs or outputs, as LangSmith's client, or a `TracePolicy`, hands them over. It is not changed.

    Returns:
        The same, with `HIDDEN` in the place of contents.

    Example:
        ```python
        client = Client(hide_inputs=hide_content, hide_outputs=hide_content)
        agent.invoke(question, {"callbacks": [LangChainTracer(client=client)]})
        ```
    """
    return _Hiding().hide(data, _DEPTH)


class _Hiding:
    """One look through some data. What it has seen of objects it knows: they may hold each other."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def hide(self, value: Any, depth: int) -> Any:  # noqa: ANN401 - any data
        if not depth or (isinstance(value, str) and _TOLD.match(value)):
            return HIDDEN
        if isinstance(value, BaseMessage):
            return self._hide_message(value, depth)
        if isinstance(value, Mapping):
            return self._hide_mapping(value, depth)
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(self.hide(item, depth - 1) for item in value)
        return self._hide_object(value, depth)

    def _hide_message(self, message: BaseMessage, depth: int) -> BaseMessage:
        if _is_of_run(message.id, getattr(message, "artifact", None)) or _is_told(message.content):
            changed: dict[str, Any] = {"content": HIDDEN}
            if isinstance(message, ToolMessage):
                changed["artifact"] = self.hide(message.artifact, depth - 1)
            return message.model_copy(update=changed)
        return message

    def _hide_mapping(self, value: Mapping[Any, Any], depth: int) -> Any:  # noqa: ANN401 - any data
        if _is_result(value):
            return _hide_result(value)
        hidden = {key: self.hide(item, depth - 1) for key, item in value.items()}
        if "content" in value and (_is_of_run(value.get("id"), value.get("artifact")) or _is_told(value["content"])):
            hidden["content"] = HIDDEN  # a message that is plain data already
        if isinstance(value.get(_EVENT), Mapping) and "type" in value[_EVENT]:
            hidden[_EVENT] = HIDDEN
        return hidden

    def _hide_object(self, value: Any, depth: int) -> Any:  # noqa: ANN401 - any data
        """A result, or what may hold one: a graph's state, the `Command` and `Send` with which a node or tool answers.

        As it was if it holds none; else as its fields, which is what a tracer makes of it in any case.
        """
        fields = _find_fields(value)
        if _is_result(fields):
            return _hide_result(value.model_dump(mode="json"))
        if not fields:
            return value
        if id(value) in self._known:
            return self._known[id(value)]
        self._known[id(value)] = HIDDEN  # where it holds itself, and where it is met again
        hidden = {key: self.hide(item, depth - 1) for key, item in fields.items()}
        if _holds_hidden(hidden):
            return hidden
        self._known[id(value)] = value
        return value


def _find_fields(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any data
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name, None) for part in dataclasses.fields(value)}
    return dict(value.__dict__) if isinstance(value, BaseModel) else {}


def _holds_hidden(value: Any) -> bool:  # noqa: ANN401 - any data
    """Whether something was taken out of it."""
    if isinstance(value, str):
        return value == HIDDEN
    if isinstance(value, BaseMessage):
        return value.content == HIDDEN
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(_holds_hidden(item) for item in items)


def _hide_result(result: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: item if key in _HARMLESS else HIDDEN for key, item in result.items()}


def _is_result(value: Mapping[Any, Any]) -> bool:
    return value.keys() >= _MARKS


def _is_told(content: object) -> bool:
    """Whether a message's content is what is told of a run; a subagent's answer is in a message of deepagents'."""
    blocks = content if isinstance(content, list) else [content]
    texts = (block.get("text") if isinstance(block, Mapping) else block for block in blocks)
    return any(isinstance(text, str) and _TOLD.match(text) for text in texts)


def _is_of_run(identity: object, artifact: object) -> bool:
    """Whether a message is ours: a tool's, by its artifact, or a node's, by its id."""
    if isinstance(artifact, Mapping) and _is_result(artifact):
        return True
    return isinstance(identity, str) and identity.startswith("sandbox-")
