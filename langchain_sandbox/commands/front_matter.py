"""A command's file: what its head says, in which lines, and the text below. As lenient as OpenCode is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

Place: TypeAlias = "tuple[str | int, ...]"
"""Where something is: the keys and indices that lead to it."""

_FENCE = "---"
_LANGUAGES = {"", "yaml", "yml"}  # OpenCode's parser would run what follows `---js`
_TOP_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*:\s*(.*)")
_OURS = {"arguments", "output"}  # never text, so never mended into text


class FrontMatterError(ValueError):
    """Something in a front matter cannot be used.

    Args:
        reason: Why, and what to do.
        place: What it is about.
        line: The line in the file, where the place does not tell it.
    """

    def __init__(self, reason: str, place: Place = (), *, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """What the head of a file says.

    Args:
        values: Its keys and values, plain JSON.
        lines: In which line of the file each of them begins.
        text: What follows it.
    """

    values: dict[str, Any]
    lines: dict[Place, int]
    text: str

    def line_of(self, place: Place) -> int | None:
        """The line of a place, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


def split(text: str) -> FrontMatter:
    """Tell a file's head from its text, and read the head.

    Args:
        text: The whole file.

    Raises:
        FrontMatterError: If there is a head and it cannot be used.
    """
    if not text.startswith(_FENCE) or text.startswith("----"):
        return FrontMatter(values={}, lines={}, text=text)
    first, _, rest = text.removeprefix(_FENCE).partition("\n")
    if first.strip() not in _LANGUAGES:
        msg = f"the front matter must be YAML, between two lines '---', not {shorten(first.strip())}"
        raise FrontMatterError(msg, line=1)
    # As OpenCode's parser has it, whatever begins with the fence closes.
    head, fence, below = f"\n{rest}".partition(f"\n{_FENCE}")
    if not fence:
        msg = "'---' opens a front matter here that no later line '---' closes"
        raise FrontMatterError(msg, line=1)
    values, lines = _read(head.removeprefix("\n"))
    return FrontMatter(values=values, lines=lines, text=below.removeprefix("\r").removeprefix("\n"))


def shorten(value: object) -> str:
    """A value from a file as it can stand in a message."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:60]}…"  # noqa: PLR2004 - about a line


def _read(head: str) -> tuple[dict[str, Any], dict[Place, int]]:
    from langchain_sandbox.commands.plain_yaml import read  # noqa: PLC0415 - most runs have no command, and no YAML

    try:
        return read(head)
    except FrontMatterError:
        mended = _mend(head)
        if mended == head:
            raise
    return read(mended)


def _mend(head: str) -> str:
    """Quote what OpenCode takes for text when a file is not quite YAML, such as `description: Review: fast`."""
    return "\n".join(map(_mend_line, head.split("\n")))


def _mend_line(line: str) -> str:
    found = _TOP_LINE.fullmatch(line.rstrip("\r"))
    if found is None or found[1] in _OURS:
        return line
    value = found[2].strip()
    if ":" not in value or value.startswith(("'", '"')):
        return line
    return f"{found[1]}: {json.dumps(value, ensure_ascii=False)}"
