"""What a person is asked about a run's changes: plain JSON, of bounded size however much a run has changed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypedDict

from langchain_sandbox.report import PATCH_INLINE_LIMIT
from langchain_sandbox.tools.content import clean_text, count
from langchain_sandbox.untrusted import show_controls
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_sandbox.result import Commit, FileChange, SandboxResult
    from langchain_sandbox.workspace.outbound.risks import Risk

_FILES = 100
_COMMITS = 50
_PATHS = 20
_LINE = 300
_REASON = 4_000


class ReviewDiffstat(TypedDict):
    """How much was changed.

    Attributes:
        files: Paths.
        insertions: Lines that were added.
        deletions: Lines that were taken away.
        commits: Commits that the agent made.
    """

    files: int
    insertions: int
    deletions: int
    commits: int


class ReviewRisk(TypedDict):
    """Why some of the changes deserve a second look.

    Attributes:
        name: Such as `hook` or `secret`.
        meaning: The same in words, to be put after a path.
        refused: Whether the changes are applied only if the decision says `risky="allow"`.
        where: Paths, and commits as `commit <id>`; the first 20.
        count: How many there are in all.
    """

    name: str
    meaning: str
    refused: bool
    where: list[str]
    count: int


class ReviewFile(TypedDict):
    """One changed path. Names are shown on one line, with escapes for what could not be seen in them.

    Attributes:
        path: Where it is, from the workspace's folder.
        old_path: Where it was, if it was renamed.
        kind: added, modified, deleted or renamed.
        insertions: Lines that were added.
        deletions: Lines that were taken away.
        binary: Whether it is no text, so that lines are not counted.
        risks: Names of risks.
    """

    path: str
    old_path: str | None
    kind: str
    insertions: int
    deletions: int
    binary: bool
    risks: list[str]


class ReviewCommit(TypedDict):
    """One commit that the agent made, in its words.

    Attributes:
        id: Its name in git.
        subject: The first line of its message, shown as a name is.
        author: The author's name.
        risks: Names of risks, of all that it changes.
    """

    id: str
    subject: str
    author: str
    risks: list[str]


class SandboxReview(TypedDict):
    """What `create_sandbox_graph(review=True)` asks a person, as the value of its interrupt.

    The answer is a `SandboxDecision`.

    Attributes:
        type: Tells this question from a graph's others.
        run_id: The run. Its whole result is in the graph's `sandbox_results`.
        summary: The question in one line.
        again: Why it is asked again, if it is: what kept the changes from being applied.
        workspace: The folder that accepting changes.
        text: The agent's last words, shortened. Untrusted.
        diffstat: How much was changed.
        risks: What deserves a second look; what is refused unless allowed comes first.
        files: The changed paths, those with risks first; 100 at most.
        commits: The new commits, oldest first; 50 at most.
        patch: The whole patch; `None` if it has 256 KiB or more. Untrusted: show it as text.
        patch_reference: Where a patch is that is not part of the result: `path` on the host, `sha256`, `size` in bytes.
        allowed_decisions: What the answer's `type` may be.
    """

    type: Literal["sandbox_review"]
    run_id: str
    summary: str
    again: str | None
    workspace: str
    text: str
    diffstat: ReviewDiffstat
    risks: list[ReviewRisk]
    files: list[ReviewFile]
    commits: list[ReviewCommit]
    patch: str | None
    patch_reference: dict[str, Any] | None
    allowed_decisions: list[Literal["accept", "reject", "changes"]]


def is_open(result: SandboxResult) -> bool:
    """Whether there is anything for a person to decide: changes of a run that completed, and a place for them."""
    return bool(result.ok and (result.files or result.commits) and result.workspace.root)


def build_review(result: SandboxResult, *, risky: str = "refuse", again: str | None = None) -> SandboxReview:
    """The question about a result.

    Args:
        result: What the run gave back.
        risky: What becomes of risky changes if the decision does not say it, as for `ApplyPolicy`.
        again: Why it is asked again.
    """
    added, removed = (sum(getattr(file, name) for file in result.files) for name in ("insertions", "deletions"))
    short = result.patch is not None and len(result.patch) <= PATCH_INLINE_LIMIT
    reference = result.patch_reference
    return {
        "type": "sandbox_review",
        "run_id": result.run_id,
        "summary": _summarize(result, added, removed),
        "again": None if again is None else clean_text(again, _REASON),
        "workspace": show_line(result.workspace.root or ""),
        "text": clean_text(result.text),
        "diffstat": {
            "files": len(result.files),
            "insertions": added,
            "deletions": removed,
            "commits": len(result.commits),
        },
        "risks": find_risks(result, risky=risky),
        "files": [_build_file(file) for file in sorted(result.files, key=_rank)[:_FILES]],
        "commits": [_build_commit(commit) for commit in result.commits[:_COMMITS]],
        "patch": result.patch if short else None,
        "patch_reference": None if reference is None else reference.model_dump(mode="json"),
        "allowed_decisions": ["accept", "reject", "changes"],
    }


def find_risks(result: SandboxResult, *, risky: str = "refuse") -> list[ReviewRisk]:
    """What deserves a second look in a result; what is refused comes first.

    Args:
        result: What the run gave back.
        risky: As for `build_review`.
    """
    found: dict[Risk, list[str]] = {}
    for name, risks in _name_parts(result):
        for risk in MEANINGS:
            if risk in risks:
                found.setdefault(risk, []).append(name)
    told: list[ReviewRisk] = [
        {
            "name": risk,
            "meaning": MEANINGS[risk],
            "refused": risky == "refuse" and risk in REFUSED,
            "where": names[:_PATHS],
            "count": len(names),
        }
        for risk, names in found.items()
    ]
    return sorted(told, key=lambda risk: (not risk["refused"], risk["name"]))


def show_line(text: str) -> str:
    """A name on one line, shortened, with escapes for what could not be seen in it."""
    shown = show_controls(text[: _LINE + 1]).replace("\n", "\\n").replace("\t", "\\t")
    return shown if len(shown) <= _LINE else f"{shown[:_LINE]}…"


def _summarize(result: SandboxResult, added: int, removed: int) -> str:
    done = [f"changed {count(result.files, 'file')} (+{added} -{removed})"] if result.files else []
    done += [f"made {count(result.commits, 'commit')}"] if result.commits else []
    place = show_line(result.workspace.root or "")
    return f"Sandbox run {result.run_id} {' and '.join(done)}. Apply this to {place}?"


def _name_parts(result: SandboxResult) -> Iterable[tuple[str, Sequence[str]]]:
    yield from ((show_line(file.path), file.risks) for file in result.files)
    yield from ((f"commit {commit.id[:12]}", commit.risks) for commit in result.commits)


def _rank(file: FileChange) -> int:
    return 0 if REFUSED.intersection(file.risks) else 1 if file.risks else 2


def _build_file(file: FileChange) -> ReviewFile:
    return {
        "path": show_line(file.path),
        "old_path": None if file.old_path is None else show_line(file.old_path),
        "kind": file.kind,
        "insertions": file.insertions,
        "deletions": file.deletions,
        "binary": file.binary,
        "risks": list(file.risks),
    }


def _build_commit(commit: Commit) -> ReviewCommit:
    return {
        "id": commit.id,
        "subject": show_line(commit.subject),
        "author": show_line(commit.author),
        "risks": list(commit.risks),
    }
