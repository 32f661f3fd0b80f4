"""A result as a card for notebooks.

Colours are tints and text has the colour of the page, so that the card is at home in light and in dark themes without
knowing in which one it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.card_style import CARD_STYLE
from langchain_sandbox.html.changes import tell_review
from langchain_sandbox.html.diff import Line, read_lines, split_lines
from langchain_sandbox.html.markup import WORDS, Html, cut, draw_all, fold, row, span, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXT = 6_000  # characters of what may be long
_FILES_OPEN = 12  # files that need no click
_PATCH_LINES = 400
_PATCH_OPEN = 40  # lines of a patch that need no click

_TINTS: Final = {"completed": "good", "incomplete": "soft", "cancelled": "soft"}
_KINDS: Final = {"added": "A", "modified": "M", "deleted": "D", "renamed": "R"}
_USUAL_REASONS: Final = {None, "stop", "tool-calls"}


def build_card(fields: Mapping[str, Any]) -> str:
    """Draw a result.

    Args:
        fields: A `SandboxResult` as plain JSON data, such as the artifact of a tool message of a run that was tried.

    Returns:
        A fragment of HTML with a style of its own. It loads nothing and runs nothing.

    Example:
        ```python
        display(HTML(build_card(message.artifact)))
        ```
    """
    sections = [
        _draw_head(fields),
        _draw_words(fields["text"]),
        _draw_answer(fields["structured"]),
        _draw_changes(fields),
        _draw_patch(fields["patch"], fields["patch_reference"]),
        _draw_steps(fields["steps"]),
        _draw_warnings(fields["warnings"]),
        _draw_foot(fields),
    ]
    # MathJax, which notebooks run over all that they show, leaves elements of these two classes alone.
    card = tag("div", "lc-sandbox tex2jax_ignore mathjax_ignore", *(part for part in sections if part is not None))
    return f"<style>{CARD_STYLE}</style>{card}"


def _draw_head(fields: Mapping[str, Any]) -> Html:
    ending = fields["ending"]
    parts = [span("status", to_line(fields["status"])), span("wide", to_line(ending["message"]))]
    if fields["evidence"]["source"] == "self_reported":
        parts.append(span("chip look", "self-reported: no host looked on"))
    if not (fields["evidence"]["cleanup_confirmed"] or fields["evidence"]["cleanup_pending"]):
        parts.append(span("chip look", "the container may still be there"))
    hint = [tag("div", "next", to_line(ending["hint"]))] if ending["hint"] and not fields["ok"] else []
    return tag("div", f"head {_TINTS.get(fields['status'], 'bad')}", row("row", *parts), *hint)


def _draw_words(text: str) -> Html | None:
    said = cut(text.strip(), _TEXT)
    return _section("The agent says, and nobody vouches for it", tag("div", "quote", said)) if said else None


def _draw_answer(answer: Any) -> Html | None:  # noqa: ANN401 - any JSON
    if answer is None:
        return None
    return _section("Typed answer", tag("pre", "", cut(json.dumps(answer, indent=2, ensure_ascii=False), _TEXT)))


def _draw_changes(fields: Mapping[str, Any]) -> Html:
    if not fields["files"] and not fields["commits"]:
        return tag("div", "", span("faint", "No file was changed."))
    files = draw_all(fields["files"], _draw_file, "files")
    if len(files) > _FILES_OPEN:
        files = [fold(f"{len(fields['files'])} files", *files)]
    commits = draw_all(fields["commits"], _draw_commit, "commits")
    return _section("Changes", *files, *commits, _draw_state(fields))


def _draw_file(file: Mapping[str, Any]) -> Html:
    moved = "" if file["old_path"] is None else f"{to_line(file['old_path'])} → "
    name = [span("faint", _KINDS.get(file["kind"], "?")), span("wide", moved + to_line(file["path"]))]
    count = [span("plus", f"+{file['insertions']}"), span("minus", f"-{file['deletions']}")]
    binary = [span("faint", "binary")]
    risks = draw_all(file["risks"], _draw_risk, "risks")
    return row("row mono", *name, *risks, *(binary if file["binary"] else count))


def _draw_commit(commit: Mapping[str, Any]) -> Html:
    name = [span("faint mono", to_line(commit["id"])[:10]), span("wide", to_line(commit["subject"]))]
    risks = draw_all(commit["risks"], _draw_risk, "risks")
    return row("row", *name, *risks, span("faint", to_line(commit["author"])))


def _draw_risk(risk: str) -> Html:
    return span("chip look", to_line(risk))


def _draw_state(fields: Mapping[str, Any]) -> Html:
    """Whether the changes are in the user's tree, and the call that makes it otherwise."""
    root = fields["workspace"]["root"]
    partial = " They are those of a run that did not complete." if fields["partial"] else ""
    partial += tell_review(fields)
    if fields["applied"]:
        words, call = f"Applied to {to_line(str(root))}.{partial} To take them back: ", "sandbox.revert(result)"
    else:
        where = "" if root else ', workspace="path/to/folder"'
        words, call = f"Not applied.{partial} To apply them, all or none: ", f"sandbox.apply(result{where})"
    return tag("div", "next", words, span("mono", call))


