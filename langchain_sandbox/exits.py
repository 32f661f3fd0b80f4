"""The exit codes of every program of ours, in one place: scripts depend on them, so they stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_sandbox.result import Status

COMPLETED = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 3
MODEL = 4
LIMIT = 5
NOT_APPLIED = 6
CANCELLED = 130
UNREAD = 141

EXIT_OF: dict[Status, int] = {
    "completed": COMPLETED,
    "incomplete": FAILED,
    "crashed": FAILED,
    "protocol_error": FAILED,
    "engine_error": UNAVAILABLE,
    "model_error": MODEL,
    "model_unreachable": MODEL,
    "context_overflow": MODEL,
    "budget_exceeded": LIMIT,
    "loop": LIMIT,
    "stalled": LIMIT,
    "timeout": LIMIT,
    "oom": LIMIT,
    "out_of_space": LIMIT,
    "cancelled": CANCELLED,
}

EXITS_TEXT = f"""\
exit codes:
  {COMPLETED:3}  done: the run completed, no check found an error
  {FAILED:3}  not done: the run was incomplete or crashed, a check found an error
  {USAGE:3}  what was asked for cannot work: an argument, a setting, the task or the workspace
  {UNAVAILABLE:3}  the container engine or the sandbox image is not there, or went away
  {MODEL:3}  the model: unreachable, in error, or its context too short
  {LIMIT:3}  a limit: time, tokens or calls, memory, disk, or a run that stood still
  {NOT_APPLIED:3}  the changes could not be applied or reverted, so nothing was touched
  {CANCELLED:3}  cancelled, by Ctrl-C or SIGTERM
  {UNREAD:3}  whoever read the output has gone"""
