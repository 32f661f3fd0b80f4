"""What a run gives back: one documented list of fields, the same in Python, in JSON and at every other door."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer
from pydantic_core import to_jsonable_python

from langchain_sandbox.html.card import build_card
from langchain_sandbox.html.page import build_page

if TYPE_CHECKING:
    import os

SCHEMA_VERSION = 1

Status = Literal[
    "completed",
    "incomplete",
    "model_error",
    "model_unreachable",
    "context_overflow",
    "budget_exceeded",
    "loop",
    "stalled",
    "timeout",
    "cancelled",
    "oom",
    "out_of_space",
    "crashed",
    "engine_error",
    "protocol_error",
]
"""How a run can end; `outcome.py` holds the table that decides."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Ending(_Part):
    """Why a run ended as it did."""

    code: str = Field(description="Stable name of the reason, finer than the status: answer_cut, http_500, …")
    message: str = Field(description="What happened, for people.")
    hint: str = Field(default="", description="What to do about it.")


class FileChange(_Part):
    """One changed path of the patch."""

    path: str = Field(description="Where it is, from the workspace's folder.")
    kind: str = Field(description="added, modified, deleted or renamed.")
    old_path: str | None = Field(default=None, description="Where it was, if it was renamed.")
    size: int | None = Field(default=None, description="Bytes; None if it was deleted.")
    old_size: int | None = Field(default=None, description="Bytes before; None if it is new.")
    mode: str | None = Field(default=None, description="Git's mode, such as 100644; None if it was deleted.")
    insertions: int = Field(default=0, description="Lines that were added.")
    deletions: int = Field(default=0, description="Lines that were taken away.")
    binary: bool = Field(default=False, description="Whether it is no text, so that lines are not counted.")
    risks: list[str] = Field(
        default_factory=list, description="Why it deserves a second look, such as ci, hook, lock_file or secret."
    )


class Commit(_Part):
    """One commit that the agent made. Author and subject are the agent's words."""

    id: str = Field(description="Its name in git.")
    subject: str = Field(description="The first line of its message.")
    author: str = Field(description="The author's name.")
    email: str = Field(description="The author's address.")
    date: str = Field(description="When it was written, ISO 8601.")
    risks: list[str] = Field(default_factory=list, description="As for a file, of all that it changes.")


class PatchReference(_Part):
    """A patch that is too long to be part of the result."""

    path: str = Field(description="File on the host that holds it.")
    sha256: str = Field(description="Of that file.")
    size: int = Field(description="Bytes.")


class ToolUse(_Part):
    """One use of a tool by the agent, as it reported it; the times are when the host heard of it."""

    tool: str = Field(description="OpenCode's name of it, such as bash, edit or read.")
    title: str = Field(default="", description="What tells most about it, on one line: its command, its file.")
    status: Literal["completed", "error"] | None = Field(default=None, description="None if it never ended.")
    at: float = Field(default=0.0, description="When it began, in seconds since the run did.")
    seconds: float | None = Field(default=None, description="How long it took; None if it never ended.")


class Step(_Part):
    """One step of the agent, as it reported it; the times are when the host heard of it."""

    index: int = Field(description="Counted from 0.")
    text: str = Field(default="", description="What it said.")
    tools: list[str] = Field(default_factory=list, description="The tools that it used, in order.")
    reason: str | None = Field(default=None, description="Why the step ended.")
    at: float | None = Field(default=None, description="When it began, in seconds since the run did.")
    seconds: float | None = Field(default=None, description="How long it took; None if it never ended.")
    uses: list[ToolUse] = Field(default_factory=list, description="The uses of the tools, in order.")


class ModelCall(_Part):
    """One call of the model, as the host relayed it."""

    index: int = Field(description="Counted from 0.")
    at: float = Field(description="When it began, in seconds since the run did.")
    first_byte: float | None = Field(default=None, description="Seconds until the answer began; None if it never did.")
    duration: float = Field(default=0.0, description="Seconds in all.")
    status: int | None = Field(default=None, description="HTTP status; None if there was no answer.")
    prompt_tokens: int = Field(default=0, description="Tokens that the model read, as the server counts them.")
    completion_tokens: int = Field(default=0, description="Tokens that it wrote.")
    error: str | None = Field(default=None, description="Code of what went wrong.")
    waited: float = Field(default=0.0, description="Seconds of these in which it waited for its turn.")


