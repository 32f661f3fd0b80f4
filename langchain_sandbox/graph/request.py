"""From a graph's state to what a run is asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage, convert_to_messages

from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    import os

    from langchain_sandbox.workspace_config import Workspace

_KEYS = ("task", "command", "arguments", "workspace")


def build_request(
    state: object,
    *,
    command: object = None,
    arguments: str | Mapping[str, Any] | None = None,
    workspaces: Mapping[str, Workspace | str | os.PathLike[str]] | None = None,
) -> dict[str, Any]:
    """What a state asks for, as keyword arguments of `Sandbox.start`.

    Args:
        state: The state, of any type that LangGraph knows.
        command: The node's own command; the state gives its arguments and no task.
        arguments: What they are where the state has no `sandbox_task`.
        workspaces: The folders that a state may name, by their names.

    Raises:
        SandboxConfigError: If the state asks for nothing, or for what it may not.
    """
    wanted = _read(state, "sandbox_task")
    if wanted is None:
        words = _find_words(state) if arguments is None else None
        if command is not None:
            return {"command": command, "arguments": arguments if arguments is not None else words}
        if words is None:
            msg = (
                "There is nothing to do for the sandbox: put a task into the state's sandbox_task, or a human message "
                "with text into its messages."
            )
            raise SandboxConfigError(msg)
        return {"task": words}
    if isinstance(wanted, str):
        return {"task": wanted} if command is None else {"command": command, "arguments": wanted}
    return _build_from_mapping(wanted, command=command, arguments=arguments, workspaces=workspaces or {})


def _build_from_mapping(
    wanted: object,
    *,
    command: object,
    arguments: str | Mapping[str, Any] | None,
    workspaces: Mapping[str, Workspace | str | os.PathLike[str]],
) -> dict[str, Any]:
    allowed = _KEYS if command is None else ("arguments", "workspace")
    if not isinstance(wanted, Mapping):
        msg = f"sandbox_task is a text, or a dict of {', '.join(allowed)}, not {_show(wanted)}."
        raise SandboxConfigError(msg)
    unknown = [key for key in wanted if key not in allowed]
    if unknown:
        reason = "" if command is None else " This node has a command of its own."
        msg = f"sandbox_task holds {_show(unknown[0])}; it may hold {', '.join(allowed)}.{reason}"
        raise SandboxConfigError(msg)
    request = {key: value for key, value in wanted.items() if value is not None and key != "workspace"}
    if command is not None:
        request = {"command": command, "arguments": request.get("arguments", arguments)}
    elif not isinstance(request.get("command", ""), str):
        msg = f"sandbox_task names its command by a text, not by {_show(request['command'])}."
        raise SandboxConfigError(msg)
    name = wanted.get("workspace")
    if name is not None:
        request["workspace"] = _find_workspace(name, workspaces)
    return request


def _find_workspace(name: object, workspaces: Mapping[str, Any]) -> Workspace | str | os.PathLike[str]:
    found = workspaces.get(name) if isinstance(name, str) else None
    if found is None:
        there = ", ".join(map(repr, workspaces)) or "none"
        msg = f"sandbox_task names the workspace {_show(name)}; the node's workspaces= are: {there}."
        raise SandboxConfigError(msg)
    return found  # type: ignore[no-any-return]


def _find_words(state: object) -> str | None:
    """The last human message's text, if it has one."""
    messages = _read(state, "messages") or []
    try:
        found = convert_to_messages(messages if isinstance(messages, list) else [messages])
    except (NotImplementedError, ValueError) as error:
        msg = f"The state's messages are none: {error}"
        raise SandboxConfigError(msg) from error
    for message in reversed(found):
        if isinstance(message, HumanMessage):
            text = str(message.text)
            return text if text.strip() else None
    return None


def _read(state: object, key: str) -> Any:  # noqa: ANN401 - a state's values are its graph's own
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)


def _show(value: object) -> str:
    return repr(value)[:100]
