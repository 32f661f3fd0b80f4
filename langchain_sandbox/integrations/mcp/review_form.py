"""The form in which a user decides about changes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.tools.content import clean_text, count
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterable

    import mcp_types as types

    from langchain_sandbox.result import Commit, FileChange, SandboxResult

FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "decision": {
            "type": "string",
            "title": "Decision",
            "description": "Put all of these changes into the workspace, or none.",
            "enum": ["accept", "reject"],
        }
    },
    "required": ["decision"],
}
"""Flat and of one field: some clients draw little else."""

_FILES = 40
_NAME = 200


def build_question(result: SandboxResult) -> str:
    """What the user is shown: what changed, and what of it deserves a second look, that first.

    Args:
        result: What the run gave back.
    """
    files = sorted(result.files, key=lambda file: not file.risks)
    lines = [f"Sandbox run {result.run_id} changed {count(files, 'file')}. Apply the changes to {_where(result)}?", ""]
    lines += [_describe_file(file) for file in files[:_FILES]]
    if len(files) > _FILES:
        lines.append(f"… and {count(files[_FILES:], 'more file')}")
    lines += [f"commit {commit.id[:12]} {_line(commit.subject)}{_mark(commit)}" for commit in result.commits[:_FILES]]
    if len(result.commits) > _FILES:
        lines.append(f"… and {count(result.commits[_FILES:], 'more commit')}")
    risks = sorted({risk for part in _parts(result) for risk in part.risks})
    if risks:
        lines += ["", "Look twice:"]
        lines += [f"  {risk}: it {MEANINGS[risk]}" for risk in risks if risk in MEANINGS]
    return "\n".join(lines)


def is_accepted(answer: types.ElicitResult) -> bool:
    """Whether the user wants the changes. Only the plain word counts; to send the form away is no."""
    return answer.action == "accept" and (answer.content or {}).get("decision") == "accept"


def may_run(result: SandboxResult) -> bool:
    """Whether there are changes that are refused unless the user allows them, and the question shows all of those."""
    shown = sorted(result.files, key=lambda file: not file.risks)[:_FILES]
    hidden = [file for file in result.files if REFUSED.intersection(file.risks) and file not in shown]
    hidden += [commit for commit in result.commits[_FILES:] if REFUSED.intersection(commit.risks)]  # type: ignore[misc]
    return not hidden and any(REFUSED.intersection(part.risks) for part in _parts(result))


def _parts(result: SandboxResult) -> Iterable[FileChange | Commit]:
    return (*result.files, *result.commits)


def _describe_file(file: FileChange) -> str:
    size = "binary" if file.binary else f"+{file.insertions} -{file.deletions}"
    moved = f"{_line(file.old_path)} → " if file.old_path else ""
    return f"{file.kind} {moved}{_line(file.path)} ({size}){_mark(file)}"


def _mark(part: FileChange | Commit) -> str:
    return f" [{', '.join(part.risks)}]" if part.risks else ""


def _line(text: str) -> str:
    cleaned = " ".join(clean_text(text, _NAME).split())
    if cleaned == text:
        return cleaned
    return repr(text) if len(text) <= _NAME else f"{text[:_NAME]!r}… ({len(text) - _NAME} more characters)"


def _where(result: SandboxResult) -> str:
    return _line(result.workspace.root or "the workspace")
