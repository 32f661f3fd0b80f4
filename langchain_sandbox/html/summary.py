"""The top of a page: how it ended and why, what was asked, what was said, and the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.amounts import format_seconds
from langchain_sandbox.html.changes import draw_lines
from langchain_sandbox.html.markup import Html, cut, row, span, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT: Final = 20_000  # characters of what the agent says last
_TASK: Final = 4_000  # characters of what was asked that need no click

_TONES: Final = {"completed": "good", "incomplete": "soft", "cancelled": "soft"}
_NAMES: Final = {"oom": "Out of memory", "timeout": "Timed out"}
_MARKS: Final = {
    "good": "M7 12.5l3.5 3.5L17 9",
    "soft": "M12 7v6M12 16v1",
    "bad": "M8.5 8.5l7 7M15.5 8.5l-7 7",
}


def name_status(status: str) -> str:
    """A status as a heading says it."""
    return _NAMES.get(status) or status.replace("_", " ").capitalize()


def draw_head(fields: Mapping[str, Any]) -> Html:
    """How it ended, why, and what to do about it."""
    ending, evidence, receipt = fields["ending"], fields["evidence"], fields["receipt"]
    tone = _TONES.get(fields["status"], "bad")
    mark = tag(
        "svg",
        "mark",
        tag("circle", "", cx="12", cy="12", r="11"),
        tag("path", "", d=_MARKS[tone]),
        viewBox="0 0 24 24",
        aria_hidden="true",
    )
    title = tag("div", "title", mark, tag("h1", "", name_status(fields["status"])))
    message = to_line(ending["message"], 2_000)
    parts = [title, tag("p", "message", message[:1].upper() + message[1:])]
    if ending["hint"] and not fields["ok"]:
        parts.append(tag("p", "hint", tag("b", "", "What to do: "), to_line(ending["hint"], 2_000)))
    if evidence["source"] == "self_reported":
        parts.append(
            tag("p", "hint", tag("b", "", "Self-reported: "), "no host looked on, the container speaks for itself.")
        )
    if not (evidence["cleanup_confirmed"] or evidence["cleanup_pending"]):
        parts.append(
            tag("p", "hint", "The engine did not confirm that the container is gone. ", _code("langchain-sandbox gc"))
        )
    facts = [_fact(name, to_line(str(value))) for name, value in _tell_facts(fields, receipt) if value]
    return tag("header", tone, tag("div", "inner", *parts, row("facts", *facts)))


def _tell_facts(fields: Mapping[str, Any], receipt: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    workspace = fields["workspace"]
    command = f"/{receipt['command']}" if receipt["command"] else None
    return [
        ("run", fields["run_id"]),
        ("ending", fields["ending"]["code"] if fields["ending"]["code"] != fields["status"] else None),
        ("command", command),
        ("model", receipt["model"]),
        ("workspace", workspace["root"]),
        ("branch", workspace["branch"]),
    ]


def _fact(name: str, value: str) -> Html:
    return span("fact", span("faint", name), " ", span("wide", value))


def _code(words: str) -> Html:
    return tag("code", "", words)


def draw_task(fields: Mapping[str, Any]) -> list[Html]:
    """What was asked for."""
    task = fields["settings"]["task"].strip()
    return [tag("blockquote", "asked", cut(task, _TASK))] if task else []


def draw_words(fields: Mapping[str, Any]) -> list[Html]:
    """The agent's last words, with a word on what they are worth."""
    said = fields["text"].strip()
    if not said:
        return []
    return [
        tag("p", "about", "Its own words, as they came out of the container. Nobody vouches for them."),
        tag("blockquote", "said", cut(said, _TEXT)),
    ]


def draw_figures(fields: Mapping[str, Any]) -> Html:
    """The figures that most people look for."""
    usage, files = fields["usage"], fields["files"]
    read, wrote = usage["prompt_tokens"], usage["completion_tokens"]
    added, removed = sum(file["insertions"] for file in files), sum(file["deletions"] for file in files)
    failed = sum(use["status"] == "error" for step in fields["steps"] for use in step["uses"])
    risky = sum(bool(file["risks"]) for file in files)
    tools = sum(len(step["tools"]) for step in fields["steps"])
    lines = Html(f"{draw_lines(added, removed)} lines") if files else Html("")
    look = [span("look", f"{risky:,} to look at")] if risky else []
    parts = [
        _figure("Time", format_seconds(fields["timings"]["total"]), _draw_limit(fields["settings"]["timeout"])),
        _figure("Files changed", f"{len(files):,}", lines, *look),
        _figure("Commits", f"{len(fields['commits']):,}"),
        _figure("Steps", f"{len(fields['steps']):,}", _count_tools(tools, failed)),
        _figure("Model calls", f"{usage['model_calls']:,}"),
        _figure("Tokens", f"{read + wrote:,}", f"{read:,} in, {wrote:,} out"),
    ]
    return tag("dl", "figures", *parts)


def _count_tools(used: int, failed: int) -> str:
    if not used:
        return ""
    words = f"{used:,} tool use" if used == 1 else f"{used:,} tool uses"
    return f"{words}, {failed:,} failed" if failed else words


def _draw_limit(timeout: float | None) -> str:
    return f"of {format_seconds(timeout)}" if timeout else ""


def _figure(name: str, value: str, *more: str) -> Html:
    about = [tag("dd", "about", each) for each in more if each]
    return tag("div", "", tag("dt", "", name), tag("dd", "value", value), *about)
