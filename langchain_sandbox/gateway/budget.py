"""How many model calls and tokens a run may use. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_sandbox.config import Limits
    from langchain_sandbox.gateway.sse import Usage


class Budget:
    """Counts what a run uses."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.calls = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def take_call(self) -> str | None:
        """Count one more call, or say which limit it would pass."""
        if self._limits.model_calls is not None and self.calls >= self._limits.model_calls:
            return f"the run has used its {self._limits.model_calls} model calls (Limits.model_calls)"
        tokens = self.prompt_tokens + self.completion_tokens
        if self._limits.tokens is not None and tokens >= self._limits.tokens:
            return f"the run has used {tokens} of its {self._limits.tokens} tokens (Limits.tokens)"
        self.calls += 1
        return None

    def add(self, usage: Usage) -> None:
        """Count the tokens of a finished call."""
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
