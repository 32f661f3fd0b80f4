"""The typed answer that a task may be asked for: its schema, and the reading of what comes back.

The host takes pydantic models and whatever else pydantic can describe. Where there is no pydantic, in the container
of the compose file, a JSON Schema does. OpenCode checks nothing of what a model answers, so all of it is checked here.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from langchain_sandbox.errors import SandboxConfigError

MAX_ANSWER = 1024 * 1024
"""Characters that an answer may have, written as JSON."""

_WRAPPER = "answer"
_DEFINITIONS = ("$defs", "definitions")  # as the drafts call them, new and old
_FROM_TOP = re.compile(r"#(?:$|/(?!\$defs/|definitions/))")
_REFERENCES = {"$ref", "$dynamicRef", "$recursiveRef"}
_MAX_DEPTH = 64
_MAX_WHOLE = 2**63  # what LangGraph's checkpoints can hold
_MAX_SCHEMA = 256 * 1024
_SHOWN = 8
_SHOWN_LENGTH = 300


class OutputError(ValueError):
    """An answer does not fit; `faults` says where and why, a line each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Output:
    """What a typed answer has to be. Make it with `Output.of`.

    Args:
        schema: JSON Schema of what the model gives, an object always: a tool's arguments are one.
    """

    schema: dict[str, Any]
    _parse: Callable[[Any], Any] = field(repr=False)
    _wrapped: bool = False

    @classmethod
    def of(cls, wanted: Any) -> Output:  # noqa: ANN401 - any type that can be described
        """Describe a type or take a JSON Schema.

        Args:
            wanted: A pydantic model, any other type that pydantic can describe, such as `list[str]`, or a JSON Schema.

        Raises:
            SandboxConfigError: If it is none of them, or a schema that refers to another place.

        Example:
            ```python
            Output.of(list[str]).read({"answer": ["a", "b"]})  # ['a', 'b']
            ```
        """
        if isinstance(wanted, Output):
            return wanted
        if isinstance(wanted, Mapping):
            return _of_schema(dict(wanted))
        return _of_type(wanted)

    def read(self, answer: Any) -> Any:  # noqa: ANN401 - any JSON goes in, and any type comes out
        """What an answer says.

        Args:
            answer: As it came; JSON data of any kind.

        Raises:
            OutputError: If it does not fit.
        """
        faults = _find_strange(answer)
        if faults:
            raise OutputError(faults)
        if not self._wrapped:
            return self._parse(answer)
        if not isinstance(answer, dict) or set(answer) != {_WRAPPER}:
            raise OutputError([f"it has to be an object with the one key {_WRAPPER!r}"])
        return self._parse(answer[_WRAPPER])


def _of_schema(schema: dict[str, Any]) -> Output:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - takes 0.1 s, and most runs want no typed answer
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - as above

    try:
        plain = json.loads(json.dumps(schema))
        _check_references(plain, plain)
        Draft202012Validator.check_schema(plain)
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path) or "its top"
        msg = f"output is no JSON Schema, at {place}: {error.message[:_SHOWN_LENGTH]}"
        raise SandboxConfigError(msg) from error
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"output is no JSON Schema: {error}"
        raise SandboxConfigError(msg) from error
    validator = Draft202012Validator(plain)

    def parse(answer: Any) -> Any:  # noqa: ANN401 - any JSON
        try:
            errors = sorted(validator.iter_errors(answer), key=lambda error: list(map(str, error.absolute_path)))
        except RecursionError as error:
            raise OutputError(["it is nested too deep"]) from error
        except Exception as error:  # a reference to nowhere is an error of another class in each version
            raise OutputError([_fault((), f"it cannot be checked: {error}")]) from error
        if errors:
            raise OutputError([_fault(error.absolute_path, error.message) for error in errors[:_SHOWN]])
        return answer

    return _make(plain, parse)


def _of_type(wanted: Any) -> Output:  # noqa: ANN401 - any type
    from pydantic import (  # noqa: PLC0415 - the container has none
        ConfigDict,
        PydanticSchemaGenerationError,
        PydanticUserError,
        TypeAdapter,
        ValidationError,
    )

    try:
        if isinstance(wanted, str) or inspect.isroutine(wanted):
            msg = "it is no type"  # pydantic would evaluate the one, and describe the other's arguments
            raise TypeError(msg)  # noqa: TRY301
        adapter: TypeAdapter[Any] = TypeAdapter(wanted)
        schema = adapter.json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")[:_SHOWN_LENGTH]
        msg = (
            "output is a pydantic model, another type that pydantic can describe, or a JSON Schema, "
            f"not {wanted!r}: {reason}."
        )
        raise SandboxConfigError(msg) from error
    plain = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))

    def parse(answer: Any) -> Any:  # noqa: ANN401 - any JSON
        try:
            value = adapter.validate_json(json.dumps(answer))
            value = list(value) if isinstance(value, Iterator) else value  # of Iterable[…], to be read more than once
            # A validator may make of it what cannot be kept: a text "1e999", read as a number, is infinite.
            faults = _find_strange(plain.dump_python(value, mode="json", warnings=False))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise OutputError([_fault(item["loc"], item["msg"]) for item in found[:_SHOWN]]) from error
        except Exception as error:  # the user's own validators may raise anything
            raise OutputError([_fault((), f"{type(error).__name__}: {error}")]) from error
        if faults:
            raise OutputError(faults)
        return value

    return _make(schema, parse)


