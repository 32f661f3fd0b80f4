"""What a command's file declares: its front matter, key by key, made into a `Command`. Pure."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from typing import TYPE_CHECKING, Any, get_args

from langchain_sandbox.commands.arguments import check_places, clean_description, declare, derive
from langchain_sandbox.commands.command import Command
from langchain_sandbox.commands.front_matter import FrontMatter, FrontMatterError, shorten, split
from langchain_sandbox.commands.schema import check_schema
from langchain_sandbox.commands.syntax import SPACES
from langchain_sandbox.config import ChangesPolicy
from langchain_sandbox.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
MAX_NAME = 64
AGENTS = ("build", "plan", "general", "explore")
"""The agents of the pinned OpenCode that one can give a task to."""

_POLICIES = get_args(ChangesPolicy)
_KEYS = ("description", "agent", "model", "timeout", "changes", "arguments", "output", "subtask")
_ALIKE = 0.9
_MAX_MODEL = 200


def parse_command(name: str, content: bytes, *, source: str) -> Command:
    """Read a command's file.

    Args:
        name: As the file's place gives it.
        content: The file's bytes.
        source: The file, for messages.

    Raises:
        CommandError: If the name, the front matter or the text cannot be used.
    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        msg = f"{shorten(name)} is no name for a command: use letters, digits, '.', '_' and '-', at most {MAX_NAME}"
        raise CommandError(msg, source)
    matter: FrontMatter | None = None
    try:
        matter = split(_decode(content))
        return _build(name, matter, source=source, digest=hashlib.sha256(content).hexdigest())
    except FrontMatterError as error:
        line = error.line or (matter.line_of(error.place) if matter and error.place else None)
        raise CommandError(error.reason, source, line) from error


def _decode(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"byte {error.start} is not UTF-8; save the file as UTF-8"
        raise FrontMatterError(msg, line=content.count(b"\n", 0, error.start) + 1) from error
    if "\0" in text:
        msg = "there is a NUL; a command is text"
        raise FrontMatterError(msg, line=text.count("\n", 0, text.index("\0")) + 1)
    return text


def _build(name: str, matter: FrontMatter, *, source: str, digest: str) -> Command:
    template = matter.text.strip(SPACES)
    if not template:
        msg = "the command has no text below its front matter"
        raise FrontMatterError(msg, line=None)
    given = {key: value for key, value in matter.values.items() if value is not None}
    for key in given:
        _check_key(key)
    read: Callable[..., Any] = lambda key: _READERS[key](given[key]) if key in given else None  # noqa: E731
    arguments = derive(template)
    if "arguments" in given:
        arguments = declare(given["arguments"], ("arguments",))
        check_places(arguments, template, ("arguments",))
    if "output" in given:
        check_schema(given["output"], ("output",))
    read("subtask")
    return Command(
        name=name,
        template=template,
        source=source,
        digest=digest,
        description=clean_description(read("description") or ""),
        agent=read("agent") or "build",
        model=read("model") or None,
        timeout=read("timeout"),
        changes=read("changes"),
        output=given.get("output"),
        arguments=arguments,
    )


def _check_key(key: str) -> None:
    """A key that is nobody's is passed over, as OpenCode does; one that was meant to be ours is not."""
    if key in _KEYS:
        return
    meant = difflib.get_close_matches(key.lower().replace("_", ""), _KEYS, n=1, cutoff=_ALIKE)
    if meant:
        msg = f"there is no key {shorten(key)}; do you mean '{meant[0]}'?"
        raise FrontMatterError(msg, (key,))


def _text(key: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str):
            msg = f"'{key}' must be text, not {shorten(value)}; put it in quotes"
            raise FrontMatterError(msg, (key,))
        return value.strip()

    return read


def _agent(value: object) -> str:
    name = _text("agent")(value)
    if name and name not in AGENTS:
        msg = f"there is no agent {shorten(name)}: a repository's own are never loaded, so use {', '.join(AGENTS)}"
        raise FrontMatterError(msg, ("agent",))
    return name


def _model(value: object) -> str:
    name = _text("model")(value)
    if len(name) > _MAX_MODEL or not name.isprintable():
        msg = f"'model' must be a name such as provider/name, not {shorten(name)}"
        raise FrontMatterError(msg, ("model",))
    return name


def _subtask(value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"'subtask' must be true or false, not {shorten(value)}"
        raise FrontMatterError(msg, ("subtask",))
    return value


def _timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        msg = f"'timeout' must be seconds, more than 0, not {shorten(value)}"
        raise FrontMatterError(msg, ("timeout",))
    return float(value)


def _changes(value: object) -> Any:  # noqa: ANN401 - one of the policies
    if value not in _POLICIES:
        msg = f"'changes' must be one of {', '.join(_POLICIES)}, not {shorten(value)}"
        raise FrontMatterError(msg, ("changes",))
    return value


_READERS: dict[str, Callable[[object], Any]] = {
    "description": _text("description"),
    "agent": _agent,
    "model": _model,
    "subtask": _subtask,  # looked at and left: here every command is a task of its own
    "timeout": _timeout,
    "changes": _changes,
}
