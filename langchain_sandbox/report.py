"""What was seen of one run, collected while it lasts, and the fields of the result that it amounts to.

Plain data throughout: the host makes a `SandboxResult` of the fields, and the program in a container that has no
host (`compose/`) prints them.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from langchain_sandbox._version import __version__
from langchain_sandbox.engine.base import ContainerEnd
from langchain_sandbox.engine.scratch import NO_ROOM
from langchain_sandbox.outcome import Facts, decide
from langchain_sandbox.untrusted import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.config import Limits
    from langchain_sandbox.egress_config import Egress
    from langchain_sandbox.gateway.record import CallRecord
    from langchain_sandbox.judge import Judge
    from langchain_sandbox.transcript import Step
    from langchain_sandbox.workspace.git import GitError
    from langchain_sandbox.workspace.inbound.intake import Intake
    from langchain_sandbox.workspace.outbound.commits import Commit
    from langchain_sandbox.workspace.outbound.patch import Patch

PATCH_INLINE_LIMIT = 256 * 1024
REPOSITORY = "/run/ws/repo"
"""Where the copy lies in the container; `agent.opencode` says the same, and is not for the host."""

_KILLED = (
    "A program in the container was killed for memory, so what it was to do may not be done. Raise Limits.memory if it "
    "needs more."
)
_MAX_TEXT = 4 * 1024 * 1024
_MAX_LOG = 8_000
_MAX_WORDS = 2_000
_MAX_PLACES = 10
_MAX_SKIPPED = 100
_MAX_NAME = 200
_MAX_TASK = 16 * 1024
_MAX_CALLS = 1_000


class Totals(Protocol):
    """What a run has used of the model."""

    calls: int
    prompt_tokens: int
    completion_tokens: int


class Observer(Protocol):
    """Whoever relays the run's model calls, as far as the result tells of them."""

    @property
    def records(self) -> Sequence[CallRecord]:
        """The calls, in the order in which they began."""

    @property
    def budget(self) -> Totals:
        """What they used."""

    @property
    def refused(self) -> list[str]:
        """Requests that were not let through."""


class Passport(Protocol):
    """Whoever lets the container's programs out, as far as the result tells of it."""

    @property
    def described(self) -> list[dict[str, Any]]:
        """The attempts, in the order in which they ended."""


class Failure(Protocol):
    """Why the run cannot go on: a stable name, and words for people."""

    @property
    def code(self) -> str:
        """Such as `model_unreachable`."""

    @property
    def message(self) -> str:
        """A clause that says what happened."""


@dataclass(slots=True)
class Report:
    """Filled in by the run. Times are seconds since `began`."""

    began: float
    marks: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    claimed_files: list[str] = field(default_factory=list)
    claimed_before: Sequence[str] = ()  # in the run that this one goes on from
    commits: list[Commit] = field(default_factory=list)
    gateway: Observer | None = None
    egress: Passport | None = None
    claim: dict[str, Any] | None = None
    judge: Judge | None = None
    command: Command | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    runtime: str = ""
    end: ContainerEnd = field(default_factory=ContainerEnd)
    cleanup_confirmed: bool = True
    cleanup_pending: bool = False
    stderr: str = ""
    cancelled: bool = False
    begun: bool = True  # whether there is, or was, a container
    finished: bool = False
    timed_out: float | None = None
    stalled: str | None = None
    failure: Failure | None = None
    link_broken: str | None = None

    def clock(self) -> float:
        """Seconds since the run began."""
        return round(time.monotonic() - self.began, 4)

    def mark(self, moment: str) -> None:
        """Note when something happened first."""
        self.marks.setdefault(moment, self.clock())

    def note_loss(self, error: OSError | GitError, *, place: str) -> None:
        """Put in place of OpenCode's word that changes could not be kept: that is how the run ended.

        Args:
            error: Why they could not.
            place: Where they are put meanwhile; it is full if that was the reason.
        """
        loss: dict[str, Any] = {"error": {"name": "workspace", "message": f"The changes could not be kept: {error}"}}
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            loss["full"] = [place]
        self.claim = (self.claim or {}) | loss

    def left_inside(self) -> list[str]:
        """Changes that the program in the container says it could not send, and why."""
        changes = (self.claim or {}).get("changes")
        skipped = changes.get("skipped") if isinstance(changes, dict) else None
        items = [item for item in skipped[:_MAX_SKIPPED] if isinstance(item, dict)] if isinstance(skipped, list) else []
        return [f"{clean_text(i.get('path'), _MAX_NAME)!r}: {clean_text(i.get('reason'), _MAX_NAME)}" for i in items]

    def last_warnings(self) -> list[str]:
        """What the caller should know once the container has ended, and what is no ending."""
        return [_KILLED] if self.end.oom and decide(self.facts())[0] != "oom" else []

    def facts(self) -> Facts:
        """What the ending is decided by."""
        claim = self.claim or {}
        error = claim.get("error")
        full = claim.get("full")
        done = [call for call in self.gateway.records if call.finish_reason] if self.gateway else []
        return Facts(
            cancelled=self.cancelled,
            begun=self.begun,
            finished=self.finished,
            timed_out=self.timed_out,
            failure=(self.failure.code, self.failure.message) if self.failure else None,
            stalled=self.stalled,
            link_broken=self.link_broken,
            engine_lost=self.end.lost and self.claim is None,
            oom=self.end.oom,
            exit_code=self.end.exit_code,
            full=[clean_text(path, _MAX_WORDS) for path in full[:_MAX_PLACES]] if isinstance(full, list) else [],
            reported=self.claim is not None,
            error=_error(error) if isinstance(error, dict) else None,
            finish=clean_text(claim.get("finish"), _MAX_WORDS) or None,
            answered_calls=len(done),
            model_finish=done[-1].finish_reason if done else None,
            answer=self.judge.verdict if self.judge else None,
        )


