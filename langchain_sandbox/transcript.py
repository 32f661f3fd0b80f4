"""Turns OpenCode's events into ours, and keeps what the result says of the steps.

Pure, and tolerant: OpenCode's events have no documented schema, and a program in the container can forge them.
Whatever is not understood is left out; everything that is kept has a limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langchain_sandbox.narration import narrate_input
from langchain_sandbox.untrusted import clean_json, clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_STEPS = 1_000
_MAX_PARTS = 20_000
_MAX_TOOLS = 200
_MAX_STEP_TEXT = 16 * 1024
_MAX_OUTPUT = 32 * 1024
_MAX_TEXT = 64 * 1024
_MAX_NAME = 200
_MAX_TITLE = 300
_MAX_PATH = 4096
_MAX_CLAIMS = 1_000
_EDITORS = {"edit", "multiedit", "write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """One use of a tool; the result's part of the same name, as plain data."""

    tool: str
    title: str = ""
    status: str | None = None
    at: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the agent; the result's part of the same name, as plain data."""

    index: int
    text: str = ""
    tools: list[str] = field(default_factory=list)
    reason: str | None = None
    at: float | None = None
    seconds: float | None = None
    uses: list[ToolUse] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    at: float
    texts: dict[str, str] = field(default_factory=dict)
    uses: dict[str, ToolUse] = field(default_factory=dict)  # by the call's name
    reason: str | None = None
    seconds: float | None = None
    room: int = _MAX_STEP_TEXT

    def keep(self, part: str, text: str) -> None:
        """Have a part say this, as far as there is room for it beside the others."""
        room = self.room + len(self.texts.get(part, ""))
        if room:
            self.texts[part] = text[:room]
            self.room = room - len(self.texts[part])


