"""What a command takes: as its file declares it, or as its text lets one guess; and whether values fit. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, get_args

from langchain_sandbox.commands.command import Argument, ArgumentType
from langchain_sandbox.commands.front_matter import FrontMatterError, Place, shorten
from langchain_sandbox.commands.syntax import WHOLE, places
from langchain_sandbox.untrusted import show_controls, strip_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ARGUMENTS = 20

_MAX_DESCRIPTION = 1024
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN = {"runtime", "tool_call_id", "timeout"}  # LangChain's and our own, where a command is a tool
_KEYS = {"name", "type", "description", "enum", "default", "required"}
_TYPES = get_args(ArgumentType)
_CLASSES: dict[ArgumentType, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def declare(value: object, place: Place) -> tuple[Argument, ...]:
    """Read `arguments:` of a front matter.

    Args:
        value: A list of names, a list of mappings, or a mapping from names to mappings.
        place: Where it stands.

    Raises:
        FrontMatterError: If it is none of these, or an argument cannot be as it says.
    """
    entries: Iterable[tuple[Place, object, object]]
    if isinstance(value, list):
        entries = [
            ((*place, index), item.get("name") if isinstance(item, dict) else item, item)
            for index, item in enumerate(value)
        ]
    elif isinstance(value, dict):
        entries = [((*place, name), name, {} if item is None else item) for name, item in value.items()]
    else:
        msg = f"'arguments' must be a list of names or of mappings with a name each, not {shorten(value)}"
        raise FrontMatterError(msg, place)
    found: dict[str, Argument] = {}
    for where, name, item in entries:
        argument = _argument(name, item if isinstance(item, dict) or item != name else {}, where)
        if argument.name in found:
            msg = f"there are two arguments with the name '{argument.name}'"
            raise FrontMatterError(msg, where)
        found[argument.name] = argument
    if len(found) > MAX_ARGUMENTS:
        msg = f"there are {len(found)} arguments; at most {MAX_ARGUMENTS} are taken"
        raise FrontMatterError(msg, place)
    return tuple(found.values())


def derive(template: str) -> tuple[Argument, ...]:
    """What a text without a declaration takes: `arg1` to `argn` for `$1` to `$n`, or else one for all of it."""
    highest = max(places(template), default=0)
    if not 0 < highest <= MAX_ARGUMENTS:  # "costs $100" is no sign of a hundred arguments
        return (
            Argument(
                name="arguments",
                description="What is put in for $ARGUMENTS." if WHOLE in template else "What is added to the prompt.",
                default="",
                required=False,
            ),
        )
    described = [f"What is put in for ${number}" for number in range(1, highest + 1)]
    described[-1] += ", and whatever follows"
    return tuple(
        Argument(name=f"arg{number}", description=f"{words}.") for number, words in enumerate(described, start=1)
    )


def check_places(arguments: tuple[Argument, ...], template: str, place: Place) -> None:
    """See that what is declared has its place in the text, and what is in the text is declared.

    Args:
        arguments: As declared.
        template: The command's text.
        place: Where the declaration stands.

    Raises:
        FrontMatterError: If something would be lost.
    """
    numbers = set(places(template)) - {0}
    highest = max(numbers, default=0)
    if highest > len(arguments):
        msg = f"the text has ${highest}, which would stay empty: only {len(arguments)} are declared"
        raise FrontMatterError(msg, place)
    if not numbers or WHOLE in template:
        return
    for number, argument in enumerate(arguments, start=1):
        if number not in numbers:
            msg = f"the text has neither ${number} nor {WHOLE}, so '{argument.name}' would be lost"
            raise FrontMatterError(msg, place)


def clean_description(text: str) -> str:
    """A description as calling models and terminals may see it: of bounded length, and with nothing hidden in it."""
    cleaned = strip_controls(text.strip())
    return cleaned if len(cleaned) <= _MAX_DESCRIPTION else f"{cleaned[: _MAX_DESCRIPTION - 1]}…"


def misfit(argument: Argument, value: object) -> str | None:
    """Why a value is none for this argument; `None` if it is one.

    Args:
        argument: The argument.
        value: The value, of any type.
    """
    right = isinstance(value, _CLASSES[argument.type]) and (isinstance(value, bool) == (argument.type == "boolean"))
    if not right or (isinstance(value, float) and not math.isfinite(value)):
        return f"'{argument.name}' must be of type {argument.type}, not {shorten(value)}"
    if argument.enum and value not in argument.enum:
        return f"'{argument.name}' must be one of {', '.join(map(write, argument.enum))}, not {shorten(value)}"
    return None


def read(argument: Argument, word: str) -> Any:  # noqa: ANN401 - any of the plain types
    """The value that a word stands for; the word itself where it stands for none, so that `misfit` finds it."""
    if argument.type == "boolean":
        return {"true": True, "false": False}.get(word.lower(), word)
    if argument.type == "string":
        return word
    try:
        return int(word) if argument.type == "integer" else float(word)
    except ValueError:
        return word


def write(value: object) -> str:
    """A value as it stands in a prompt."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _argument(name: object, item: object, place: Place) -> Argument:
    if not isinstance(item, dict):
        msg = f"an argument is a name, or a mapping with a name, type and so on, not {shorten(item)}"
        raise FrontMatterError(msg, place)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
        taken = f"; {', '.join(sorted(_TAKEN))} are taken" if name in _TAKEN else ""
        msg = f"{shorten(name)} is no name for an argument: use a lower case letter, then letters, digits and _{taken}"
        raise FrontMatterError(msg, place)
    for key in item:
        if key not in _KEYS:
            msg = f"the argument '{name}' has the key {shorten(key)}; there are {', '.join(sorted(_KEYS))}"
            raise FrontMatterError(msg, (*place, key))
    given = {key: value for key, value in item.items() if value is not None}
    argument = Argument(
        name=name,
        type=_checked(given, "type", "string", place),
        description=clean_description(_checked(given, "description", "", place)),
        enum=tuple(_checked(given, "enum", [], place)),
        default=given.get("default"),
        required=_checked(given, "required", "default" not in given, place),
    )
    if argument.required and argument.default is not None:
        msg = f"the argument '{name}' is required and has a default; it can be one of both"
        raise FrontMatterError(msg, (*place, "required"))
    for index, value in enumerate(argument.enum):
        _fit(argument, value, "enum", (*place, "enum", index))
    if argument.default is not None:
        _fit(argument, argument.default, "default", (*place, "default"))
    return argument


def _fit(argument: Argument, value: object, key: str, place: Place) -> None:
    reason = misfit(argument, value)
    if isinstance(value, str) and show_controls(value) != value:  # people and models are offered it
        reason = f"'{argument.name}' has characters that nobody sees: {show_controls(value)!r}"
    if reason is not None:
        quotes = "; put text in quotes" if argument.type == "string" else ""
        msg = f"in '{key}', {reason}{quotes}"
        raise FrontMatterError(msg, place)


def _checked(given: dict[str, Any], key: str, usual: Any, place: Place) -> Any:  # noqa: ANN401 - any JSON
    value = given.get(key, usual)
    if key == "type":
        right, what = value in _TYPES, f"one of {', '.join(_TYPES)}"
    elif key == "enum":
        right, what = isinstance(value, list), "a list of values"
    else:
        right, what = (
            isinstance(value, type(usual)),
            {"description": "text; put it in quotes"}.get(key, "true or false"),
        )
    if not right:
        msg = f"an argument's {key} must be {what}, not {shorten(value)}"
        raise FrontMatterError(msg, (*place, key))
    return value
