"""Elements. Text becomes part of one only here, and is escaped here."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, TypeVar

from langchain_sandbox.untrusted import show_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORDS: Final = 400
"""Characters of what is one line."""
ITEMS: Final = 50
"""Items of a list that is no page of its own."""

_Item = TypeVar("_Item")


class Html(str):
    """Markup of our own. Any other text is escaped on its way into an element."""

    __slots__ = ()


def tag(name: str, css: str, *children: str, **attributes: str) -> Html:
    """An element.

    Args:
        name: The element's.
        css: Its class; none if empty.
        *children: What is in it, one after the other.
        **attributes: Words of our own, never of a result; `_` stands for `-`, and a last one is dropped.
    """
    inside = "".join(child if isinstance(child, Html) else html.escape(show_controls(child)) for child in children)
    given = {"class": css, **attributes} if css else attributes
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in given.items())
    return Html(f"<{name}{said}>{inside}</{name}>")


def span(css: str, *children: str) -> Html:
    """A part of a line."""
    return tag("span", css, *children)


def row(css: str, *parts: Html) -> Html:
    """Parts that stand on one line, if there is room."""
    # The spaces are for a page that has taken the style away, as notebooks do that they do not trust.
    return tag("div", css, Html(" ".join(parts)))


def fold(label: str, *children: str, css: str = "", state: str = "") -> Html:
    """What a click shows.

    Args:
        label: What is always seen.
        *children: What is shown.
        css: The class of the whole.
        state: `open` if it needs no click.
    """
    attributes = {"open": ""} if state == "open" else {}
    return tag("details", css, tag("summary", "", label), tag("div", "", *children), **attributes)


def table(css: str, columns: Sequence[str], rows: Sequence[Html]) -> Html:
    """A table.

    Args:
        css: Its class.
        columns: What stands above each.
        rows: What is in it; `rest_row` may be the last one.
    """
    head = tag("tr", "", *(tag("th", "", name, scope="col") for name in columns))
    return tag("table", css, tag("thead", "", head), tag("tbody", "", *rows))


def rest_row(left_out: int, name: str, columns: Sequence[str]) -> list[Html]:
    """A row that says how many are left out; none if none are.

    Args:
        left_out: How many.
        name: What they are called.
        columns: The table's.
    """
    if left_out <= 0:
        return []
    return [tag("tr", "", tag("td", "faint", f"… and {left_out:,} more {name}", colspan=str(len(columns))))]


def draw_all(items: Sequence[_Item], draw: Callable[[_Item], Html], name: str, most: int = ITEMS) -> list[Html]:
    """Draw the first ones, and say how many are left out.

    Args:
        items: What there is.
        draw: Draws one.
        name: What they are called.
        most: How many are drawn.
    """
    drawn = [draw(item) for item in items[:most]]
    return [*drawn, span("faint", f"… and {len(items) - most:,} more {name}")] if len(items) > most else drawn


def to_line(text: str, most: int = WORDS) -> str:
    """A text on one line of bounded length."""
    return cut(" ".join(text.split()), most)


def cut(text: str, most: int) -> str:
    """The beginning of a text, with a word about the rest."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
