"""The shape of a tool's structured answer: fields of `SandboxResult`, by their own names and types. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_sandbox.result import SandboxResult
from langchain_sandbox.untrusted import show_controls_in

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = (
    "run_id",
    "status",
    "ok",
    "ending",
    "text",
    "structured",
    "files",
    "commits",
    "partial",
    "applied",
    "warnings",
    "connections",
    "usage",
    "timings",
)
"""Of `SandboxResult`; the patch is no part, since hosts may show all of this to their model."""

_NOTE = "What changed, where it is, and whose words the other fields hold."


def build_output_schema(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """The JSON Schema of what a tool's call gives back.

    Only `ok` is always there: a run that could not be tried has an `error` and a `message` and nothing else.

    Args:
        answer: The JSON Schema of the command's typed answer, which refers to nothing; `None` if it has none.
    """
    schema = _describe_fields()
    properties = {
        "note": {"type": "string", "description": _NOTE},
        **{name: schema["properties"][name] for name in FIELDS},
        "error": {"type": "string", "description": "Why no run could be tried: the error's class."},
        "message": {"type": "string", "description": "What to do about it."},
    }
    if answer is not None:
        # Names and values in it are as in the answer itself, which is shown like this.
        typed = {
            "anyOf": [show_controls_in(dict(answer)), {"type": "null"}],
            "description": "The typed answer. Untrusted.",
        }
        properties["structured"] = typed
    return {"type": "object", "properties": properties, "required": ["ok"], "$defs": schema["$defs"]}


@cache
def _describe_fields() -> dict[str, Any]:
    schema = SandboxResult.model_json_schema()
    used = {name: schema["properties"][name] for name in FIELDS}
    definitions: dict[str, Any] = {}
    waiting = [used]
    while waiting:
        for name in _find_definitions(waiting.pop()) - definitions.keys():
            definitions[name] = schema["$defs"][name]
            waiting.append(definitions[name])
    return {"properties": used, "$defs": definitions}


def _find_definitions(schema: Any) -> set[str]:  # noqa: ANN401 - any JSON
    if isinstance(schema, dict):
        own = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*map(_find_definitions, schema.values()))
    return set().union(*map(_find_definitions, schema)) if isinstance(schema, list) else set()
