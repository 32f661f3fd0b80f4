"""A result as a card for notebooks. Pure: the result's JSON fields go in, HTML comes out.

Nearly every word in it is a container's. So every text is escaped where it becomes part of an element, and none is ever
an attribute, a class or a style. Colours are tints and text has the colour of the page, so that the card is at home in
light and in dark themes without knowing in which one it is.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from langchain_sandbox.untrusted import show_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_WORDS = 400  # characters of what is one line
_TEXT = 6_000  # characters of what may be long
_ITEMS = 50  # of a list
_FILES_OPEN = 12  # files that need no click
_PATCH_LINES = 400
_PATCH_OPEN = 40  # lines of a patch that need no click

_TINTS: Final = {"completed": "good", "incomplete": "soft", "cancelled": "soft"}
_KINDS: Final = {"added": "A", "modified": "M", "deleted": "D", "renamed": "R"}
_USUAL_REASONS: Final = {None, "stop", "tool-calls"}
_HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@")

# Notebooks lay a style of their own on tables, lists and code. So there are only `div`, `span`, `pre` and `details`.
_STYLE: Final = """
.lc-sandbox{font-size:13px;line-height:1.5;max-width:920px;border:1px solid #8885;border-radius:8px;overflow:hidden}
.lc-sandbox>*{padding:7px 14px;border-top:1px solid #8883}
.lc-sandbox>.head{border-top:0;padding:9px 14px;background:#e5534b24}
.lc-sandbox>.head.good{background:#2ea04324}
.lc-sandbox>.head.soft{background:#d2992224}
.lc-sandbox .status{font-weight:600}
.lc-sandbox .status::before{content:"\\25cf";margin-right:6px;color:#e5534b}
.lc-sandbox .good .status::before{color:#2ea043}
.lc-sandbox .soft .status::before{color:#d29922}
.lc-sandbox .label{font-size:11px;opacity:.7;margin-bottom:2px}
.lc-sandbox .faint{opacity:.7}
.lc-sandbox .quote{white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid #8888;padding-left:10px}
.lc-sandbox .row{display:flex;flex-wrap:wrap;gap:0 8px;align-items:baseline;padding:1px 0}
.lc-sandbox .wide{flex:1;min-width:40%;overflow-wrap:anywhere;unicode-bidi:isolate}
.lc-sandbox .mono,.lc-sandbox pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px}
.lc-sandbox .plus{color:#2ea043;color:color-mix(in srgb,#2ea043 70%,currentColor)}
.lc-sandbox .minus{color:#e5534b;color:color-mix(in srgb,#e5534b 70%,currentColor)}
.lc-sandbox .chip{font-size:11px;padding:0 7px;border-radius:9px;background:#8883;overflow-wrap:anywhere}
.lc-sandbox .chip.look{background:#d2992240}
.lc-sandbox .next{margin-top:4px}
.lc-sandbox summary{cursor:pointer;display:list-item}
.lc-sandbox pre{margin:4px 0 0;padding:0;overflow:auto;max-height:480px;line-height:1.45;background:none;color:inherit}
.lc-sandbox .diff{display:block;width:max-content;min-width:100%}
.lc-sandbox .line{display:block;padding:0 6px;unicode-bidi:isolate}
.lc-sandbox .add{background:#2ea04333}
.lc-sandbox .del{background:#e5534b33}
.lc-sandbox .hunk{background:#388bfd26}
.lc-sandbox .file{font-weight:600}
.lc-sandbox .foot{font-size:11px}
""".replace("\n", "")


_Item = TypeVar("_Item")


class _Html(str):
    """Markup of our own. Any other text is escaped on its way into an element."""

    __slots__ = ()


def build_html(fields: Mapping[str, Any]) -> str:
    """Draw a result.

    Args:
        fields: A `SandboxResult` as plain JSON data, such as the artifact of a tool message of a run that was tried.

    Returns:
        A fragment of HTML with a style of its own. It loads nothing and runs nothing.

    Example:
        ```python
        display(HTML(build_html(message.artifact)))
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
    card = _tag("div", "lc-sandbox tex2jax_ignore mathjax_ignore", *(part for part in sections if part is not None))
    return f"<style>{_STYLE}</style>{card}"


def _draw_head(fields: Mapping[str, Any]) -> _Html:
    ending = fields["ending"]
    parts = [_span("status", _line(fields["status"])), _span("wide", _line(ending["message"]))]
    if fields["evidence"]["source"] == "self_reported":
        parts.append(_span("chip look", "self-reported: no host looked on"))
    if not fields["evidence"]["cleanup_confirmed"]:
        parts.append(_span("chip look", "the container may still be there"))
    hint = [_tag("div", "next", _line(ending["hint"]))] if ending["hint"] and not fields["ok"] else []
    return _tag("div", f"head {_TINTS.get(fields['status'], 'bad')}", _row("row", *parts), *hint)


def _draw_words(text: str) -> _Html | None:
    said = _cut(text.strip(), _TEXT)
    return _section("The agent says, and nobody vouches for it", _tag("div", "quote", said)) if said else None


def _draw_answer(answer: Any) -> _Html | None:  # noqa: ANN401 - any JSON
    if answer is None:
        return None
    return _section("Typed answer", _tag("pre", "", _cut(json.dumps(answer, indent=2, ensure_ascii=False), _TEXT)))


def _draw_changes(fields: Mapping[str, Any]) -> _Html:
    if not fields["files"] and not fields["commits"]:
        return _tag("div", "", _span("faint", "No file was changed."))
    files = _draw_all(fields["files"], _draw_file, "files")
    if len(files) > _FILES_OPEN:
        files = [_fold(f"{len(fields['files'])} files", *files)]
    commits = _draw_all(fields["commits"], _draw_commit, "commits")
    return _section("Changes", *files, *commits, _draw_state(fields))


def _draw_file(file: Mapping[str, Any]) -> _Html:
    moved = "" if file["old_path"] is None else f"{_line(file['old_path'])} → "
    name = [_span("faint", _KINDS.get(file["kind"], "?")), _span("wide", moved + _line(file["path"]))]
    count = [_span("plus", f"+{file['insertions']}"), _span("minus", f"-{file['deletions']}")]
    binary = [_span("faint", "binary")]
    risks = _draw_all(file["risks"], _draw_risk, "risks")
    return _row("row mono", *name, *risks, *(binary if file["binary"] else count))


def _draw_commit(commit: Mapping[str, Any]) -> _Html:
    name = [_span("faint mono", _line(commit["id"])[:10]), _span("wide", _line(commit["subject"]))]
    risks = _draw_all(commit["risks"], _draw_risk, "risks")
    return _row("row", *name, *risks, _span("faint", _line(commit["author"])))


def _draw_risk(risk: str) -> _Html:
    return _span("chip look", _line(risk))


def _draw_state(fields: Mapping[str, Any]) -> _Html:
    """Whether the changes are in the user's tree, and the call that makes it otherwise."""
    root = fields["workspace"]["root"]
    partial = " They are those of a run that did not complete." if fields["partial"] else ""
    if fields["applied"]:
        words, call = f"Applied to {_line(str(root))}.{partial} To take them back: ", "sandbox.revert(result)"
    else:
        where = "" if root else ', workspace="path/to/folder"'
        words, call = f"Not applied.{partial} To apply them, all or none: ", f"sandbox.apply(result{where})"
    return _tag("div", "next", words, _span("mono", call))


def _draw_patch(patch: str | None, reference: Mapping[str, Any] | None) -> _Html | None:
    if reference is not None:
        words = f"The patch has {reference['size']:,} bytes, too many to show. It is in "
        return _tag("div", "", words, _span("mono", _line(reference["path"])))
    if not patch:
        return None
    lines = patch.removesuffix("\n").split("\n")
    shown = [_draw_patch_line(css, line) for css, line in _tell_lines(lines[:_PATCH_LINES])]
    if len(lines) > _PATCH_LINES:
        shown.append(_span("line faint", f"… and {len(lines) - _PATCH_LINES} more lines; result.patch has them all"))
    diff = _tag("pre", "", _span("diff", *shown))
    return _fold("Patch", diff, state=" open" if len(lines) <= _PATCH_OPEN else "")


def _tell_lines(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each line of a patch, after what it is.

    The counts of its hunk decide that: a removed `-- x` reads like the `--- x` of a header.
    """
    old = new = 0
    for line in lines:
        if old > 0 or new > 0:
            css = {"+": "add", "-": "del", "\\": "faint"}.get(line[:1], "same")
            old -= css in {"del", "same"}
            new -= css in {"add", "same"}
            yield css, line
        elif hunk := _HUNK.match(line):
            old, new = (int(count) for count in hunk.groups(default="1"))
            yield "hunk", line
        else:
            yield "file" if line.startswith("diff --git ") else "faint", line


def _draw_patch_line(css: str, line: str) -> _Html:
    return _span(f"line {css}", f"{_cut(line, _WORDS)}\n")


def _draw_steps(steps: Sequence[Mapping[str, Any]]) -> _Html | None:
    return _fold(f"Steps ({len(steps)})", *_draw_all(steps, _draw_step, "steps")) if steps else None


def _draw_step(step: Mapping[str, Any]) -> _Html:
    words = [_span("faint mono", str(step["index"] + 1)), _span("wide", _line(step["text"]))]
    reason = [] if step["reason"] in _USUAL_REASONS else [_span("faint", _line(step["reason"]))]
    return _row("row", *words, *_draw_all(step["tools"], _draw_tool, "tools"), *reason)


def _draw_tool(tool: str) -> _Html:
    return _span("chip mono", _line(tool))


def _draw_warnings(warnings: Sequence[str]) -> _Html | None:
    return _section("Warnings", *_draw_all(warnings, _draw_warning, "warnings")) if warnings else None


def _draw_warning(warning: str) -> _Html:
    return _tag("div", "wide", _line(warning))


def _draw_foot(fields: Mapping[str, Any]) -> _Html:
    usage, receipt = fields["usage"], fields["receipt"]
    words = [
        f"{fields['timings']['total']:.1f} s",
        f"{usage['prompt_tokens']:,} tokens in, {usage['completion_tokens']:,} out, {usage['model_calls']} model calls",
        *(_line(receipt[name]) for name in ("command", "model") if receipt.get(name)),
        f"run {_line(fields['run_id'])}",
    ]
    return _tag("div", "foot faint", " · ".join(words))


def _draw_all(items: Sequence[_Item], draw: Callable[[_Item], _Html], name: str) -> list[_Html]:
    """Draw the first ones, and say how many are left out."""
    drawn = [draw(item) for item in items[:_ITEMS]]
    return [*drawn, _span("faint", f"… and {len(items) - _ITEMS} more {name}")] if len(items) > _ITEMS else drawn


def _section(label: str, *children: str) -> _Html:
    return _tag("div", "", _tag("div", "label", label), *children)


def _fold(label: str, *children: str, state: str = "") -> _Html:
    return _Html(f"<details{state}>{_tag('summary', '', label)}{_tag('div', '', *children)}</details>")


def _row(css: str, *parts: _Html) -> _Html:
    # The spaces are for a page that has taken the style away, as notebooks do that they do not trust.
    return _tag("div", css, _Html(" ".join(parts)))


def _span(css: str, *children: str) -> _Html:
    return _tag("span", css, *children)


def _tag(name: str, css: str, *children: str) -> _Html:
    inside = "".join(child if isinstance(child, _Html) else html.escape(show_controls(child)) for child in children)
    return _Html(f'<{name} class="{css}">{inside}</{name}>' if css else f"<{name}>{inside}</{name}>")


def _line(text: str) -> str:
    return _cut(" ".join(text.split()), _WORDS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
