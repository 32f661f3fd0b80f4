"""Metrics of all runs of a `Sandbox`, by `on_event`: tokens of the model, seconds of the tools, endings.

A metrics library has counters for these; here they are plain ones, so that nothing has to be installed. With
`SANDBOX_MODEL_BASE_URL` set your model works, else a stand-in plays its part.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from langchain_sandbox import ModelEndpoint, Sandbox
from langchain_sandbox.testing import ScriptedModel, Turn

if TYPE_CHECKING:
    from langchain_sandbox import SandboxEvent


class Metrics:
    """Counts. One for many runs at once: what they have in common is kept under the run's and the call's name."""

    def __init__(self) -> None:
        self.tokens: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.uses: Counter[tuple[str, str]] = Counter()
        self.endings: Counter[str] = Counter()
        self._since: dict[tuple[str, str], float] = {}

    def __call__(self, event: SandboxEvent) -> None:
        """Take an event; called in the thread that waits for the run."""
        match event.type:
            case "model_call":
                self.tokens["in"] += event.prompt_tokens
                self.tokens["out"] += event.completion_tokens
                self.seconds["model"] += event.duration
            case "tool_started":
                self._since[event.run_id, event.call_id] = event.at
            case "tool_ended":
                began = self._since.pop((event.run_id, event.call_id), event.at)
                self.seconds[event.tool] += event.at - began
                self.uses[event.tool, event.status] += 1
            case "finished":
                self.endings[event.status] += 1
            case _:
                pass

    def print(self) -> None:
        """Print them, one on a line."""
        for kind, count in sorted(self.tokens.items()):
            print(f'tokens{{kind="{kind}"}} {count}')
        for name, seconds in sorted(self.seconds.items()):
            print(f'seconds{{of="{name}"}} {seconds:.3f}')
        for (tool, status), count in sorted(self.uses.items()):
            print(f'uses{{tool="{tool}",status="{status}"}} {count}')
        for status, count in sorted(self.endings.items()):
            print(f'runs{{status="{status}"}} {count}')


def play(messages: list[dict[str, Any]]) -> Turn:
    """A model that looks at a file which is not there, runs a command, and is done."""
    answered = sum(message["role"] == "tool" for message in messages)
    if answered == 0:
        return {"tool_calls": [{"name": "read", "arguments": {"filePath": "/run/ws/repo/missing.txt"}}]}
    if answered == 1:
        return {"tool_calls": [{"name": "bash", "arguments": {"command": "sleep 0.2", "description": "Wait"}}]}
    return {"text": "There is nothing to do."}


def main() -> int:
    """Run two tasks side by side; the exit code is 0 if all of both was counted."""
    metrics = Metrics()
    with ExitStack() as stack:
        if os.environ.get("SANDBOX_MODEL_BASE_URL"):
            endpoint = ModelEndpoint.from_env()
        else:
            endpoint = stack.enter_context(ScriptedModel(play)).endpoint
        sandbox = Sandbox(model=endpoint, on_event=metrics)
        results = sandbox.batch(["Look around.", "Look around once more."])
    metrics.print()
    spent = sum(result.usage.prompt_tokens + result.usage.completion_tokens for result in results)
    return 0 if metrics.tokens.total() == spent and metrics.endings.total() == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
