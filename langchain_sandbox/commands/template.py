"""The prompt that a command becomes with its arguments. Pure.

Words behind a command, as people type them, are treated as OpenCode treats them, text within text. Values by name come
from programs and models: each is put in as it is, once, and is never a shell command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_sandbox.commands.arguments import derive, misfit, read, write
from langchain_sandbox.commands.declaration import NAME
from langchain_sandbox.commands.front_matter import shorten
from langchain_sandbox.commands.syntax import PLACEHOLDER, SHELL_MARK, SPACES, WHOLE, WORD, places
from langchain_sandbox.config import MAX_TASK, MIB
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.commands.command import Argument, Command

_CALL = re.compile(r"/(\S+)(?:\s+(.*))?", re.DOTALL)
_SLOT = re.compile(r"\$(?:([0-9]+)|ARGUMENTS)")
_HARMLESS = re.compile(r"[\w@%+=:,./^~ -]*")


def parse_call(task: str) -> tuple[str, str] | None:
    """Tell a command from plain words.

    Args:
        task: What was asked for.

    Returns:
        The command's name and the words behind it in a task such as `/refactor-audit src`; `None` if it is no such
        thing.
    """
    found = _CALL.fullmatch(task.strip(SPACES))
    if found is None or not NAME.fullmatch(found[1]):
        return None
    return found[1], (found[2] or "").strip(SPACES)


def render(command: Command, arguments: str | Mapping[str, Any] | None = None) -> str:
    r"""The command's prompt. Its `` !`shell` `` and `@files` are expanded inside the container, later.

    Args:
        command: The command.
        arguments: Words, as people write them behind a command: `$ARGUMENTS` is all of them as they are, `$1` to `$n`
            are single ones without their quotes, and the highest takes whatever is left. Or values by name: they are
            `$1` to `$n` in the order of the command's arguments. A text without any placeholder gets them at its end.

    Raises:
        SandboxConfigError: If they do not fit: unknown, missing, of another type, not in the list, or not allowed in a
            shell command. It names the command and what it takes.

    Example:
        ```python
        render(command, "src 'my docs'")
        render(command, {"scope": "src", "depth": 2})
        ```
    """
    if isinstance(arguments, Mapping):
        return _fill_values(command, *_from_values(command, arguments))
    return _fill_words(command, *_from_words(command, arguments or ""))


def _from_words(command: Command, text: str) -> tuple[list[str], str]:
    """The words of a text, and the text; if arguments are declared, checked, and with what is usual for the rest."""
    _require_text(command, "what is behind it", text)
    words = [_unquote(word) for word in WORD.findall(text)]
    declared = command.arguments
    if declared == derive(command.template):
        return words, text
    if words and not declared:
        raise _error(command, f"{shorten(text)} is too much")
    if len(words) > len(declared):
        words[len(declared) - 1 :] = [" ".join(words[len(declared) - 1 :])]
    named = zip(declared, words, strict=False)
    added = _bind(command, {argument.name: read(argument, word) for argument, word in named})[len(words) :]
    return words + added, _join(words + added) if any(added) else text


def _from_values(command: Command, values: Mapping[str, Any]) -> tuple[list[str], str]:
    """The values of all arguments in their order, and all of them as one text."""
    bound = _bind(command, values)
    return bound, _join(bound)


def _bind(command: Command, values: Mapping[str, Any]) -> list[str]:
    known = {argument.name for argument in command.arguments}
    for name in values:
        if name not in known:
            raise _error(command, f"{shorten(name)} is no argument of it")
    bound = []
    for argument in command.arguments:
        value = values.get(argument.name)
        if value is None:
            if argument.required:
                raise _error(command, f"'{argument.name}' is missing")
            value = argument.default
        elif reason := misfit(argument, value):
            raise _error(command, reason)
        text = write(value)
        _require_text(command, f"'{argument.name}'", text)
        bound.append(text)
    return bound


def _fill_words(command: Command, words: Sequence[str], text: str) -> str:
    """OpenCode's way: `$n` first, then `$ARGUMENTS`, also where it came in by a word."""
    template = command.template
    numbers = places(template)
    highest = max(numbers, default=0)
    upcoming = iter(numbers)

    def fill(_: re.Match[str]) -> str:
        number = next(upcoming)
        if not 0 < number <= len(words):
            return ""  # OpenCode says `undefined` for $0
        return " ".join(words[number - 1 :]) if number == highest else words[number - 1]

    _require_room(command, template, len(numbers), sum(map(len, words)) + len(words))
    filled = PLACEHOLDER.sub(fill, template)
    if not numbers and WHOLE not in template and text.strip(SPACES):
        return f"{filled}\n\n{text}".strip(SPACES)
    _require_room(command, filled, filled.count(WHOLE), len(text))
    return filled.replace(WHOLE, text).strip(SPACES)


