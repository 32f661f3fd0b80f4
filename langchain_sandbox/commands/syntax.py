"""What OpenCode 1.18 takes for what in a command's text: its program is JavaScript, and so are its spaces."""

from __future__ import annotations

import re

SPACES = "\t\n\v\f\r \xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000\ufeff"
"""What JavaScript takes for white space; Python's own idea differs in a few characters."""

SHELL_MARK = "!`"
SHELL = re.compile(r"!`([^`]+)`")
"""A shell command, run before the model is asked."""

FILE = re.compile(rf"(?<![A-Za-z0-9_`])@(\.?[^{SPACES}`,.]*(?:\.[^{SPACES}`,.]+)*)")
"""A file to attach, or nothing but an @."""

PLACEHOLDER = re.compile(r"\$([0-9]+)")
"""The place of one word."""

WHOLE = "$ARGUMENTS"
"""The place of all words, as they were given."""

WORD = re.compile(rf"\[Image[{SPACES}]+[0-9]+\]|\"[^\"]*\"|'[^']*'|[^{SPACES}\"']+", re.IGNORECASE)
"""One word of the arguments, with its quotes."""


def places(template: str) -> list[int]:
    """The numbers of `$1` to `$n`, in the order of the text; all those beyond a hundred million count as that much."""
    return [int(digits.lstrip("0")[:9] or "0") for digits in PLACEHOLDER.findall(template)]
