"""The YAML at the head of a command's file, read so that no file can do harm or take long.

Taken are mappings, lists and plain values. What makes YAML dangerous or surprising is refused: anchors, aliases and
merge keys (a few lines that become gigabytes), tags, depth, a key twice. So PyYAML only tells the pieces, and what they
amount to is put together here, piece by piece.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

Place: TypeAlias = "tuple[str | int, ...]"
"""Where something is: the keys and indices that lead to it."""

MAX_DEPTH = 16
MAX_VALUES = 2000

_FENCE = "---"
_LANGUAGES = {"", "yaml", "yml"}  # OpenCode's parser would run what follows `---js`
_TOP_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*:\s*(.*)")
_OURS = {"arguments", "output"}  # never text, so never mended into text
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,4})?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


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
    try:
        return _Reader(head).read()
    except FrontMatterError:
        mended = _mend(head)
        if mended == head:
            raise
    return _Reader(mended).read()


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


class _Reader:
    """Puts one document together from the pieces that PyYAML tells."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: dict[Place, int] = {}
        self._count = 0

    def read(self) -> tuple[dict[str, Any], dict[Place, int]]:
        try:
            value = self._document(yaml.parse(self._text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            msg = f"this is not YAML: {error.problem or error.context}"
            raise FrontMatterError(msg, line=_line(error.problem_mark or error.context_mark)) from error
        except yaml.reader.ReaderError as error:
            msg = "there is a character that YAML does not allow"
            raise FrontMatterError(msg, line=self._text.count("\n", 0, error.position) + 2) from error
        except ValueError as error:
            if isinstance(error, FrontMatterError):
                raise
            msg = "this is not YAML: an escape or a number in it does not exist"  # PyYAML leaves these to Python
            raise FrontMatterError(msg) from error
        if value is None:
            return {}, {}
        if not isinstance(value, dict):
            msg = f"a front matter is lines such as 'description: …', not {shorten(value)}"
            raise FrontMatterError(msg, line=2)
        return value, self._lines

    def _document(self, events: Iterator[yaml.Event]) -> Any:  # noqa: ANN401 - any JSON
        value = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self._count:
                    msg = "there is a second document; a front matter has one"
                    raise FrontMatterError(msg, line=_line(event.start_mark))
                value = self._value(next(events), events, ())
        return value

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], place: Place) -> Any:  # noqa: ANN401 - any JSON
        self._check(event, place)
        self._lines[place] = _line(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            return _plain(event.value) if event.style is None else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                items.append(self._value(inner, events, (*place, len(items))))
            return items
        found: dict[str, Any] = {}
        while not isinstance(inner := next(events), yaml.MappingEndEvent):
            key = self._key(inner, place)
            if key in found:
                msg = f"{shorten(key)} stands here twice"
                raise FrontMatterError(msg, line=_line(inner.start_mark))
            found[key] = self._value(next(events), events, (*place, key))
            # A value that is not there begins in the line behind it.
            self._lines[*place, key] = _line(inner.start_mark)
        return found

    def _key(self, event: yaml.Event, place: Place) -> str:
        self._check(event, place)
        if not isinstance(event, yaml.ScalarEvent) or (event.value == "<<" and event.style is None):
            msg = "a key must be plain text, and '<<' is not taken"
            raise FrontMatterError(msg, line=_line(event.start_mark))
        return str(event.value)

    def _check(self, event: yaml.Event, place: Place) -> None:
        self._count += 1
        reason = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            reason = "anchors and aliases (& and *) are not taken; write it out, or put text in quotes"
        elif getattr(event, "tag", None) is not None:
            reason = "tags (!) are not taken; put text in quotes"
        elif len(place) > MAX_DEPTH:
            reason = f"this is more than {MAX_DEPTH} levels deep"
        elif self._count > MAX_VALUES:
            reason = f"there are more than {MAX_VALUES} values in this front matter"
        elif not _is_text(getattr(event, "value", "")):
            reason = "an escape here is half a character"
        if reason:
            raise FrontMatterError(reason, line=_line(event.start_mark))


def _line(mark: Any) -> int:  # noqa: ANN401 - PyYAML has two classes of marks, or nothing
    return int(mark.line) + 2 if mark else 2  # marks count from 0, and the fence is above


def _plain(text: str) -> Any:  # noqa: ANN401 - any of the plain values
    """A value without quotes, by the rules of JSON: `no` and `12:30` are text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
