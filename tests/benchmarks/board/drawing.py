"""Few words of SVG: a card that brings its own background, so that it reads well on any page."""

from __future__ import annotations

from html import escape
from typing import Literal

Anchor = Literal["start", "middle", "end"]

# One colour for each series, the same in both schemes: each has contrast enough to white and to nearly black.
COLOURS = ["#d1495b", "#2e86ab", "#2a9d6f", "#8d6cab"]

_STYLE = """\
<style>
.card { fill: #ffffff; stroke: #d0d7de }
text { fill: #1f2328; font: 13px sans-serif }
.quiet { fill: #59636e }
.rule { stroke: #d0d7de }
@media (prefers-color-scheme: dark) {
.card { fill: #161b22; stroke: #3d444d }
text { fill: #e6edf3 }
.quiet { fill: #9198a1 }
.rule { stroke: #3d444d }
}
</style>
"""


def card(*, width: int, height: int, title: str, parts: list[str]) -> str:
    """A whole picture."""
    words = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{words}">\n{_STYLE}'
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>\n'
        f"{text(16, 26, title)}{''.join(parts)}</svg>\n"
    )


def text(x: float, y: float, words: str, *, anchor: Anchor = "start", kind: str = "") -> str:
    """Words, whose baseline begins, has its middle or ends at a place."""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{of_kind}>{escape(words)}</text>\n'


def bar(x: float, y: float, *, width: float, height: float, colour: str) -> str:
    """A bar from a place to the right."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:g}" rx="2" fill="{colour}"/>\n'


def rule(*, left: float, right: float, y: float) -> str:
    """A thin line from left to right."""
    return f'<line class="rule" x1="{left:g}" y1="{y:g}" x2="{right:g}" y2="{y:g}"/>\n'


def curve(points: list[tuple[float, float]], colour: str) -> str:
    """A line through points, each of them a dot."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>\n' for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>\n{dots}'
