"""What applying and reverting say of what they did, or of why they did nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport:
    """What `apply` or `revert` did.

    Args:
        paths: Paths that were written or deleted; none if all was as it should be already.
        merged: Those among them that had changed meanwhile, too, and were merged three ways.
        forwarded: The branch that was moved forward to the commits that the agent made.
        branch: The branch that was made of these commits, where none could be moved forward.
    """

    paths: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    forwarded: str | None = None
    branch: str | None = None


def describe_conflicts(conflicts: list[str]) -> str:
    """A sentence that names conflicts, each as `path: reason`."""
    return f"Nothing was changed, because of conflicts: {name_some(sorted(conflicts))}."


def name_some(items: list[str]) -> str:
    """Some of them, and how many more there are."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"
