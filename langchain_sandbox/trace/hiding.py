"""Takes what runs have brought back out of what a tracer is about to send: the caller's own runs hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage

HIDDEN = "[hidden: the content of a sandbox's run]"
"""Stands in the place of what was taken out."""

# What tells a result from other data, and what of one says nothing of the repository, the task or the answer.
_MARKS = frozenset(["schema_version", "run_id", "status", "patch", "steps", "receipt"])
_HARMLESS = frozenset(["schema_version", "run_id", "status", "ok", "usage", "timings", "applied"])
_EVENT = "sandbox"
_DEPTH = 40


def hide_content(data: Any) -> Any:  # noqa: ANN401 - whatever a tracer sends
    """A copy without what sandbox runs have brought back: patches, texts, files, steps, and the messages on them.

    A result keeps how it ended, its tokens and its times. It is found wherever it is: in a tool's message, in a
    graph's state, in what a calling model is given. What others say of it, such as the calling model in its answer or
    in the task that it words, is not known to be of a run, and stays.

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
    return _hide(data, _DEPTH)


def _hide(value: Any, depth: int) -> Any:  # noqa: ANN401 - any data
    if not depth:
        return HIDDEN
    if isinstance(value, BaseMessage):
        return _hide_message(value, depth)
    if isinstance(value, Mapping):
        return _hide_mapping(value, depth)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_hide(item, depth - 1) for item in value)
    dump = getattr(value, "model_dump", None)
    if callable(dump) and _is_result(getattr(value, "__dict__", {})):
        return _hide_result(dump(mode="json"))
    return value


def _hide_message(message: BaseMessage, depth: int) -> BaseMessage:
    if _is_of_run(message.id, getattr(message, "artifact", None)):
        changed: dict[str, Any] = {"content": HIDDEN}
        if isinstance(message, ToolMessage):
            changed["artifact"] = _hide(message.artifact, depth - 1)
        return message.model_copy(update=changed)
    return message


def _hide_mapping(value: Mapping[Any, Any], depth: int) -> Any:  # noqa: ANN401 - any data
    if _is_result(value):
        return _hide_result(value)
    hidden = {key: _hide(item, depth - 1) for key, item in value.items()}
    if "content" in value and _is_of_run(value.get("id"), value.get("artifact")):
        hidden["content"] = HIDDEN  # a message that is plain data already
    if isinstance(value.get(_EVENT), Mapping) and "type" in value[_EVENT]:
        hidden[_EVENT] = HIDDEN
    return hidden


def _hide_result(result: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: item if key in _HARMLESS else HIDDEN for key, item in result.items()}


def _is_result(value: Mapping[Any, Any]) -> bool:
    return value.keys() >= _MARKS


def _is_of_run(identity: object, artifact: object) -> bool:
    """Whether a message is ours: a tool's, by its artifact, or a node's, by its id."""
    if isinstance(artifact, Mapping) and _is_result(artifact):
        return True
    return isinstance(identity, str) and identity.startswith("sandbox-")