class Connection(_Part):
    """A program's attempt to get out of the container, as the host saw it."""

    host: str = Field(description="The name that was asked for. Untrusted.")
    port: int = Field(description="The port.")
    at: float = Field(description="Seconds from the run's start.")
    address: str | None = Field(default=None, description="Where it led; None if it did not get that far.")
    refused: str | None = Field(default=None, description="Why it was not let through, or ended; None if it was.")
    sent: int = Field(default=0, description="Bytes that left.")
    received: int = Field(default=0, description="Bytes that came.")
    seconds: float = Field(default=0.0, description="How long it was open.")


class Usage(_Part):
    """What the run used of the model, as the host counted it."""

    model_calls: int = Field(default=0, description="Calls of the model.")
    prompt_tokens: int = Field(default=0, description="Tokens that it read in them, as the server counts them.")
    completion_tokens: int = Field(default=0, description="Tokens that it wrote.")


class Timings(_Part):
    """Seconds. Each is a moment counted from the beginning of the run; None if it never came."""

    created: float | None = Field(default=None, description="The container was made.")
    started: float | None = Field(default=None, description="The container was told to start.")
    ready: float | None = Field(default=None, description="The program in it answered.")
    handed_over: float | None = Field(
        default=None, description="A container that was booted before was this run's own, which none of the above is."
    )
    booted: float | None = Field(default=None, description="OpenCode was up, the repository in place, the task given.")
    first_model_call: float | None = Field(default=None, description="OpenCode asked the model first.")
    worked: float | None = Field(default=None, description="OpenCode had done with the task and the changes were out.")
    total: float = Field(default=0.0, description="Everything, removal and patch included.")


class Evidence(_Part):
    """What the status rests on."""

    source: Literal["observed", "self_reported"] = Field(
        default="observed", description="Whether a host looked on, or only the container speaks."
    )
    finish_reason: str | None = Field(default=None, description="What OpenCode says of its end. A claim.")
    model_finish_reason: str | None = Field(default=None, description="How the last model call ended. Observed.")
    exit_code: int | None = Field(default=None, description="Of the container.")
    oom: bool = Field(default=False, description="The kernel killed something in the container for memory.")
    claimed_files: list[str] = Field(
        default_factory=list,
        description="What OpenCode says that its tools for editing changed, in a revised run too. A claim.",
    )
    unclaimed_files: list[str] = Field(
        default_factory=list, description="What changed without any such word, by a shell command for example."
    )
    refused_requests: list[str] = Field(default_factory=list, description="What the gateway did not let through.")
    stderr: str = Field(default="", description="The last words of the program in the container, if it broke.")
    cleanup_confirmed: bool = Field(default=True, description="The engine said that the container is gone.")
    cleanup_pending: bool = Field(
        default=False,
        description="That is nothing to worry about: a session goes on in it, or it was a spare's, and the engine was "
        "tidying up; `close` waits for it.",
    )


class WorkspaceState(_Part):
    """The tree that a patch belongs to."""

    root: str | None = Field(default=None, description="The folder; None for an empty workspace.")
    digest: str = Field(default="", description="Of every path, mode and content that went in.")
    head: str | None = Field(default=None, description="The commit that was checked out; None if there was none.")
    branch: str | None = Field(default=None, description="The branch that was checked out; None if there was none.")


class EgressSettings(_Part):
    """Where programs in the container might go, as `Egress` said it."""

    allow: list[str] = Field(description="Names, each with or without a port.")
    networks: list[str] = Field(default_factory=list, description="Private networks that they might lead into.")
    traffic: int = Field(description="Bytes that might go through, both ways together.")
    connections: int = Field(description="How many there might be.")


class Settings(_Part):
    """What the run was asked for, and what it might use."""

    task: str = Field(default="", description="As it was written, /commands too; long ones are cut.")
    changes: str = Field(default="return", description="What was to become of the changes.")
    timeout: float | None = Field(default=None, description="Seconds that it might take.")
    limits: dict[str, int | float | None] = Field(
        default_factory=dict, description="The fields of Limits; sizes in bytes, times in seconds."
    )
    egress: EgressSettings | None = Field(default=None, description="Where programs might go; None for nowhere.")
    revises: str | None = Field(
        default=None, description="The earlier run that it went on from; its patch holds that one's changes, too."
    )
    comment: str = Field(default="", description="What was asked of that earlier run; long ones are cut.")


