"""What a command's file says, and the prompt that it becomes with its arguments. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_sandbox.commands.command import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

_FENCE = "---"
_FIELD = re.compile(r"([A-Za-z_][\w-]*)\s*:(?:\s+(.*?))?\s*")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*")
_CALL = re.compile(r"/(\S+)(?:\s+(.*))?", re.DOTALL)
_PLACEHOLDER = re.compile(r"\$(\d+)")
_ARGUMENT = re.compile(r"\[Image\s+\d+\]|\"[^\"]*\"|'[^']*'|[^\s\"']+", re.IGNORECASE)
_TRUE = {"true", "yes", "on"}


class CommandError(ValueError):
    """A command's file cannot be used; the message names it and says why."""


def parse_command(name: str, text: str, *, source: str) -> Command:
    """Read a command's file.

    Args:
        name: As the file's place gives it.
        text: The file's content.
        source: The file, for messages.

    Raises:
        CommandError: If the name or the front matter cannot be used.
    """
    if not _NAME.fullmatch(name):
        msg = f"{source}: {name!r} is no name for a command; use letters, digits, '.', '_' and '-'."
        raise CommandError(msg)
    fields, template = _split(text, source)
    if not template.strip():
        msg = f"{source}: the command has no text below its front matter."
        raise CommandError(msg)
    return Command(
        name=name,
        template=template.strip(),
        source=source,
        description=fields.get("description", ""),
        agent=fields.get("agent") or "build",
        subtask=fields.get("subtask", "").lower() in _TRUE,
    )


def parse_call(task: str) -> tuple[str, str] | None:
    """The command's name and the arguments in a task such as `/refactor-audit src`; `None` if it is no such thing."""
    found = _CALL.fullmatch(task.strip())
    if found is None or not _NAME.fullmatch(found[1]):
        return None
    return found[1], (found[2] or "").strip()


def render(command: Command, arguments: str | Mapping[str, Any] | None) -> str:
    """The command's prompt: placeholders filled in as OpenCode fills them.

    `$ARGUMENTS` is all of them as they were given; `$1` to `$n` are single ones, with quotes taken off, and the
    highest takes whatever is left. A text without any placeholder gets the arguments at its end.
    """
    if not isinstance(arguments, str):
        arguments = " ".join(str(value) for value in (arguments or {}).values())
    words = [_unquote(word) for word in _ARGUMENT.findall(arguments)]
    places = [int(number) for number in _PLACEHOLDER.findall(command.template)]
    last = max(places, default=0)

    def fill(match: re.Match[str]) -> str:
        index = int(match[1]) - 1
        if not 0 <= index < len(words):
            return ""
        return " ".join(words[index:]) if index + 1 == last else words[index]

    text = _PLACEHOLDER.sub(fill, command.template)
    if places or "$ARGUMENTS" in command.template:
        return text.replace("$ARGUMENTS", arguments).strip()
    return f"{text}\n\n{arguments}".strip()


def _split(text: str, source: str) -> tuple[dict[str, str], str]:
    """Front matter and the text below it. Of YAML only plain `key: value` lines are read; others are passed over."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != _FENCE:
        return {}, text
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == _FENCE:
            return fields, "\n".join(lines[number + 1 :])
        found = _FIELD.fullmatch(line)
        if found is not None:
            fields[found[1]] = _unquote(found[2] or "")
    msg = f"{source}: line 1 opens a front matter with '---' that no later line closes."
    raise CommandError(msg)


def _unquote(word: str) -> str:
    return (
        word.removeprefix('"').removesuffix('"') if word.startswith('"') else word.removeprefix("'").removesuffix("'")
    )
