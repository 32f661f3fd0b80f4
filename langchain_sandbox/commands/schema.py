"""Which JSON Schemas a command's file may ask for.

A repository may be a stranger's, and its schema is applied to answers on the host: whatever could make that take long
(a pattern, a reference to itself) is not taken, and neither is what smaller models cannot be held to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_sandbox.commands.front_matter import FrontMatterError, Place, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_DEPTH = 16
MAX_SCHEMAS = 500

_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")

# What to do instead, where it is not plain.
_INSTEAD = {
    "$ref": "write the schema out where it is needed",
    "$defs": "write the schema out where it is needed",
    "definitions": "write the schema out where it is needed",
    "allOf": "write one schema with all of it",
    "not": "list what is allowed, by 'enum' or 'anyOf'",
    "if": "use 'anyOf' with one schema for each case",
    "pattern": "say the form in 'description', or list the values in 'enum'",
    "patternProperties": "give 'additionalProperties' a schema",
    "prefixItems": "use an object with a property for each",
    "multipleOf": "use the type 'integer', or say it in 'description'",
    "uniqueItems": "say it in 'description'",
}


def check_schema(schema: object, place: Place) -> None:
    """Look through a schema.

    Args:
        schema: As the front matter has it.
        place: Where it stands there.

    Raises:
        FrontMatterError: If it is not one, or holds what is not taken; it names the keyword, the place and what to
            use instead.
    """
    waiting = [(schema, place)]
    count = 0
    while waiting:
        value, where = waiting.pop()
        count += 1
        if count > MAX_SCHEMAS:
            msg = f"there are more than {MAX_SCHEMAS} schemas in this one; ask for less"
            raise FrontMatterError(msg, where)
        waiting.extend(_check(value, where, depth=len(where) - len(place)))


def _check(schema: object, place: Place, *, depth: int) -> list[tuple[object, Place]]:
    """One schema without those inside, which are returned."""
    if not isinstance(schema, dict):
        msg = f"{_name(place)} must be a JSON Schema such as 'type: string', not {shorten(schema)}"
        raise FrontMatterError(msg, place)
    if depth > MAX_DEPTH:
        msg = f"{_name(place)} is more than {MAX_DEPTH} levels deep"
        raise FrontMatterError(msg, place)
    inside: list[tuple[object, Place]] = []
    for keyword, value in schema.items():
        where = (*place, keyword)
        if keyword in _INNER:
            inside.extend(_INNER[keyword](value, where))
        elif keyword in _PLAIN:
            fits, what = _PLAIN[keyword]
            if not fits(value):
                msg = f"{_name(where)} must be {what}, not {shorten(value)}"
                raise FrontMatterError(msg, where)
        else:
            instead = _INSTEAD.get(keyword, f"leave it out; taken are {', '.join(sorted({*_INNER, *_PLAIN}))}")
            msg = f"{_name(place)} has the keyword {shorten(keyword)}, which is not taken: {instead}"
            raise FrontMatterError(msg, where)
    return inside


def _properties(value: object, place: Place) -> list[tuple[object, Place]]:
    if not isinstance(value, dict):
        msg = f"{_name(place)} must be names with a schema each, not {shorten(value)}"
        raise FrontMatterError(msg, place)
    return [(schema, (*place, name)) for name, schema in value.items()]


def _alternatives(value: object, place: Place) -> list[tuple[object, Place]]:
    if not isinstance(value, list) or not value:
        msg = f"{_name(place)} must be a list of schemas, not {shorten(value)}"
        raise FrontMatterError(msg, place)
    return [(schema, (*place, index)) for index, schema in enumerate(value)]


def _one(value: object, place: Place) -> list[tuple[object, Place]]:
    return [(value, place)]


def _one_or_none(value: object, place: Place) -> list[tuple[object, Place]]:
    return [] if isinstance(value, bool) else [(value, place)]


def _is_type(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: object) -> bool:
    return isinstance(value, list) and bool(value)


def _is_anything(_: object) -> bool:
    return True


# The keywords with schemas inside, and what those are.
_INNER: Mapping[str, Callable[[object, Place], list[tuple[object, Place]]]] = {
    "properties": _properties,
    "additionalProperties": _one_or_none,
    "items": _one,
    "anyOf": _alternatives,
    "oneOf": _alternatives,
}
# All others, with what their values must be.
_PLAIN: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or a list of them"),
    "required": (_is_texts, "a list of names"),
    "enum": (_is_list, "a list of values"),
    "const": (_is_anything, "a value"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (_is_number, "a number")),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (_is_count, "a whole number from 0")),
    **dict.fromkeys(("title", "description", "format"), (_is_text, "text; put it in quotes")),
    "default": (_is_anything, "a value"),
    "examples": (_is_list, "a list of values"),
}


def _name(place: Place) -> str:
    """A place as people write it: `output.properties.files.items`."""
    return ".".join(map(str, place))
