"""Which ending it was: one ordered table over the evidence, first match wins.

The order is the argument: what we did ourselves explains all that follows from it, what the gateway saw explains
what OpenCode says about it, and OpenCode's own word comes last, since the container is hostile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.result import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a run ended as it did; the result's field of the same name, as plain data."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the decision may rest on."""

    cancelled: bool = False
    begun: bool = True
    finished: bool = False
    timed_out: float | None = None
    failure: tuple[str, str] | None = None
    stalled: str | None = None
    link_broken: str | None = None
    engine_lost: bool = False
    oom: bool = False
    exit_code: int | None = None
    full: list[str] = field(default_factory=list)
    reported: bool = False
    error: tuple[str, str] | None = None
    finish: str | None = None
    answered_calls: int = 0
    model_finish: str | None = None
    answer: str | None = None
    """Where a typed answer was wanted: what is wrong with it, and nothing if it was accepted."""


Rule: TypeAlias = "tuple[Status, Callable[[Facts], bool], Callable[[Facts], Ending]]"

_SHOW_LOG = "The container's last words are in result.evidence.stderr; please report it if they say nothing to you."
_AGAIN = "Try again; if it happens again, report it."
_SHOW_KILLED = (
    "137 is a process that was killed: by `docker kill`, by an engine that was stopped, or by the host for memory. "
    "Try again; what was sent until then is kept."
)
_KILLED = 137
_BUILD = "The image belongs to another version: `langchain-sandbox build`, and build images derived from it again."
_VERSIONS = {"opencode_version", "protocol_version"}
_UNREACHABLE = {"model_unreachable"}
ON_HOST = " on the host"
"""Stands behind the name of a place that is none of the container's."""
LINK_GONE = 125
"""What the program in the container exits with when its end of the link is closed, or what comes is damaged."""


def decide(facts: Facts) -> tuple[Status, Ending]:
    """The ending that the facts amount to."""
    for status, applies, describe in RULES:
        if applies(facts):
            return status, describe(facts)
    raise AssertionError  # the last rule always applies


def _failure(facts: Facts, hint: str) -> Ending:
    code, message = facts.failure or ("", "")
    return Ending(code=code, message=_to_sentence(message), hint=hint)


def _error(facts: Facts, hint: str) -> Ending:
    code, message = facts.error or ("", "")
    return Ending(code=code, message=message or code, hint=hint)


def _crash(facts: Facts) -> Ending:
    code, message = facts.error or ("", "")
    return Ending(code=code, message=_to_sentence(message) or code, hint=_BUILD if code in _VERSIONS else _SHOW_LOG)


def _to_sentence(clause: str) -> str:
    return clause if not clause else f"{clause[0].upper()}{clause[1:].rstrip('.')}."


def _errored(facts: Facts, *names: str) -> bool:
    return facts.error is not None and facts.error[0] in names


def _no_space(facts: Facts) -> Ending:
    places = ", ".join(facts.full) or "the workspace"
    hint = "Raise Limits.workspace, Limits.home or Limits.tmp, or have git ignore what the task does not need."
    if any(place.endswith(ON_HOST) for place in facts.full):
        hint = "Make some there, or have TMPDIR name a folder that has more."
    return Ending(code="out_of_space", message=f"There was no room left in {places}.", hint=hint)


