"""What a person may answer when a graph asks about a run's changes, and how an answer is checked."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NotRequired, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Discriminator, StringConstraints, with_config
from typing_extensions import TypedDict  # pydantic takes no other one below Python 3.12

MAX_COMMENT: Final = 64 * 1024
"""Characters of a comment."""

_FORMS: Final = '"accept", "reject", or a dict such as {"type": "changes", "comment": "..."}'


def _check_comment(comment: str) -> str:
    """A task cannot hold a NUL, and a comment becomes part of one."""
    if "\0" in comment:
        msg = "a comment is a text without NUL characters"
        raise ValueError(msg)
    return comment


_Comment = Annotated[str, StringConstraints(max_length=MAX_COMMENT), AfterValidator(_check_comment)]
_Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_COMMENT),
    AfterValidator(_check_comment),
]


@with_config({"extra": "forbid"})
class AcceptDecision(TypedDict):
    """Put the changes into the workspace.

    Attributes:
        type: The word.
        risky: `"allow"` where there are changes that are refused otherwise, as for `ApplyPolicy`.
        comment: For the record.
    """

    type: Literal["accept"]
    risky: NotRequired[Literal["allow", "refuse"]]
    comment: NotRequired[_Comment]


@with_config({"extra": "forbid"})
class RejectDecision(TypedDict):
    """Leave the workspace as it is.

    Attributes:
        type: The word.
        comment: Why.
    """

    type: Literal["reject"]
    comment: NotRequired[_Comment]


@with_config({"extra": "forbid"})
class ChangesDecision(TypedDict):
    """Have another run go on from these changes, and ask again.

    Attributes:
        type: The word.
        comment: What is to be different.
    """

    type: Literal["changes"]
    comment: _Words


SandboxDecision: TypeAlias = AcceptDecision | RejectDecision | ChangesDecision
"""The answer to a `SandboxReview`, told apart by its `type`. The words `"accept"` and `"reject"` alone will do, too."""


def _spell_out(answer: object) -> object:
    """A word alone is what most people try first."""
    if isinstance(answer, str):
        return {"type": answer}
    if not isinstance(answer, dict) or "type" not in answer:
        msg = f"a decision is {_FORMS}, not {answer!r:.100}"
        raise ValueError(msg)
    return answer


DECISION_SCHEMA: Final = cast(
    "type[SandboxDecision]",
    Annotated[Annotated[SandboxDecision, Discriminator("type")], BeforeValidator(_spell_out)],
)
"""For `interrupt`: an answer that is none of these is refused before anything is saved. Clients are shown it."""
