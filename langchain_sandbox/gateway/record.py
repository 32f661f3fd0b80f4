"""One relayed call of the model, as plain data. Standard library only: containers without a host read it, too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """What was seen of a call.

    Args:
        index: Counted from 0.
        started: When it began, by the machine's monotonic clock, which containers share with their host.
        status: HTTP status; `None` if there was no answer.
        first_byte: Seconds until the answer began.
        duration: Seconds in all.
        prompt_tokens: As the server counted them.
        completion_tokens: As the server counted them.
        finish_reason: Why the answer ended, if it came to its end.
        error: Code of what went wrong.
        waited: Seconds at its beginning in which others had their turn, as far as there is a limit of calls at once.
    """

    index: int
    started: float
    status: int | None = None
    first_byte: float | None = None
    duration: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None
    error: str | None = None
    waited: float = 0.0

    def describe(self) -> dict[str, int | float | str | None]:
        """The fields of the event `model_call`."""
        return {
            "index": self.index,
            "status": self.status,
            "first_byte": self.first_byte,
            "duration": self.duration,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "finish_reason": self.finish_reason,
            "error": self.error,
            "waited": self.waited,
        }
