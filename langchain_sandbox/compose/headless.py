"""One run without a host: read the mounted workspace, have OpenCode work, make the result, apply it, print it.

The agent never gets at the mounted folder in the mode `copy`: it is this process's working folder, below one that only
root may enter, and no program that is started from here can follow. What comes back is checked path by path.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.arrival import Arrival
from langchain_sandbox.agent.opencode import REPOSITORY, tool_environment
from langchain_sandbox.agent.task import Task
from langchain_sandbox.commands.prompt import parse_task
from langchain_sandbox.compose.desk import Desk
from langchain_sandbox.compose.in_place import InPlace
from langchain_sandbox.compose.line import Failure, Lifeline
from langchain_sandbox.compose.memory import count_kills
from langchain_sandbox.compose.mount import WORKSPACE, close_gate
from langchain_sandbox.compose.settings import ChangesChoice, WorkspaceMode, read_choice, read_timeout
from langchain_sandbox.compose.task import OPERATOR_COMMANDS, read_task
from langchain_sandbox.config import Limits
from langchain_sandbox.engine.base import ContainerEnd
from langchain_sandbox.errors import SandboxError
from langchain_sandbox.gateway.rules import find_shortage
from langchain_sandbox.judge import Judge
from langchain_sandbox.link import Channel, FileStream, LinkEvent, Message
from langchain_sandbox.narration import narrate
from langchain_sandbox.report import Report, build_fields, describe_settings
from langchain_sandbox.request import check_changes, choose_changes, choose_output, choose_timeout
from langchain_sandbox.transcript import Transcript
from langchain_sandbox.workspace.applying.apply import apply_changes
from langchain_sandbox.workspace.applying.transaction import recover
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.intake import Intake, take_intake
from langchain_sandbox.workspace.outbound.changes import Changes
from langchain_sandbox.workspace.outbound.patch import Patch, build_patch
from langchain_sandbox.workspace_config import DEFAULT_HISTORY, ApplyPolicy, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.gateway.record import CallRecord
    from langchain_sandbox.workspace.inbound.history import History

_WIDTH = 160
_STALL_LIMIT = 60.0
_ABORT_GRACE = 3.0
_KILL_GRACE = 5.0

# Who starts this has the mounted folder worked on, without a say in between: that is what the mode is for.
_POLICY = ApplyPolicy(moved="refuse", commits="files", risky="allow")


class HeadlessRun:
    """One run.

    Args:
        environ: As compose has set it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.run_id = secrets.token_hex(6)
        self._report = Report(began=time.monotonic())
        self._image = environ.get("SANDBOX_IMAGE", "")
        self._limits = Limits.from_env(environ)
        self._environ = environ
        self._mode = read_choice(environ, "WORKSPACE_MODE", WorkspaceMode)
        self._prompt = parse_task(read_task(environ), root=WORKSPACE, extra=[OPERATOR_COMMANDS])
        chosen = check_changes(read_choice(environ, "SANDBOX_CHANGES", ChangesChoice))
        self._policy = choose_changes(None, chosen, self._prompt.command)
        self._timeout, self._notes = choose_timeout(None, read_timeout(environ), self._prompt.command)
        if self._mode == "direct" and self._policy != chosen and self._prompt.command is not None:
            whose = f"/{self._prompt.command.name} says changes: {self._policy}"
            self._notes.append(f"{whose}, but the agent works in the folder itself: what it changes stays.")
        output = choose_output(None, self._prompt.command)
        self._report.judge = Judge(output) if output else None
        self._report.command = self._prompt.command
        self._report.settings = describe_settings(
            self._prompt.asked, changes=self._policy, timeout=self._timeout, limits=self._limits
        )
        self._task: Task | None = None
        self.apply_failed = False
        self._worked = False
        self._attention = threading.Event()
        self._settled = threading.Event()
        self._transcript = Transcript(self._say, clock=self._report.clock)
        self._changes = Changes(self._limits)
        self._lifeline = Lifeline(on_failure=self._on_failure, on_call=self._on_call, on_end=self._on_end)

    def cancel(self) -> None:
        """Have it end soon, with what was changed until then; nothing once its work is done.

        `compose up` stops everything as soon as one container ends, and the gateway ends before us.
        """
        if not self._worked:
            self._report.cancelled = True
            self._attention.set()

    def leave(self) -> None:
        """Wait for what the next run must not find."""
        self._lifeline.await_gateway()

    def execute(self) -> dict[str, Any]:
        """Run to the end and return the result's fields.

        Raises:
            SandboxError: If what was asked for cannot work; nothing was changed.
        """
        command = self._prompt.command
        usable = self._lifeline.open(command.model if command else None)
        try:
            recover(WORKSPACE)  # what a killed run left half done is not what goes in
            history = 0 if self._mode == "direct" else DEFAULT_HISTORY
            intake = take_intake(Workspace(WORKSPACE, history=history), self._limits)
            patch = Patch()
            if usable and not self._report.cancelled:
                patch = self._work(intake)
        finally:
            self._worked = True
            self._lifeline.close()
        # No file is closed, here or before: the feeder may still read, and this process is about to end.
        return self._finish(intake, patch)

    def _work(self, intake: Intake) -> Patch:
        """Have OpenCode do the task, and tell what it changed."""
        close_gate(self._environ, self._mode)
        model = self._lifeline.model or {}
        shortage = find_shortage(int(model["context"]))
        for warning in [shortage, model.get("note"), *self._notes, *intake.warnings]:
            if warning is not None:
                self._warn(warning)
        children.start_reaper()
        self._report.mark("started")
        self._await_end(self._start(intake, model))
        self._report.mark("worked")
        self._report.steps = self._transcript.steps
        self._report.claimed_files = self._transcript.claimed_files
        self._note_commits(intake.history)
        return self._collect(intake)

    def _start(self, intake: Intake, model: Mapping[str, Any]) -> Task:
        snapshot, history = intake.snapshot, intake.history
        desk = Desk(self._lifeline.wire, on_event=self._on_event)
        arrival = InPlace(desk, snapshot.entries) if self._mode == "direct" else Arrival(desk)
        hello = {
            "model": {"context": model["context"], "output": model["output"]},
            "changes_limit": self._limits.size("changes"),
        }
        task = self._task = Task(desk, hello, arrival=arrival)
        self._lifeline.on_model = task.endpoint.on_event
        arrival.start({"git": history.describe() if history else None})
        if self._mode == "copy":
            threading.Thread(target=_feed, args=(desk, arrival, intake), daemon=True).start()
        judge = self._report.judge
        task.start(self._prompt.describe(judge.schema if judge else None))
        return task

    def _collect(self, intake: Intake) -> Patch:
        """What was changed; when it cannot be kept, that is how the run ended."""
        children.kill_all()
        if not children.stop_reaper(_KILL_GRACE):
            self._warn("A process in the container would not die; its changes are left out.")
            return Patch()
        try:
            patch = build_patch(intake.snapshot, self._changes.settle(intake.snapshot))
        except (OSError, GitError) as error:
            self._report.note_loss(error, place=tempfile.gettempdir())
            return Patch()
        if self._changes.lost is not None:
            self._report.note_loss(self._changes.lost, place=tempfile.gettempdir())
        for reason in [*self._report.left_inside(), *self._changes.skipped]:
            self._warn(f"A change stayed behind: {reason}")
        return patch

    def _await_end(self, task: Task) -> None:
        deadline = time.monotonic() + self._timeout
        silent_until = time.monotonic() + _STALL_LIMIT
        while not self._attention.wait(max(0.0, min(deadline, silent_until) - time.monotonic())):
            if time.monotonic() >= deadline:
                self._report.timed_out = self._timeout
                break
            if "first_model_call" not in self._report.marks:
                self._report.stalled = f"OpenCode did not ask the model within {_STALL_LIMIT:g} s."
                break
            silent_until = deadline
        if not self._settled.is_set():
            task.abort()
            self._settled.wait(_ABORT_GRACE)

    def _note_commits(self, history: History | None) -> None:
        """Say it where commits were made in the copy: they are not brought back."""
        if history is None:
            return
        try:
            command = ["git", "rev-list", "--count", f"{history.head}..HEAD"]
            count = children.run(command, cwd=REPOSITORY, env=tool_environment())
        except OSError:
            return
        if count.strip() not in {b"", b"0"}:
            self._warn(
                f"{count.decode().strip()} commits were made in the copy and stay there, since the workspace's .git is "
                "out of the agent's reach; WORKSPACE_MODE=direct lets it commit (see docs/compose.md for the risk)."
            )

    def _finish(self, intake: Intake, patch: Patch) -> dict[str, Any]:
        self._report.gateway = self._lifeline.record
        self._report.end = ContainerEnd(oom=count_kills() > 0)
        for warning in self._report.last_warnings():
            self._warn(warning)
        model = str((self._lifeline.model or {}).get("name") or "")
        kept = Patch() if self._policy == "discard" and self._mode == "copy" else patch
        fields = build_fields(
            self._report,
            run_id=self.run_id,
            patch=kept,
            intake=intake,
            image=self._image,
            model=model,
            repository=REPOSITORY,
        )
        fields["schema_version"] = 1
        fields["evidence"]["source"] = "self_reported"
        fields["workspace"]["root"] = None  # what it is called in here means nothing outside
        fields["applied"] = self._apply(fields, patch)
        fields["warnings"] = list(self._report.warnings)
        return fields

    def _apply(self, fields: dict[str, Any], patch: Patch) -> bool:
        if self._mode == "direct":
            return True
        if not fields["ok"] or self._policy != "apply":
            return False
        try:
            apply_changes(WORKSPACE, patch.content, find_base=lambda _blob: None, policy=_POLICY)
        except (SandboxError, OSError) as error:
            self._warn(f"The changes were not applied: {error}")
            self.apply_failed = True
            return False
        return True

    # What the task says; called in its threads.

    def _on_event(self, event: LinkEvent) -> None:
        match event:
            case Message(channel=Channel.EVENTS, body=body):
                self._transcript.on_event(body)
            case Message(channel=Channel.CONTROL, body={"type": "working"}):
                self._report.mark("booted")
            case Message(channel=Channel.CONTROL, body={"type": "answer", "answer": answer}):
                self._judge(answer)
            case Message(channel=Channel.MODEL):
                self._report.mark("first_model_call")
            case Message(channel=Channel.FILES, stream=FileStream.RESULT, body=body):
                self._report.claim = body
                self._settled.set()
                self._attention.set()
            case _ if event.channel is Channel.FILES:
                self._changes.take([event])
            case _:
                pass

    def _judge(self, answer: Any) -> None:  # noqa: ANN401 - any JSON
        judge, task = self._report.judge, self._task
        if judge is None or task is None:
            return
        repair = judge.hear(answer)
        if repair is not None:
            self._warn(judge.complaint)
        task.on_verdict(repair)

    # What the gateway says; called in the thread that reads the link.

    def _on_failure(self, failure: Failure) -> None:
        self._report.failure = failure
        self._attention.set()

    def _on_call(self, call: CallRecord) -> None:
        self._say("model_call", **call.describe())

    def _on_end(self, reason: str) -> None:
        if not self._settled.is_set():
            self._report.link_broken = reason
        self._attention.set()

    def _warn(self, message: str) -> None:
        self._report.warnings.append(message)
        self._say("warning", message=message)

    def _say(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - each event has fields of its own
        """Progress on standard error, one line for each event."""
        words = "" if kind == "text" else narrate(kind, fields)
        if words:
            sys.stderr.write(f"[{self._report.clock():6.1f} s] {words[:_WIDTH]}\n")
            sys.stderr.flush()


def _feed(desk: Desk, arrival: Arrival, intake: Intake) -> None:
    desk.feed(arrival, intake.snapshot.archive, FileStream.TAR)
    if intake.history is not None and intake.history.pack:
        for ending, stream in (("pack", FileStream.PACK), ("idx", FileStream.PACK_INDEX)):
            with (intake.history.folder / f"{intake.history.pack}.{ending}").open("rb") as file:
                desk.feed(arrival, file, stream)