RULES: list[Rule] = [
    (
        "cancelled",
        lambda f: f.cancelled and not f.begun,
        lambda _: Ending(code="not_begun", message="The run was cancelled before it had begun."),
    ),
    (
        "cancelled",
        lambda f: f.cancelled,
        lambda _: Ending(
            code="cancelled", message="The run was cancelled.", hint="What was changed until then is kept."
        ),
    ),
    (
        "model_unreachable",
        lambda f: f.failure is not None and f.failure[0] in _UNREACHABLE,
        lambda f: _failure(
            f, "Start the model server, or look at its address: SANDBOX_MODEL_BASE_URL, or the chat model's own."
        ),
    ),
    (
        "budget_exceeded",
        lambda f: f.failure is not None and f.failure[0] == "budget_exceeded",
        lambda f: _failure(f, "Raise the limit, or give a smaller task."),
    ),
    (
        "loop",
        lambda f: f.failure is not None and f.failure[0] == "loop",
        lambda f: _failure(
            f,
            "What was changed until then is kept. Say in the task what to do instead, or serve a stronger model; where "
            "the same is meant to be done so often, raise Limits.repeats.",
        ),
    ),
    (
        "context_overflow",
        lambda f: f.failure is not None and f.failure[0] == "context_overflow",
        lambda f: _failure(f, "Serve the model with a longer context (vLLM: --max-model-len), or give a smaller task."),
    ),
    (
        "stalled",
        lambda f: f.failure is not None and f.failure[0] == "answer_not_taken",
        lambda f: _failure(f, _AGAIN),
    ),
    (
        "model_error",
        lambda f: f.failure is not None and f.failure[0] == "model_exception",
        lambda f: _failure(f, "Try the chat model by itself: model.bind_tools([...]).invoke('Hello')."),
    ),
    (
        "model_error",
        lambda f: f.failure is not None,
        lambda f: _failure(f, "Look at the model server's log."),
    ),
    (
        "timeout",
        lambda f: f.timed_out is not None,
        lambda f: Ending(
            code="timeout",
            message=f"The run took longer than its {f.timed_out:g} s.",
            hint="Raise timeout=, or give a smaller task. What was changed until then is kept.",
        ),
    ),
    (
        "stalled",
        lambda f: f.stalled is not None,
        lambda f: Ending(code="stalled", message=f.stalled or "", hint=_AGAIN),
    ),
    (
        "engine_error",
        lambda f: f.engine_lost,
        lambda _: Ending(
            code="engine_lost",
            message="The container engine went away during the run.",
            hint="Look at the engine's log (journalctl -u docker). The next run removes what this one left.",
        ),
    ),
    (
        "protocol_error",
        lambda f: f.link_broken is not None,
        lambda f: Ending(code="link_broken", message=f"The link broke: {f.link_broken}.", hint=_SHOW_LOG),
    ),
    (
        "oom",
        lambda f: f.oom and not f.reported,
        lambda _: Ending(
            code="oom",
            message="The container ran out of memory.",
            hint="Raise Limits.memory, or give a smaller task.",
        ),
    ),
    ("out_of_space", lambda f: _errored(f, "workspace") and bool(f.full), _no_space),
    (
        "protocol_error",
        lambda f: not f.reported and f.exit_code == LINK_GONE,
        lambda _: Ending(
            code="link_broken",
            message="The link broke: the program in the container got no more of it, or nothing that it understands.",
            hint=_SHOW_LOG,
        ),
    ),
    (
        "crashed",
        lambda f: not f.reported,
        lambda f: Ending(
            code="no_result",
            message=f"The container ended with {f.exit_code} and gave no result.",
            hint=_SHOW_KILLED if f.exit_code == _KILLED else _SHOW_LOG,
        ),
    ),
    ("out_of_space", lambda f: f.error is not None and bool(f.full), _no_space),
    (
        "oom",
        lambda f: f.oom and _errored(f, "opencode_gone"),
        lambda _: Ending(
            code="oom",
            message="OpenCode was killed for memory.",
            hint="Raise Limits.memory, or give a smaller task.",
        ),
    ),
    (
        "crashed",
        lambda f: _errored(
            f,
            "opencode_gone",
            "opencode_start",
            "opencode_version",
            "opencode_api",
            "workspace",
            "protocol_version",
        ),
        _crash,
    ),
    (
        "context_overflow",
        lambda f: _errored(f, "ContextOverflowError"),
        lambda f: _error(f, "Serve the model with a longer context (vLLM: --max-model-len), or give a smaller task."),
    ),
    (
        "incomplete",
        lambda f: bool(f.answer) and (f.error is None or _errored(f, "StructuredOutputError")),
        lambda f: Ending(
            code="invalid_output",
            message=f"The typed answer does not fit what was asked for: {f.answer}",
            hint="Ask for less, describe the fields, or serve a stronger model. What was changed until then is kept.",
        ),
    ),
    (
        "incomplete",
        lambda f: _errored(f, "MessageOutputLengthError", "StructuredOutputError"),
        lambda f: _error(f, "Give a smaller task."),
    ),
    (
        "incomplete",  # whoever ends a run for us comes first in this table: this was nobody of ours
        lambda f: _errored(f, "MessageAbortedError"),
        lambda f: _error(f, "A program in the container has aborted OpenCode's work. Look at what the agent ran."),
    ),
    (
        "model_error",
        lambda f: f.error is not None,
        lambda f: _error(f, "Look at the model server's log: it refused what OpenCode asked."),
    ),
    (
        # No word from inside counts here: whoever gave the commands says that there are no more.
        "completed",
        lambda f: f.finished,
        lambda _: Ending(code="finished", message="The shell was finished by its caller."),
    ),
    (
        # The gateway has to agree: a program inside can say "stop" as well as OpenCode can.
        "completed",
        lambda f: f.finish == "stop" and f.answered_calls > 0 and f.model_finish == "stop" and f.answer is None,
        lambda _: Ending(code="completed", message="The agent says that it has done the task."),
    ),
    (
        # A typed answer is a call of a tool, and the last thing that the agent does.
        "completed",
        lambda f: f.answer == "" and f.answered_calls > 0 and f.model_finish in {"tool_calls", "stop"},
        lambda _: Ending(code="completed", message="The agent has given the answer that was asked for."),
    ),
    (
        "incomplete",
        lambda _: True,
        lambda f: Ending(
            code=f"finish_{f.finish or 'unknown'}",
            message=f"The agent stopped before it was done (it says {f.finish!r}, the model {f.model_finish!r}).",
            hint="An answer may have been cut at the model's output limit. Try again, or give a smaller task.",
        ),
    ),
]