def _make(schema: dict[str, Any], parse: Callable[[Any], Any]) -> Output:
    """Have an object at the top: what is none is the one property of another object."""
    size = len(json.dumps(schema))
    if size > _MAX_SCHEMA:
        msg = f"output's JSON Schema has {size} characters; at most {_MAX_SCHEMA} are taken."
        raise SandboxConfigError(msg)
    definitions = {key: schema[key] for key in _DEFINITIONS if isinstance(schema.get(key), dict)}
    group, _, name = str(schema.get("$ref", "")).removeprefix("#/").partition("/")
    if name in definitions.get(group, {}):  # of a model that refers to itself
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**deepcopy(definitions[group][name]), **beside}
    if schema.get("type") == "object":
        return Output(schema, parse)
    inner = {key: value for key, value in schema.items() if key not in {*definitions, "$schema"}}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {_WRAPPER: inner},
        "required": [_WRAPPER],
        "additionalProperties": False,
        **definitions,
    }
    return Output(_move_references(outer), parse, _wrapped=True)


def _move_references(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """A schema whose references from its top lead there again, now that another object is around it."""
    if isinstance(schema, dict):
        return {key: _move(value) if key == "$ref" else _move_references(value) for key, value in schema.items()}
    return [_move_references(item) for item in schema] if isinstance(schema, list) else schema


def _move(reference: Any) -> Any:  # noqa: ANN401 - a property may be called $ref
    if not isinstance(reference, str):
        return _move_references(reference)
    if not _FROM_TOP.match(reference):
        return reference
    return f"#/properties/{_WRAPPER}{reference[1:]}"


def _check_references(schema: Any, top: dict[str, Any]) -> None:  # noqa: ANN401 - any JSON
    """The validator would fetch what a schema refers to, from wherever that is, or fail where there is nothing."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in _REFERENCES and isinstance(value, str):
                _check_reference(key, value, top)
            if key == "$id" and isinstance(value, str):
                msg = "$id would give its references another meaning; leave it out"
                raise ValueError(msg)
            _check_references(value, top)
    elif isinstance(schema, list):
        for item in schema:
            _check_references(item, top)


def _check_reference(key: str, value: str, top: dict[str, Any]) -> None:
    if not value.startswith("#"):
        msg = f"{key} may refer to the schema itself only, as in '#/$defs/…', not to {value[:100]!r}"
        raise ValueError(msg)
    place: Any = top
    for step in unquote(value).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
            place = place[int(name)]
        elif isinstance(place, dict) and name in place:
            place = place[name]
        else:
            msg = f"{key} leads nowhere: {value[:100]!r}"
            raise ValueError(msg)


def _find_strange(answer: Any) -> list[str]:  # noqa: ANN401 - any JSON
    """What no JSON document of a sane size would hold: it could not be kept, or read back."""
    stack = [(answer, 0)]
    size = 0
    while stack:
        value, depth = stack.pop()
        if depth > _MAX_DEPTH:
            return ["it is nested too deep"]
        if isinstance(value, dict):
            stack += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            stack += [(item, depth + 1) for item in value]
        elif isinstance(value, str):
            size += len(value)
            if not value.isascii() and value != value.encode("utf-8", "replace").decode("utf-8"):
                return ["a text in it holds half of a character"]
        elif isinstance(value, float) and not math.isfinite(value):
            return ["a number in it is not finite"]
        elif isinstance(value, int) and abs(value) >= _MAX_WHOLE:
            return ["a number in it is too big"]
        size += 2
        if size > MAX_ANSWER:
            return [f"it is longer than {MAX_ANSWER} characters"]
    return []


def _fault(path: Any, message: str) -> str:  # noqa: ANN401 - a sequence of either library's making
    place = "/".join(str(step) for step in path)
    words = f"{place or 'the answer'}: {message}"
    if len(words) <= _SHOWN_LENGTH:
        return words
    # A message begins with the value, however long, and ends with what is wrong with it.
    half = _SHOWN_LENGTH // 2 - 1
    return f"{words[:half]}…{words[-half:]}"
