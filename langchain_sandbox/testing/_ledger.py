"""Who asked, and what comes next: requests are recorded and get their turns in one order."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.testing.script import check_fault, check_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_sandbox.testing.script import Fault, Script, Turn


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A chat request as it arrived.

    Attributes:
        path: The path that was asked for, `/v1/chat/completions`.
        headers: The headers, with names in lower case.
        body: The decoded JSON body.
        received_at: When its last byte had come in, in seconds of `time.monotonic()`.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    received_at: float

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far, in OpenAI's form."""
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages


class ScriptFailedError(Exception):
    """The script had no turn for a request; the text is what the client is told."""


class Ledger:
    """Keeps the requests and gives each its turn. Safe to use from any thread.

    Args:
        script: Turns, or a function that makes them. It is called for one request at a time.
        fault: A fault of the whole server; requests are recorded, but take no turn.

    Raises:
        SandboxConfigError: If a turn or the fault cannot be played.
    """

    def __init__(self, script: Script, fault: Fault | None) -> None:
        check_fault(fault)
        self.fault = fault
        self._take = script if callable(script) else _in_order(script)
        self._requests: list[RecordedRequest] = []
        self._errors: list[BaseException] = []
        # Two locks: a script function may look at the requests while it holds its turn.
        self._turn_lock = threading.Lock()
        self._lists_lock = threading.Lock()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests until now, in the order in which they got their turns."""
        with self._lists_lock:
            return list(self._requests)

    @property
    def errors(self) -> list[BaseException]:
        """What the script raised until now."""
        with self._lists_lock:
            return list(self._errors)

    def take(self, request: RecordedRequest) -> tuple[int, Turn]:
        """Record a request and take its turn.

        Returns:
            The request's number, counted from 1, and the turn that answers it.

        Raises:
            ScriptFailedError: If the script is used up, raised, or returned no turn.
        """
        with self._turn_lock:
            with self._lists_lock:
                self._requests.append(request)
                number = len(self._requests)
            if self.fault is not None:
                return number, {"fault": self.fault}
            try:
                # A copy, so that a function that edits the messages does not edit the record.
                turn = self._take(copy.deepcopy(request.messages))
                check_turn(turn)
            except BaseException as error:
                # Not only Exception: `pytest.fail` in a script function must reach the test as well.
                with self._lists_lock:
                    self._errors.append(error)
                raise ScriptFailedError(_explain(error)) from error
        return number, turn


def _in_order(turns: Sequence[Turn]) -> Callable[[list[dict[str, Any]]], Turn]:
    try:
        script = list(turns)  # a copy: what the test does with its list later changes nothing
    except TypeError as error:
        msg = f"A script must be a sequence of turns or a function that makes one, not {turns!r}."
        raise SandboxConfigError(msg) from error
    for turn in script:
        check_turn(turn)
    waiting = iter(script)

    def take(_: list[dict[str, Any]]) -> Turn:
        turn = next(waiting, None)
        if turn is None:
            msg = (
                f"The script of {len(script)} turns is used up and one more request came. Add a turn to it, "
                "or give ScriptedModel a function of the messages; its .requests show what was asked."
            )
            raise SandboxConfigError(msg)
        return turn

    return take


def _explain(error: BaseException) -> str:
    if isinstance(error, SandboxConfigError):
        return str(error)
    return f"The script function raised {type(error).__name__}: {error}"
