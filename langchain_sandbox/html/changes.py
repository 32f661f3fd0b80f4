"""What was changed: the list of files, the commits, and a diff for each file."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.amounts import format_bytes
from langchain_sandbox.html.diff import FileDiff, Line, split_files
from langchain_sandbox.html.markup import Html, cut, draw_all, fold, rest_row, row, span, table, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FILES: Final = 500
_LISTED: Final = 40  # files that need no click
_COMMITS: Final = 100
_LINES: Final = 6_000  # of all files
_FILE_LINES: Final = 1_500  # of one
_OPEN_LINES: Final = 300  # that need no click, in all
_WIDTH: Final = 1_000  # characters of a line
_COLUMNS: Final = ("File", "Worth a look", "Lines")

_HEADERS: Final = ("index ", "--- ", "+++ ")  # say nothing that the title does not
_KINDS: Final = {"added": "A", "modified": "M", "deleted": "D", "renamed": "R"}
_DECISIONS: Final = {
    "accept": "A person accepted them",
    "reject": "A person rejected them",
    "changes": "A person asked for others",
}


def draw_changes(fields: Mapping[str, Any]) -> list[Html]:
    """Everything that a reader needs to judge the changes."""
    files, commits = fields["files"], fields["commits"]
    if not any((files, commits, fields["patch"], fields["patch_reference"])):
        return [tag("p", "empty", "No file was changed.")]
    diffs = split_files(fields["patch"] or "", _FILE_LINES)
    # Without as many parts as files (a result that was written by other hands) nothing says which part is whose.
    matched = len(diffs) == len(files)
    parts = [_draw_state(fields)]
    if files:
        parts.extend(_draw_list(files, linked=matched))
    if commits:
        parts.append(_draw_commits(commits))
    parts.extend(_draw_reference(fields["patch_reference"]))
    parts.extend(_draw_diffs(diffs, files if matched else [None] * len(diffs)))
    return parts


def tell_review(fields: Mapping[str, Any]) -> str:
    """What a person decided about the changes, as a sentence behind others; empty if nobody was asked."""
    review = fields["review"]
    decided = _DECISIONS.get(review["decision"]) if review else None
    if decided is None:
        return ""
    comment = to_line(review["comment"])
    return f" {decided}: {comment}" if comment else f" {decided}."


def _draw_state(fields: Mapping[str, Any]) -> Html:
    root = fields["workspace"]["root"]
    partial = " They are those of a run that did not complete." if fields["partial"] else ""
    partial += tell_review(fields)
    if fields["applied"]:
        return tag("p", "about", f"Applied to {to_line(str(root))}.{partial}")
    if fields["evidence"]["source"] == "self_reported":
        return tag("p", "about", f"Not applied.{partial}")
    # Readers copy it into a shell, and other hands may have written the name.
    call = tag("code", "", f"langchain-sandbox apply {quote(to_line(fields['run_id']))}")
    return tag("p", "about", f"Not applied.{partial} To apply them, all or none: ", call)


def _draw_list(files: Sequence[Mapping[str, Any]], *, linked: bool) -> list[Html]:
    rows = [_draw_file(index if linked else None, file) for index, file in enumerate(files[:_FILES])]
    risky = [row for row, file in zip(rows, files, strict=False) if file["risks"]]
    everything = table("files", _COLUMNS, [*rows, *rest_row(len(files) - _FILES, "files", _COLUMNS)])
    if len(files) <= _LISTED:
        return [everything]
    # What deserves a look is seen without a click, however much there is.
    first = [table("files", _COLUMNS, risky)] if risky else []
    return [*first, fold(f"All {len(files):,} files", everything)]


def _draw_file(index: int | None, file: Mapping[str, Any]) -> Html:
    name = _name_file(file)
    linked = tag("a", "wide", name, href=f"#file-{index}") if index is not None else span("wide", name)
    kind = span("kind", _KINDS.get(file["kind"], "?"))
    return tag(
        "tr",
        "",
        tag("td", "name", Html(f"{kind} {linked}")),
        tag("td", "risks", Html(" ".join(draw_all(file["risks"], _draw_risk, "risks")))),
        tag("td", "count", _draw_count(file)),
    )


def _name_file(file: Mapping[str, Any]) -> str:
    moved = "" if file["old_path"] is None else f"{to_line(file['old_path'])} → "
    return moved + to_line(file["path"])


def _draw_count(file: Mapping[str, Any]) -> Html:
    if file["binary"]:
        return span("faint", "binary")
    return draw_lines(file["insertions"], file["deletions"])


def draw_lines(added: int, removed: int) -> Html:
    """How many lines came and went."""
    came = [span("plus", f"+{added:,}")] if added else []
    went = [span("minus", f"-{removed:,}")] if removed else []
    return Html(" ".join([*came, *went])) if came or went else span("faint", "0")


def _draw_risk(risk: str) -> Html:
    return span("chip look", to_line(risk))


def _draw_commits(commits: Sequence[Mapping[str, Any]]) -> Html:
    items = draw_all(commits, _draw_commit, "commits", _COMMITS)
    return tag("div", "commits", tag("h3", "", "Commits"), *items)


def _draw_commit(commit: Mapping[str, Any]) -> Html:
    about = [span("faint", to_line(commit["author"])), span("faint", to_line(commit["date"])[:10])]
    risks = draw_all(commit["risks"], _draw_risk, "risks")
    return row(
        "commit", tag("code", "", to_line(commit["id"])[:10]), span("wide", to_line(commit["subject"])), *risks, *about
    )


def _draw_reference(reference: Mapping[str, Any] | None) -> list[Html]:
    if reference is None:
        return []
    size, path = format_bytes(reference["size"]), tag("code", "", to_line(reference["path"]))
    return [tag("p", "empty", f"The patch has {size}, too many to be part of the result. It is in ", path)]


def _draw_diffs(diffs: Sequence[FileDiff], files: Sequence[Mapping[str, Any] | None]) -> list[Html]:
    drawn, left = [], _LINES
    for index, (diff, file) in enumerate(zip(diffs[:_FILES], files, strict=False)):
        # A binary file's lines are not shown, and take no room from those that are.
        lines = [] if file is not None and file["binary"] else diff.lines
        state = "open" if _LINES - left + len(lines) <= _OPEN_LINES else ""
        drawn.append(_draw_diff(index, diff, file, lines=lines[:left], state=state))
        left -= len(lines[:left])
    return drawn


def _draw_diff(
    index: int, diff: FileDiff, file: Mapping[str, Any] | None, *, lines: Sequence[Line], state: str
) -> Html:
    if file is None:
        title = [span("wide", to_line(diff.header))]
    else:
        risks = draw_all(file["risks"], _draw_risk, "risks")
        title = [span("kind", _KINDS.get(file["kind"], "?")), span("wide", _name_file(file)), *risks, _draw_count(file)]
    if file is not None and file["binary"]:
        size = format_bytes(file["size"] or file["old_size"] or 0)
        shown = [tag("p", "empty", f"Binary, {size}. Its content is in result.patch.")]
    else:
        told = [line for line in lines if not (line.kind == "faint" and line.text.startswith(_HEADERS))]
        shown = [tag("div", "lines", *(_draw_line(line) for line in told))]
        if diff.count > len(lines):
            shown.append(tag("p", "empty", f"… and {diff.count - len(lines):,} more lines; result.patch has them all"))
    # A link to something inside opens what it is in; a link to the whole would not.
    inside = tag("div", "", *shown, id=f"file-{index}")
    return tag("details", "file", tag("summary", "", Html(" ".join(title))), inside, **({"open": ""} if state else {}))


def _draw_line(line: Line) -> Html:
    if line.kind in {"faint", "hunk"}:
        return tag("div", f"line {line.kind}", span("code", cut(line.text, _WIDTH)))
    numbers = [span("n", "" if number is None else str(number)) for number in (line.old, line.new)]
    return tag("div", f"line {line.kind}", *numbers, span("code", cut(line.text, _WIDTH)))
