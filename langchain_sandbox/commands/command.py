"""One command, as it was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.config import ChangesPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a command."""

    name: str
    type: str = "string"
    description: str = ""
    enum: tuple[Any, ...] = ()
    default: Any = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command."""

    name: str
    template: str
    source: str
    digest: str = ""
    description: str = ""
    agent: str = "build"
    model: str | None = None
    timeout: float | None = None
    changes: ChangesPolicy | None = None
    output: Mapping[str, Any] | None = None
    arguments: tuple[Argument, ...] = ()
    subtask: bool = False

    @property
    def tool_name(self) -> str:
        """As a tool."""
        return self.name.replace("/", "-").replace(".", "-")
