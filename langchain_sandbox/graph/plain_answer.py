"""An answer that names no question, in a graph of a graph: it counts for one question and for none that comes later.

`Command(resume=answer)` is kept with the outermost graph's checkpoint, which stays the same for as long as a graph in
it is at work. So LangGraph gives it to whichever question comes next there: to that about another run, once the first
has been answered by its id or the thread is resumed with `None`. Each question therefore notes which such answer there
was, and the next one does not take that again.
"""

from __future__ import annotations

from typing import Any

from langgraph.config import get_config
from langgraph.runtime import get_runtime
from typing_extensions import TypedDict

_SCRATCHPAD = "__pregel_scratchpad"  # what `interrupt` itself asks; LangGraph offers no other way to see an answer
_LEVELS = "|"

NOT_TAKEN = (
    "An answer that an earlier question had was not taken for this one, too. If it is meant for this one, answer by "
    "this question's id."
)


class PlainAnswer(TypedDict):
    """An answer that a question found.

    Attributes:
        run_id: The run that the first question which found it was about.
        answer: As it was given.
    """

    run_id: str
    answer: Any


def find_plain_answer(run_id: str) -> PlainAnswer | None:
    """The answer that the question of this step would be given; `None` if there is none that could reach another one.

    Args:
        run_id: The run that the question is about.
    """
    scratchpad = get_config()["configurable"].get(_SCRATCHPAD)
    step = get_runtime().execution_info
    # A graph that is in no other one saves a checkpoint between two questions.
    if scratchpad is None or step is None or _LEVELS not in step.checkpoint_ns:
        return None
    answer = scratchpad.get_null_resume()
    return None if answer is None else {"run_id": run_id, "answer": answer}


def is_spent(found: PlainAnswer, before: PlainAnswer | None) -> bool:
    """Whether an answer is one that an earlier question found, about another run or to have another one. Pure.

    To accept the same changes again, once what kept them from being applied is mended, is what it says.

    Args:
        found: The answer that there is.
        before: The one that the question before found.
    """
    if before is None or found["answer"] != before["answer"]:
        return False
    return found["run_id"] != before["run_id"] or not _accepts(found["answer"])


def drop_plain_answer() -> bool:
    """Have the question of this step asked, and tell whether it would have been given an answer."""
    # An answer that was given already can be seen until the call ends, and is not there to be taken.
    return get_config()["configurable"][_SCRATCHPAD].get_null_resume(True) is not None  # noqa: FBT003 - LangGraph's own


def _accepts(answer: object) -> bool:
    return answer == "accept" or (isinstance(answer, dict) and answer.get("type") == "accept")