def build_fields(
    report: Report,
    *,
    run_id: str,
    patch: Patch,
    intake: Intake,
    image: str,
    model: str,
    patch_file: str | None = None,
    repository: str = REPOSITORY,
) -> dict[str, Any]:
    """Put everything together: the fields of a `SandboxResult`.

    Args:
        report: What was seen.
        run_id: The run's name.
        patch: What was changed.
        intake: What went in.
        image: The image's id or name.
        model: The model's name.
        patch_file: Where the patch is kept; without it, all of it is part of the result, however long.
        repository: Where the agent works, in the container.
    """
    claim = report.claim or {}
    facts = report.facts()
    status, ending = decide(facts)
    gateway = report.gateway
    reference = None
    if patch_file is not None and patch.size > PATCH_INLINE_LIMIT:
        reference = {"path": patch_file, "sha256": patch.sha256, "size": patch.size}
    own = _relative(report.claimed_files, f"{repository}/{intake.folder}")
    claimed = list(dict.fromkeys([*report.claimed_before, *own]))
    log = clean_text(claim.get("log"), _MAX_LOG)
    return {
        "run_id": run_id,
        "status": status,
        "ok": status == "completed",
        "ending": asdict(ending),
        "text": clean_text(claim.get("text"), _MAX_TEXT),
        "structured": report.judge.value if report.judge and report.judge.accepted else None,
        "patch": patch.text if reference is None else None,
        "patch_reference": reference,
        "files": [asdict(file) for file in patch.files],
        "commits": [asdict(commit) for commit in report.commits],
        "partial": status != "completed" and bool(patch.size or report.commits),
        "steps": [asdict(step) for step in report.steps],
        "model_calls": [_place(call, report.began) for call in (gateway.records if gateway else [])[:_MAX_CALLS]],
        "connections": report.egress.described if report.egress else [],
        "usage": {
            "model_calls": gateway.budget.calls if gateway else 0,
            "prompt_tokens": gateway.budget.prompt_tokens if gateway else 0,
            "completion_tokens": gateway.budget.completion_tokens if gateway else 0,
        },
        "timings": {**report.marks, "total": report.clock()},
        "warnings": [*report.warnings, *_tell_cut(claim)],
        "evidence": {
            "finish_reason": facts.finish,
            "model_finish_reason": facts.model_finish,
            "exit_code": report.end.exit_code,
            "oom": report.end.oom,
            "claimed_files": claimed,
            "unclaimed_files": sorted({file.path for file in patch.files} - set(claimed)),
            "refused_requests": gateway.refused if gateway else [],
            "stderr": (report.stderr + log)[-_MAX_LOG:],
            "cleanup_confirmed": report.cleanup_confirmed,
            "cleanup_pending": report.cleanup_pending,
        },
        "workspace": _describe_workspace(intake),
        "settings": report.settings,
        "receipt": {
            "package": __version__,
            "image": image,
            "runtime": report.runtime,
            "opencode": clean_text(claim.get("opencode"), _MAX_WORDS),
            "model": model,
            "patch_sha256": patch.sha256,
            "command": report.command.name if report.command else None,
            "command_sha256": report.command.digest if report.command else None,
            "config_sha256": _digest(report.settings),
        },
    }


def describe_settings(
    task: str,
    *,
    changes: str,
    timeout: float,
    limits: Limits,
    egress: Egress | None = None,
    revises: str | None = None,
    comment: str = "",
) -> dict[str, Any]:
    """What a run was asked for and what it may use, for its result. Pure.

    Args:
        task: As it was written, or as a command would be.
        changes: What becomes of the changes.
        timeout: Seconds that it may take.
        limits: What it may use.
        egress: Where programs in it may go; `None` for nowhere.
        revises: The earlier run that it goes on from.
        comment: What is asked of that one now.
    """
    return {
        "task": clean_text(task, _MAX_TASK),
        "changes": changes,
        "timeout": timeout,
        "limits": asdict(limits),
        "egress": asdict(egress) if egress is not None else None,
        "revises": revises,
        "comment": clean_text(comment, _MAX_TASK),
    }


def was_cut(task: str) -> bool:
    """Whether a task, as a result's settings have it, may be the beginning of a longer one. Pure."""
    return len(task) >= _MAX_TASK


def _describe_workspace(intake: Intake) -> dict[str, Any]:
    snapshot, history = intake.snapshot, intake.history
    return {
        "root": str(snapshot.root) if snapshot.root else None,
        "digest": snapshot.digest,
        "head": history.head if history else None,
        "branch": history.branch if history else None,
    }


def _place(call: CallRecord, began: float) -> dict[str, Any]:
    """A call of the model on the run's own clock."""
    return {**call.describe(), "at": round(call.started - began, 4)}


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


def _tell_cut(claim: dict[str, Any]) -> list[str]:
    """Say so where the answer was too long."""
    return ["The answer is longer than is kept: `text` is its beginning."] if claim.get("cut") is True else []


def _relative(claimed: list[str], base: str) -> list[str]:
    """Paths as the agent names them, relative to the workspace where they lie in it."""
    return [path.removeprefix(base) if path.startswith(base) else path for path in claimed]


def _error(error: dict[str, Any]) -> tuple[str, str]:
    return clean_text(error.get("name"), _MAX_WORDS), clean_text(error.get("message"), _MAX_WORDS)
