"""YAML, read so that no file can do harm or take long.

Taken are mappings, lists and plain values. What makes YAML dangerous or surprising is refused: anchors, aliases and
merge keys (a few lines that become gigabytes), tags, depth, a key twice. So PyYAML only tells the pieces, and what they
amount to is put together here, piece by piece.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import yaml

from langchain_sandbox.commands.front_matter import FrontMatterError, Place, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 16
MAX_VALUES = 2000

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,4})?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


def read(text: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """Read a front matter.

    Args:
        text: What is between its fences.

    Returns:
        Its keys and values, and in which line of the file each of them begins.

    Raises:
        FrontMatterError: If it is not YAML, not a mapping, or holds what is not taken.
    """
    return _Reader(text).read()


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
        except (ValueError, OverflowError) as error:
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