def _draw_patch(patch: str | None, reference: Mapping[str, Any] | None) -> Html | None:
    if reference is not None:
        words = f"The patch has {reference['size']:,} bytes, too many to show. It is in "
        return tag("div", "", words, span("mono", to_line(reference["path"])))
    if not patch:
        return None
    lines = split_lines(patch)
    shown = [_draw_patch_line(line) for line in read_lines(lines[:_PATCH_LINES])]
    if len(lines) > _PATCH_LINES:
        shown.append(span("line faint", f"… and {len(lines) - _PATCH_LINES} more lines; result.patch has them all"))
    diff = tag("pre", "", span("diff", *shown))
    return fold("Patch", diff, state="open" if len(lines) <= _PATCH_OPEN else "")


def _draw_patch_line(line: Line) -> Html:
    return span(f"line {line.kind}", f"{cut(line.text, WORDS)}\n")


def _draw_steps(steps: Sequence[Mapping[str, Any]]) -> Html | None:
    return fold(f"Steps ({len(steps)})", *draw_all(steps, _draw_step, "steps")) if steps else None


def _draw_step(step: Mapping[str, Any]) -> Html:
    words = [span("faint mono", str(step["index"] + 1)), span("wide", to_line(step["text"]))]
    reason = [] if step["reason"] in _USUAL_REASONS else [span("faint", to_line(step["reason"]))]
    return row("row", *words, *draw_all(step["tools"], _draw_tool, "tools"), *reason)


def _draw_tool(tool: str) -> Html:
    return span("chip mono", to_line(tool))


def _draw_warnings(warnings: Sequence[str]) -> Html | None:
    return _section("Warnings", *draw_all(warnings, _draw_warning, "warnings")) if warnings else None


def _draw_warning(warning: str) -> Html:
    return tag("div", "wide", to_line(warning))


def _draw_foot(fields: Mapping[str, Any]) -> Html:
    usage, receipt = fields["usage"], fields["receipt"]
    tokens = f"{usage['prompt_tokens']:,} tokens in, {usage['completion_tokens']:,} out"
    calls = f"{usage['model_calls']:,} model call{'' if usage['model_calls'] == 1 else 's'}"
    words = [
        f"{fields['timings']['total']:.1f} s",
        f"{tokens}, {calls}",
        *(to_line(receipt[name]) for name in ("command", "model") if receipt.get(name)),
        f"run {to_line(fields['run_id'])}",
    ]
    return tag("div", "foot faint", " · ".join(words))


def _section(label: str, *children: str) -> Html:
    return tag("div", "", tag("div", "label", label), *children)