class Transcript:
    """Listens to one run.

    Args:
        emit: Called with an event's type and its fields.
        clock: Seconds since the run began. The times that OpenCode names are those of its own clock, and claims.
    """

    def __init__(self, emit: Callable[..., None], *, clock: Callable[[], float]) -> None:
        self._emit = emit
        self._clock = clock
        self._session: str | None = None
        self._assistant: set[str] = set()
        self._texts: dict[str, int] = {}  # text parts, and how much of each has been said
        self._homes: dict[str, _Draft] = {}  # text parts, and the step that each belongs to
        self._tools: dict[str, str] = {}  # tool parts, and their last status
        self._users: dict[str, _Draft] = {}  # tool parts, and the step that each belongs to
        self._drafts: list[_Draft] = []
        self._claimed: dict[str, None] = {}
        self.idle = False
        """Whether the agent has said its last word, for all that OpenCode says."""

    @property
    def working(self) -> bool:
        """Whether OpenCode says that a tool runs."""
        return "running" in self._tools.values()

    @property
    def claimed_files(self) -> list[str]:
        """The files that OpenCode's tools for editing say they changed, as they name them."""
        return list(self._claimed)

    @property
    def steps(self) -> list[Step]:
        """The steps until now."""
        return [
            Step(
                index=index,
                text="\n".join(text for text in draft.texts.values() if text)[:_MAX_STEP_TEXT],
                tools=[use.tool for use in draft.uses.values()],
                reason=draft.reason,
                at=draft.at,
                seconds=draft.seconds,
                uses=list(draft.uses.values()),
            )
            for index, draft in enumerate(self._drafts)
        ]

    def on_event(self, body: dict[str, Any]) -> None:
        """Take one event as OpenCode sent it."""
        properties = body.get("properties")
        if not isinstance(properties, dict):
            return
        match body.get("type"):
            case "session.created":
                # The first is the task's own; others are subagents, whose work shows as a tool of the first.
                self._session = self._session or str(properties.get("sessionID"))
            case "session.idle":
                self.idle = self.idle or properties.get("sessionID") == self._session
            case "message.updated":
                self._on_message(properties.get("info"))
            case "message.part.delta":
                self._on_delta(properties)
            case "message.part.updated":
                part = properties.get("part")
                if isinstance(part, dict) and part.get("sessionID") == self._session:
                    self._on_part(part)
            case _:
                pass

    def _on_message(self, info: Any) -> None:  # noqa: ANN401 - untrusted JSON
        if isinstance(info, dict) and info.get("role") == "assistant" and len(self._assistant) < _MAX_PARTS:
            self._assistant.add(_name(info, "id"))

    def _on_delta(self, properties: dict[str, Any]) -> None:
        part, delta = _name(properties, "partID"), properties.get("delta")
        if part in self._texts and properties.get("field") == "text" and isinstance(delta, str):
            self._say(part, clean_text(delta, _MAX_TEXT))

    def _on_part(self, part: dict[str, Any]) -> None:
        if _name(part, "messageID") not in self._assistant:
            return
        match part.get("type"):
            case "step-start" if len(self._drafts) < _MAX_STEPS:
                self._drafts.append(_Draft(self._clock()))
            case "text" if isinstance(part.get("text"), str):
                self._on_text(_name(part, "id"), clean_text(part.get("text"), _MAX_TEXT))
            case "tool":
                self._on_tool(part)
            case "step-finish":
                reason = _name(part, "reason")
                self._draft.reason = reason
                self._draft.seconds = round(self._clock() - self._draft.at, 4)
                self._emit("step", index=max(0, len(self._drafts) - 1), reason=reason)
            case _:
                pass

    def _on_text(self, part: str, text: str) -> None:
        if part not in self._texts:
            if len(self._texts) >= _MAX_PARTS:
                return
            self._texts[part] = 0
        # The finished part has the whole text: what deltas have not brought follows now.
        self._say(part, text[self._texts[part] :])
        if part in self._homes:
            self._homes[part].keep(part, text)

    def _say(self, part: str, text: str) -> None:
        if text:
            self._texts[part] += len(text)
            home = self._homes.setdefault(part, self._draft)
            home.keep(part, home.texts.get(part, "") + text)
            self._emit("text", text=text)

    def _on_tool(self, part: dict[str, Any]) -> None:
        call_id, tool, state = _name(part, "callID"), _name(part, "tool"), part.get("state")
        if not isinstance(state, dict) or len(self._tools) >= _MAX_PARTS:
            return
        status = _name(state, "status")
        before = self._tools.get(call_id)
        if status not in {"running", "completed", "error"} or before in {status, "completed", "error"}:
            return
        self._tools[call_id] = status
        if before is None:
            arguments = state.get("input")
            given = clean_json(arguments) if isinstance(arguments, dict) else {}
            if len(self._draft.uses) < _MAX_TOOLS:
                title = narrate_input(given)[:_MAX_TITLE]
                self._draft.uses[call_id] = ToolUse(tool=tool, title=title, at=self._clock())
                self._users[call_id] = self._draft
            self._emit("tool_started", call_id=call_id, tool=tool, input=given)
        path = state["input"].get("filePath") if isinstance(state.get("input"), dict) else None
        if status == "completed" and tool in _EDITORS and len(self._claimed) < _MAX_CLAIMS and isinstance(path, str):
            self._claimed[clean_text(path, _MAX_PATH)] = None
        if status != "running":
            output = clean_text(state.get("output") or state.get("error"), _MAX_OUTPUT)
            self._emit("tool_ended", call_id=call_id, tool=tool, status=status, output=output)
            if call_id in self._users:
                uses = self._users[call_id].uses
                seconds = round(self._clock() - uses[call_id].at, 4)
                uses[call_id] = replace(uses[call_id], status=status, seconds=seconds)

    @property
    def _draft(self) -> _Draft:
        if not self._drafts:
            self._drafts.append(_Draft(self._clock()))
        return self._drafts[-1]


def _name(fields: dict[str, Any], key: str) -> str:
    """A word that things are told apart by. OpenCode's are short; a forged one may be as long as a message."""
    return clean_text(fields.get(key), _MAX_NAME)
