"""Commands: which JSON Schemas their files may ask for."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from langchain_sandbox.commands.folder import DEFAULTS, load_commands
from langchain_sandbox.commands.front_matter import FrontMatterError
from langchain_sandbox.commands.schema import check_schema

EVERYTHING = {
    "title": "All",
    "description": "All that is taken",
    "type": ["object", "null"],
    "required": ["a"],
    "additionalProperties": {"type": "string"},
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 9.5, "exclusiveMinimum": -1, "exclusiveMaximum": 10},
        "b": {"type": "string", "minLength": 1, "maxLength": 9, "format": "date", "examples": ["2026-11-28"]},
        "c": {"type": "array", "items": {"enum": ["x", 1, None]}, "minItems": 0, "maxItems": 3, "default": []},
        "d": {"anyOf": [{"const": {"pattern": "is a value here"}}, {"oneOf": [{"type": "boolean"}]}]},
        "$ref": {"type": "object", "additionalProperties": False},
    },
}


def test_what_is_taken_is_valid_json_schema() -> None:
    check_schema(EVERYTHING, ("output",))
    check_schema({}, ("output",))
    jsonschema.Draft202012Validator.check_schema(EVERYTHING)


def test_the_schemas_of_our_own_commands_are_valid() -> None:
    commands, _ = load_commands([DEFAULTS])
    schemas = [command.output for command in commands.values() if command.output]
    assert len(schemas) == 2
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)


def nested(levels: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "place", "words"),
    [
        ([], (), "output must be a JSON Schema such as 'type: string', not []"),
        (True, (), "output must be a JSON Schema"),
        ({"$ref": "#"}, ("$ref",), "output has the keyword '$ref', which is not taken: write the schema out"),
        ({"$schema": "x"}, ("$schema",), "'$schema', which is not taken: leave it out; taken are additionalProperties"),
        ({"pattern": "(a+)+$"}, ("pattern",), "say the form in 'description', or list the values in 'enum'"),
        ({"uniqueItems": True}, ("uniqueItems",), "say it in 'description'"),
        ({"allOf": []}, ("allOf",), "write one schema with all of it"),
        ({"properties": []}, ("properties",), "output.properties must be names with a schema each"),
        ({"properties": {"a": "string"}}, ("properties", "a"), "output.properties.a must be a JSON Schema"),
        ({"items": [{}]}, ("items",), "output.items must be a JSON Schema"),
        ({"items": {"$defs": {}}}, ("items", "$defs"), "output.items has the keyword '$defs'"),
        ({"additionalProperties": 1}, ("additionalProperties",), "output.additionalProperties must be"),
        ({"anyOf": {}}, ("anyOf",), "output.anyOf must be a list of schemas"),
        ({"oneOf": []}, ("oneOf",), "output.oneOf must be a list of schemas"),
        ({"oneOf": [{}, {"not": {}}]}, ("oneOf", 1, "not"), "output.oneOf.1 has the keyword 'not'"),
        ({"type": "str"}, ("type",), "output.type must be one of object, array, string"),
        ({"type": []}, ("type",), "output.type must be one of"),
        ({"type": [["object"]]}, ("type",), "output.type must be one of"),
        ({"required": "a"}, ("required",), "output.required must be a list of names"),
        ({"required": [1]}, ("required",), "output.required must be a list of names"),
        ({"enum": []}, ("enum",), "output.enum must be a list of values"),
        ({"minimum": "1"}, ("minimum",), "output.minimum must be a number"),
        ({"maximum": True}, ("maximum",), "output.maximum must be a number"),
        ({"minLength": -1}, ("minLength",), "output.minLength must be a whole number from 0"),
        ({"maxItems": 1.5}, ("maxItems",), "output.maxItems must be a whole number from 0"),
        ({"title": 1}, ("title",), "output.title must be text"),
        (nested(17), ("items",) * 17, "is more than 16 levels deep"),
        ({"properties": {str(n): {} for n in range(501)}}, None, "more than 500 schemas"),
    ],
)
def test_what_is_not_taken_is_named_with_its_place(
    schema: Any, place: tuple[str | int, ...] | None, words: str
) -> None:
    with pytest.raises(FrontMatterError) as raised:
        check_schema(schema, ("output",))
    assert words in raised.value.reason
    if place is not None:
        assert raised.value.place == ("output", *place)


def test_just_deep_enough() -> None:
    check_schema(nested(16), ("output",))
