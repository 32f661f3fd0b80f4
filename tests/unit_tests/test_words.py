"""How much of an answer is kept: as many characters as the host keeps, and as many bytes as a message takes."""

from __future__ import annotations

import pytest

from langchain_sandbox.agent.words import cut_answer
from langchain_sandbox.link import MAX_MESSAGE, Channel, Link, Message

MANY = 4 * 1024 * 1024


@pytest.mark.parametrize("text", ["", "Done.", "x" * MANY, "\N{GRINNING FACE}" * 1000])
def test_what_fits_is_kept_whole(text: str) -> None:
    assert cut_answer(text) == (text, False)


@pytest.mark.parametrize("character", ["x", "ü", "\x1b", "\N{GRINNING FACE}"])
def test_what_is_too_long_is_cut_so_that_its_message_arrives(character: str) -> None:
    kept, cut = cut_answer(character * (MANY + 1))
    assert cut
    assert len(kept) > MANY // 8
    sender, receiver = Link(), Link(max_message=MAX_MESSAGE)
    sender.send_message({"type": "result", "text": kept, "cut": cut})
    told = receiver.receive(sender.data_to_send(limit=2 * MAX_MESSAGE))
    assert told == [Message(Channel.CONTROL, 0, {"type": "result", "text": kept, "cut": True})]
