"""The arguments of a command, as what a model may say in a call of its tool. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.commands.command import Argument, Command

_TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}


def build_arguments(command: Command) -> type[BaseModel]:
    """A model class with one field for each argument, and nothing beside them.

    The fields have numbers, and the arguments' names are their aliases: `from`, `schema` and `model_config` are good
    names for an argument, and no names for a field.
    """
    fields: dict[str, Any] = {_field(number): _describe(each) for number, each in enumerate(command.arguments)}
    return create_model(command.tool_name, __config__=ConfigDict(extra="forbid"), **fields)


def name_arguments(command: Command, values: Mapping[str, Any]) -> dict[str, Any]:
    """A call's values by the arguments' own names; what was not said, and has no default, is left out.

    Args:
        command: The command.
        values: By the names of the fields of `build_arguments`.
    """
    named = {each.name: values.get(_field(number)) for number, each in enumerate(command.arguments)}
    return {name: value for name, value in named.items() if value is not None}


def _field(number: int) -> str:
    return f"argument_{number}"


def _describe(argument: Argument) -> tuple[Any, Any]:
    kind: Any = Literal[argument.enum] if argument.enum else _TYPES[argument.type]
    described: Any = partial(Field, alias=argument.name, description=argument.description or None)
    if argument.required:
        return kind, described()
    return (kind, described(argument.default)) if argument.default is not None else (kind | None, described(None))
