"""Columns on standard output: whole in a pipe, and cut at the window's edge on a terminal."""

from __future__ import annotations

import shutil
import sys

from rich.cells import cell_len, set_cell_size

from langchain_sandbox.cli.terminal import Colour, is_screen, paint
from langchain_sandbox.narration import to_line

Cell = tuple[str, Colour | None]

_GAP = 2


def write_table(heads: list[str], rows: list[list[Cell]], *, width: int | None) -> list[str]:
    """The lines of a table. What has no room at its right end is cut.

    Args:
        heads: Names of the columns.
        rows: The cells, whose texts may be anything.
        width: Columns of the window; `None` for as many as it takes.
    """
    table: list[list[Cell]] = [[(head, "bold") for head in heads]]
    table += [[(to_line(text), colour) for text, colour in row] for row in rows]
    widths = [max(cell_len(line[place][0]) for line in table) for place in range(len(heads))]
    lines = []
    for cells in table:
        line, at = "", 0
        for (text, colour), size in zip(cells, widths, strict=True):
            room = size if width is None else min(size, width - at)
            if room <= 0:
                break
            shown = crop(text, room)
            line += paint(shown, colour, sys.stdout) + " " * (size + _GAP - cell_len(shown))
            at += size + _GAP
        lines.append(line.rstrip())
    return lines


def crop(text: str, width: int) -> str:
    """As much of a text as has room in so many columns."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def window_width() -> int | None:
    """Columns of the terminal that standard output ends on; `None` where it ends on none."""
    return shutil.get_terminal_size().columns if is_screen(sys.stdout) else None
