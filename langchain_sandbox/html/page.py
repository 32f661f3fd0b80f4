"""A result as a page of its own: one file that loads nothing, runs nothing, and can be sent to anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.answer import draw_answer
from langchain_sandbox.html.changes import draw_changes
from langchain_sandbox.html.evidence import draw_evidence
from langchain_sandbox.html.markup import Html, draw_all, span, tag, to_line
from langchain_sandbox.html.origin import draw_receipt, draw_settings
from langchain_sandbox.html.page_style import PAGE_STYLE
from langchain_sandbox.html.steps import draw_steps
from langchain_sandbox.html.summary import draw_figures, draw_head, draw_task, draw_words, name_status
from langchain_sandbox.html.timeline import draw_timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_WARNINGS: Final = 200

_HEAD: Final = Html(
    '<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n'
    '<meta name="referrer" content="no-referrer">\n'
)


def build_page(fields: Mapping[str, Any]) -> str:
    """Draw a result's report.

    Args:
        fields: A `SandboxResult` as plain JSON data.

    Returns:
        A whole HTML document. It needs no script, no network and no other file.

    Example:
        ```python
        Path("report.html").write_text(build_page(result.model_dump(mode="json")), encoding="utf-8")
        ```
    """
    sections: list[tuple[str, str, list[Html]]] = [
        ("warnings", "Warnings", _draw_warnings(fields["warnings"])),
        ("task", "Task", draw_task(fields)),
        ("words", "What the agent says", draw_words(fields)),
        ("answer", "Typed answer", draw_answer(fields["structured"])),
        ("timeline", "Timeline", draw_timeline(fields)),
        ("changes", "Changes", draw_changes(fields)),
        ("steps", "Steps and calls", draw_steps(fields)),
        ("evidence", "Evidence", draw_evidence(fields)),
        ("settings", "Settings", draw_settings(fields)),
        ("receipt", "Receipt", draw_receipt(fields)),
    ]
    there = [(name, title, parts) for name, title, parts in sections if parts]
    title = f"{name_status(fields['status'])} · {to_line(fields['receipt']['command'] or 'run')} {fields['run_id']}"
    body = tag(
        "body",
        "",
        draw_head(fields),
        _draw_contents([(name, title) for name, title, _ in there]),
        tag("main", "", draw_figures(fields), *(_draw_section(*section) for section in there)),
        tag(
            "footer", "", f"langchain-sandbox {to_line(fields['receipt']['package'])} · run {to_line(fields['run_id'])}"
        ),
    )
    head = tag("head", "", _HEAD, tag("title", "", to_line(title)), Html(f"<style>{PAGE_STYLE}</style>"))
    return f"<!DOCTYPE html>\n{tag('html', '', head, body, lang='en')}\n"


def _draw_contents(there: Sequence[tuple[str, str]]) -> Html:
    links = [tag("a", "", title, href=f"#{name}") for name, title in there]
    return tag("nav", "", Html(" ".join(links)), aria_label="Contents")


def _draw_section(name: str, title: str, parts: Sequence[Html]) -> Html:
    heading = tag("h2", "", title, id=f"{name}-title")
    return tag("section", "", heading, *parts, id=name, aria_labelledby=f"{name}-title")


def _draw_warnings(warnings: Sequence[str]) -> list[Html]:
    items = draw_all(warnings, _draw_warning, "warnings", _WARNINGS)
    return [tag("ul", "notes", *(tag("li", "", item) for item in items))] if items else []


def _draw_warning(warning: str) -> Html:
    return span("wide", to_line(warning, 2_000))
