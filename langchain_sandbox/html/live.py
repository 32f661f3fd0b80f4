"""A run that is under way, as a card for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from langchain_sandbox.html.amounts import format_seconds
from langchain_sandbox.html.card_style import CARD_STYLE
from langchain_sandbox.html.markup import WORDS, Html, row, span, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Sequence


class Doing(Protocol):
    """What a run is doing, as `Activity` tells it."""

    now: str
    steps: int
    tools: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int


def build_live_card(doing: Doing, *, run_id: str, seconds: float, lines: Sequence[str]) -> str:
    """Draw a run that is under way.

    Args:
        doing: What it does.
        run_id: The run's name.
        seconds: How long it has been going on.
        lines: What happened last, the oldest first.

    Returns:
        A fragment of HTML with a style of its own. It loads nothing and runs nothing.
    """
    head = row("row", span("status", "running"), span("wide mono", to_line(doing.now)))
    news = [span("line", f"{to_line(line)}\n") for line in lines]
    parts = [
        tag("div", "head busy", head),
        tag("div", "", tell_figures(doing, seconds)),
        tag("div", "", tag("pre", "news", *news)),
        tag("div", "foot faint", f"Interrupt the kernel to cancel it. · run {run_id}"),
    ]
    return _wrap(parts)


def build_note_card(status: str, message: str) -> str:
    """Draw a run of which there is no result.

    Args:
        status: What became of it, in a word.
        message: Why.
    """
    head = row("row", span("status", to_line(status)), span("wide", to_line(message, 5 * WORDS)))
    return _wrap([tag("div", "head bad", head)])


def tell_figures(doing: Doing, seconds: float) -> str:
    """The figures of a run that is under way, on one line."""
    tokens = f"{doing.prompt_tokens:,} tokens in, {doing.completion_tokens:,} out"
    counts = [(doing.steps, "step"), (doing.tools, "tool"), (doing.model_calls, "model call")]
    return " · ".join(
        [
            format_seconds(int(seconds)),
            *(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts),
            tokens,
        ]
    )


def _wrap(parts: Sequence[Html]) -> str:
    # MathJax, which notebooks run over all that they show, leaves elements of these two classes alone.
    return f"<style>{CARD_STYLE}</style>{tag('div', 'lc-sandbox tex2jax_ignore mathjax_ignore', *parts)}"
