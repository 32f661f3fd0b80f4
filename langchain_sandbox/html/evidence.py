"""What the status rests on: what the container claims, beside what was seen of it from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.amounts import NOTHING
from langchain_sandbox.html.markup import Html, cut, draw_all, fold, table, tag, to_line
from langchain_sandbox.html.network import draw_network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PATHS: Final = 200
_LOG: Final = 10_000


def draw_evidence(fields: Mapping[str, Any]) -> list[Html]:
    """Claims and observations, side by side."""
    evidence = fields["evidence"]
    observed = evidence["source"] == "observed"
    changed = {file["path"] for file in fields["files"]}
    untouched = [path for path in evidence["claimed_files"] if path not in changed]
    parts = [
        tag("p", "about", _ABOUT_OBSERVED if observed else _ABOUT_REPORTED),
        _draw_table(fields),
        *_draw_paths("Changed without a word from OpenCode's editing tools", evidence["unclaimed_files"]),
        *_draw_paths("Claimed to be changed, and as it was", untouched),
        *draw_network(fields),
    ]
    if log := evidence["stderr"].strip():
        parts.append(fold("Last words of the program in the container", tag("pre", "", cut(log, _LOG))))
    return parts


_ABOUT_OBSERVED: Final = (
    "The status rests on what the host saw of the run. What the container says of itself counts only where both agree."
)
_ABOUT_REPORTED: Final = (
    "No host looked on: everything here was written by the program in the container. Do not rest a decision on it that "
    "a hostile repository would like to make."
)


def _draw_table(fields: Mapping[str, Any]) -> Html:
    evidence = fields["evidence"]
    code = evidence["exit_code"]
    gone = "The engine did not confirm that it is gone."
    if evidence["cleanup_confirmed"]:
        gone = "It is gone."
    elif evidence["cleanup_pending"]:
        gone = "Not yet: a session goes on in it, or the engine was tidying up."
    observed = evidence["source"] == "observed"
    rows = [
        ("End of the work", _quote(evidence["finish_reason"]), _quote(evidence["model_finish_reason"])),
        ("Changed files", f"{len(evidence['claimed_files']):,}", f"{len(fields['files']):,}"),
    ]
    if observed:
        rows += [
            ("Exit code", "", NOTHING if code is None else str(code)),
            ("Memory", "", "The kernel killed something for memory." if evidence["oom"] else "Enough."),
            ("Container", "", gone),
        ]
    seen = "The host saw" if observed else "Its own program says"
    body = [
        tag("tr", "", tag("th", "", name, scope="row"), tag("td", "", claim or NOTHING), tag("td", "", fact))
        for name, claim, fact in rows
    ]
    return table("evidence", ("What", "OpenCode claims", seen), body)


def _quote(word: str | None) -> str:
    return NOTHING if word is None else to_line(word)


def _draw_paths(title: str, paths: Sequence[str]) -> list[Html]:
    if not paths:
        return []
    items = draw_all(paths, _draw_path, "files", _PATHS)
    return [fold(f"{title}: {len(paths):,}", tag("ul", "paths", *(tag("li", "", item) for item in items)))]


def _draw_path(path: str) -> Html:
    return tag("code", "", to_line(path))