class Review(_Part):
    """What a person decided about the changes, where a graph asked: `create_sandbox_graph(review=True)`."""

    decision: Literal["accept", "reject", "changes"] = Field(
        description="accept: they were applied. reject: they were not. changes: another run was to go on from them."
    )
    comment: str = Field(default="", description="The person's words.")


class Receipt(_Part):
    """What the run was made of, for whoever has to account for it."""

    package: str = Field(description="This package's version.")
    image: str = Field(default="", description="The image's id.")
    runtime: str = Field(default="", description="The OCI runtime that the container ran under, as the engine says.")
    opencode: str = Field(default="", description="OpenCode's version, as the container says.")
    model: str = Field(default="", description="The model's name, as the server says.")
    patch_sha256: str = Field(default="", description="Of the patch, all of it, however long.")
    command: str | None = Field(default=None, description="The command's name, if it was one.")
    command_sha256: str | None = Field(default=None, description="Of the command's file, as it was read.")
    config_sha256: str = Field(
        default="", description="Of `settings`, as JSON with sorted keys and without spaces, in ASCII."
    )


class SandboxResult(BaseModel):
    """How a run ended and what came of it. `result.ok` is true if and only if the status is `completed`.

    Everything in it is plain data: `model_dump(mode="json")` and `model_validate` are inverse.

    Example:
        ```python
        result = Sandbox().run("Fix the failing test.", workspace="path/to/repository")
        print(result.status, result.text, result.patch)
        ```
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = Field(default=SCHEMA_VERSION, description="Of this list of fields.")
    run_id: str = Field(description="The run's name, 12 hexadecimal digits.")
    status: Status = Field(description="How it ended.")
    ok: bool = Field(description="Whether it completed.")
    ending: Ending = Field(description="Why it ended so, and what to do about it.")
    text: str = Field(default="", description="The agent's last words. Untrusted.")
    structured: Any = Field(
        default=None,
        description="The typed answer, if one was asked for: of the type that was given, and plain data once dumped.",
    )
    patch: str | None = Field(default=None, description="For `git apply`; None if it is long, see patch_reference.")
    patch_reference: PatchReference | None = Field(default=None, description="Where a patch of 256 KiB or more is.")
    files: list[FileChange] = Field(default_factory=list, description="The changed paths of the patch.")
    commits: list[Commit] = Field(
        default_factory=list, description="New commits of the branch that was checked out, oldest first."
    )
    partial: bool = Field(
        default=False, description="Whether the changes are those of a run that did not complete, so far as it came."
    )
    steps: list[Step] = Field(default_factory=list, description="What the agent did, as it reported it.")
    model_calls: list[ModelCall] = Field(default_factory=list, description="In the order in which they began.")
    connections: list[Connection] = Field(
        default_factory=list, description="What programs in the container tried to reach, where egress lets them."
    )
    usage: Usage = Field(default=Usage(), description="What it used of the model.")
    timings: Timings = Field(default=Timings(), description="When it came how far.")
    warnings: list[str] = Field(default_factory=list, description="What a user should know, and did not stop it.")
    evidence: Evidence = Field(default=Evidence(), description="What the status rests on.")
    workspace: WorkspaceState = Field(default=WorkspaceState(), description="The tree that the patch belongs to.")
    settings: Settings = Field(default=Settings(), description="What was asked for, and what it might use.")
    applied: bool = Field(default=False, description="Whether the changes are in the user's tree already.")
    review: Review | None = Field(default=None, description="What a person decided about them; None if nobody has.")
    receipt: Receipt = Field(description="What it was made of.")

    @field_serializer("structured", when_used="json")
    def _write_structured(self, value: Any) -> Any:  # noqa: ANN401 - of any type, and any JSON
        """By the names that the model was given, which its type reads again."""
        return to_jsonable_python(value, by_alias=True)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The run's report: one page for people that loads nothing, runs nothing and needs no other file.

        Args:
            path: Where to write it as well, UTF-8. What is there is replaced, whole or not at all.

        Returns:
            The page.

        Raises:
            OSError: If it cannot be written.

        Example:
            ```python
            result.to_html("report.html")
            ```
        """
        page = build_page(self.model_dump(mode="json"))
        if path is not None:
            target = Path(path).expanduser()
            beside = target.with_name(f".{target.name}.{token_hex(4)}.new")
            try:
                with beside.open("x", encoding="utf-8") as file:
                    file.write(page)
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)
        return page

    def _repr_html_(self) -> str:
        """What notebooks show in place of the fields."""
        return build_card(self.model_dump(mode="json"))
