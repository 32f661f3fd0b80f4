"""The reference shows pydantic's classes as what they are: a list of fields, or a constructor that is made of them.

griffe reads the sources and imports nothing. Without this it would show `Field(default=None, description=...)` as a
field's value, and would miss the arguments that a class's docstring lists.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from collections.abc import Iterator

_KIND = "Which kind it is."
_ARGUMENT = re.compile(r"^    (\w+): ", re.MULTILINE)


class Fields(griffe.Extension):
    """Reads fields as pydantic does."""

    def on_attribute_instance(self, *, node: ast.AST | griffe.ObjectNode, attr: griffe.Attribute, **_: Any) -> None:  # noqa: ANN401 - griffe's own
        """Take the description and the default out of `Field(...)`."""
        call = node.value if isinstance(node, ast.AnnAssign) else None
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "Field":
            return
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        description = given.get("description")
        if isinstance(description, ast.Constant):
            attr.extra["field"]["description"] = str(description.value)
        default, factory = given.get("default", call.args[0] if call.args else None), given.get("default_factory")
        if factory is not None:
            attr.value = f"{ast.unparse(factory)}()"
        else:
            attr.value = ast.unparse(default) if default is not None else None

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:  # noqa: ANN401 - griffe's own
        """Give the classes whose arguments are fields the constructor that pydantic gives them."""
        for found in _classes(pkg):
            if found.docstring is None or _is_dataclass(found):
                continue
            chain = [found, *_bases(found)]
            fields = {name: field for each in reversed(chain) for name, field in each.members.items()}
            names = _ARGUMENT.findall(found.docstring.value.partition("Args:\n")[2].partition("\n\n")[0])
            if names and _takes_fields(found):
                _add_constructor(found, {name: fields[name] for name in names if name in fields})
            elif not names and any(str(base) == "BaseModel" for each in chain for base in each.bases):
                _list_fields(found.docstring, [field for name, field in fields.items() if not name.startswith("_")])


def _list_fields(docstring: griffe.Docstring, members: list[Any]) -> None:
    """Have a class's fields listed in its docstring, before an example."""
    described = [(each, _KIND if each.name == "type" else each.extra["field"].get("description")) for each in members]
    lines = [f"    {each.name} ({each.annotation}): {words}" for each, words in described if words]
    if not lines:
        return
    before, example, after = docstring.value.partition("\n\nExample:")
    docstring.value = "\n".join([before, "", "Attributes:", *lines]) + example + after


def _is_dataclass(found: griffe.Class) -> bool:
    return any(str(decorator.value).startswith("dataclass") for decorator in found.decorators)


def _takes_fields(found: griffe.Class) -> bool:
    """Whether the constructor is pydantic's, or passes what it does not name on to pydantic's."""
    own = found.members.get("__init__")
    return own is None or any(each.kind is griffe.ParameterKind.var_keyword for each in own.parameters)


def _add_constructor(made: griffe.Class, fields: dict[str, Any]) -> None:
    kind = griffe.ParameterKind.keyword_only
    parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
    parameters += [
        griffe.Parameter(name, annotation=field.annotation, kind=kind, default=field.value)
        for name, field in fields.items()
    ]
    made.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(*parameters), parent=made))


def _classes(module: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    for member in module.members.values():
        if member.is_alias:
            continue
        if isinstance(member, griffe.Class):
            yield member
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _classes(member)


def _bases(found: griffe.Class) -> list[griffe.Class]:
    try:
        return list(found.mro())
    except ValueError:
        return []
