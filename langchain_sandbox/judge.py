"""Whether a typed answer will do, and what to say to the model if it does not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_sandbox.output import OutputError
from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from langchain_sandbox.output import Output

REPAIRS = 2
"""How often a model is asked to mend its answer."""

_NONE = "there was none"
_NOTHING = "you ended without calling the tool StructuredOutput"


class Judge:
    """Hears the answers of one run, one after the other.

    Args:
        output: What is wanted.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._heard = 0
        self.accepted = False
        self.value: Any = None
        """What the accepted answer says."""
        self.faults: list[str] = []
        """What is wrong with the last answer that was heard."""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of what is wanted."""
        return self._output.schema

    @property
    def verdict(self) -> str:
        """What is wrong, in words; nothing if an answer was accepted."""
        return "" if self.accepted else "; ".join(self.faults) or _NONE

    @property
    def complaint(self) -> str:
        """What a user should know of an answer that is asked for again."""
        return f"The typed answer did not fit and was asked for again: {self.verdict}"

    def hear(self, answer: Any) -> str | None:  # noqa: ANN401 - any JSON
        """Take an answer.

        Args:
            answer: As it came; `None` if there was none.

        Returns:
            What the model is to be told, or `None` if that was its last chance or the answer will do.
        """
        if self.accepted:
            return None
        self._heard += 1
        self.faults = [_NOTHING] if answer is None else self._read(answer)
        self.accepted = not self.faults
        if self.accepted or self._heard > REPAIRS:
            return None
        return _build_repair(self.faults)

    def _read(self, answer: Any) -> list[str]:  # noqa: ANN401 - any JSON
        try:
            self.value = self._output.read(answer)
        except OutputError as error:
            return [strip_controls(fault) for fault in error.faults]
        return []


def _build_repair(faults: list[str]) -> str:
    listed = "\n".join(f"- {fault}" for fault in faults)
    return (
        f"Your final answer cannot be used:\n{listed}\n"
        "Call the tool StructuredOutput once more, with the whole answer and these places mended. "
        "Do nothing else; the work itself need not be repeated."
    )