def _fill_values(command: Command, values: Sequence[str], whole: str) -> str:
    """Each value in its place, once. None of them makes a shell command, or more of one than the template has."""
    template = command.template
    if not _SLOT.search(template) and whole.strip(SPACES):
        template += f"\n\n{WHOLE}"
    slots = list(_SLOT.finditer(template))
    _require_room(command, template, len(slots), max(map(len, [*values, whole])))
    text, position, in_shell = "", 0, False
    for slot in slots:
        before = template[position : slot.start()]
        position = slot.end()
        in_shell = _leaves_open(before, in_shell)
        put_in = _value(slot, values, whole)
        if in_shell:
            _require_harmless(command, [put_in] if slot[1] else values)
        text = _append(_append(text, before), put_in.replace(SHELL_MARK, "! `"))
    return _append(text, template[position:]).strip(SPACES)


def _value(slot: re.Match[str], values: Sequence[str], whole: str) -> str:
    if slot[1] is None:
        return whole
    (number,) = places(slot[0])
    return values[number - 1] if 0 < number <= len(values) else ""


def _leaves_open(piece: str, in_shell: bool) -> bool:  # noqa: FBT001 - a state, not a switch
    """Whether a shell command has begun and not ended, behind one more piece of the template."""
    if in_shell:
        _, tick, piece = piece.partition("`")
        if not tick:
            return True
    _, mark, begun = piece.rpartition(SHELL_MARK)
    return bool(mark) and "`" not in begun


def _append(text: str, piece: str) -> str:
    """Put a piece behind a text so that no shell command comes from where they meet."""
    return f"{text} {piece}" if text.endswith("!") and piece.startswith("`") else text + piece


def _join(words: Sequence[str]) -> str:
    """All words as one text that OpenCode would take apart into the same words; one alone is that text."""
    given = list(words)
    while given and not given[-1]:
        given.pop()
    return given[0] if len(given) == 1 else " ".join(map(_quote, given))


def _quote(word: str) -> str:
    if word and not any(letter in SPACES or letter in "\"'" for letter in word):
        return word
    return f"'{word}'" if '"' in word and "'" not in word else f'"{word}"'


def _unquote(word: str) -> str:
    return (
        word.removeprefix('"').removesuffix('"') if word.startswith('"') else word.removeprefix("'").removesuffix("'")
    )


def _require_text(command: Command, what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _error(command, f"{what} is not valid text") from error
    if "\0" in text:
        raise _error(command, f"{what} has a NUL")


def _require_harmless(command: Command, values: Sequence[str]) -> None:
    for value in values:
        if not _HARMLESS.fullmatch(value):
            reason = f"{shorten(value)} would be part of a shell command, where only letters, digits, spaces and "
            raise _error(command, f"{reason}_ @ % + = : , . / ^ ~ - are allowed")


def _require_room(command: Command, template: str, slots: int, length: int) -> None:
    if len(template) + slots * length > MAX_TASK:
        raise _error(command, f"its arguments are too long; a prompt may have {MAX_TASK // MIB} MiB")


def _error(command: Command, reason: str) -> SandboxConfigError:
    takes = ", ".join(map(_usage, command.arguments)) or "nothing"
    return SandboxConfigError(f"/{command.name}: {reason}. It takes {takes}.")


def _usage(argument: Argument) -> str:
    kind = "one of " + ", ".join(map(write, argument.enum)) if argument.enum else argument.type
    return f"{argument.name} ({kind}{'' if argument.required else ', optional'})"
