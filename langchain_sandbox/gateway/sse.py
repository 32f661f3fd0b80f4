"""Reads along as a model's answer streams by: is it whole, is it valid, what did it cost. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_MAX_LINE = 8 * 1024 * 1024
_MAX_TOKENS = 10**12  # of a call; a count without end could not even be written down


class AnswerError(Exception):
    """The stream is not what a chat completion looks like; `code` names how."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Usage:
    """Tokens of one call, as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


class AnswerReader:
    """Takes a streamed answer in pieces and gives on only whole, valid lines."""

    def __init__(self) -> None:
        self._partial = b""
        self.usage = Usage()
        self.finish_reason: str | None = None
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return the ones that may be given on.

        Raises:
            AnswerError: If a line is not a valid chunk, or is the server's word of an error.
        """
        whole, newline, rest = (self._partial + data).rpartition(b"\n")
        if len(rest) > _MAX_LINE:
            msg = "the model server sent a line without end"
            raise AnswerError(msg, code="malformed_answer")
        self._partial = rest
        for line in whole.split(b"\n"):
            self._read(line.rstrip(b"\r"))
        return whole + newline

    def finish(self) -> None:
        """The server has closed the answer.

        Raises:
            AnswerError: If it was not complete.
        """
        if not self.done and self.finish_reason is None:
            msg = "the model server closed its answer before it was complete"
            raise AnswerError(msg, code="answer_cut")

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        payload = line[5:].strip()
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            chunk = json.loads(payload)
        except (ValueError, RecursionError) as error:
            msg = f"the model server sent a chunk that is not JSON: {error}"
            raise AnswerError(msg, code="malformed_answer") from error
        if not isinstance(chunk, dict):
            msg = "the model server sent a chunk that is not a JSON object"
            raise AnswerError(msg, code="malformed_answer")
        if chunk.get("error"):
            msg = f"the model server broke off: {str(chunk['error'])[:500]}"
            raise AnswerError(msg, code="error_in_answer")
        self._read_chunk(chunk)

    def _read_chunk(self, chunk: dict[str, Any]) -> None:
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            reason = choices[0].get("finish_reason")
            self.finish_reason = reason if isinstance(reason, str) and reason else self.finish_reason
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = parse_usage(usage)


def parse_usage(usage: dict[str, Any]) -> Usage:
    """Read a server's count; what is not a number counts as nothing."""

    def number(name: str) -> int:
        value = usage.get(name)
        return min(value, _MAX_TOKENS) if type(value) is int and value > 0 else 0

    return Usage(number("prompt_tokens"), number("completion_tokens"))
