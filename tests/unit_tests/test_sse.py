"""The reader of a model's answer: what is whole goes on, what is broken is named."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.gateway.sse import AnswerError, AnswerReader, Usage, parse_usage


def line(**chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def choice(text: str = "", finish: str | None = None) -> bytes:
    return line(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])


USAGE = line(choices=[], usage={"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18})
DONE = b"data: [DONE]\n\n"
ANSWER = choice("Grüße, ") + b": a comment\n\n" + choice("世界") + choice(finish="stop") + USAGE + DONE


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, 2000), max_size=40), st.booleans())
def test_whatever_way_an_answer_is_split_it_goes_on_unchanged_and_is_counted(cuts: list[int], windows: bool) -> None:  # noqa: FBT001
    answer = ANSWER.replace(b"\n", b"\r\n") if windows else ANSWER
    reader = AnswerReader()
    given_on = [reader.feed(piece) for piece in pieces(answer, cuts)]
    reader.finish()
    assert b"".join(given_on) == answer
    assert all(part == b"" or part.endswith(b"\n") for part in given_on)
    assert (reader.usage, reader.usage.total) == (Usage(11, 7), 18)
    assert (reader.finish_reason, reader.done) == ("stop", True)


@given(st.lists(st.integers(0, 2000), max_size=10), st.integers(0, len(ANSWER)))
def test_an_answer_is_complete_exactly_if_its_finish_reason_was_read(cuts: list[int], end: int) -> None:
    reader = AnswerReader()
    for piece in pieces(ANSWER[:end], cuts):
        reader.feed(piece)
    if b'"stop"' in ANSWER[:end].rpartition(b"\n")[0]:
        reader.finish()
    else:
        with pytest.raises(AnswerError) as caught:
            reader.finish()
        assert caught.value.code == "answer_cut"


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_the_finish_reason_stays_when_later_chunks_have_none(reason: str) -> None:
    reader = AnswerReader()
    reader.feed(choice(finish=reason) + choice() + USAGE)
    assert reader.finish_reason == reason


@pytest.mark.parametrize("reason", [{"a": 1}, ["stop"], 7, True])
def test_a_finish_reason_that_is_no_text_is_none(reason: object) -> None:
    reader = AnswerReader()
    reader.feed(line(choices=[{"index": 0, "delta": {}, "finish_reason": reason}]))
    assert reader.finish_reason is None


def test_the_end_mark_alone_makes_an_answer_complete() -> None:
    reader = AnswerReader()
    reader.feed(choice("text") + DONE)
    reader.finish()
    assert reader.finish_reason is None


def test_a_closed_empty_answer_is_a_cut_one() -> None:
    with pytest.raises(AnswerError, match="before it was complete"):
        AnswerReader().finish()


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"",
        b"nonsense",
        b"[]",
        b'"text"',
        b"null",
        b'{"a": \xff}',
        b'{"a":' * 200_000,
        b"[" * 200_000,
        b"9" * 5000,
    ],
    ids=["cut", "empty", "words", "array", "text", "null", "not-utf-8", "object-bomb", "array-bomb", "long-number"],
)
def test_a_chunk_that_is_no_json_object_is_malformed_and_is_not_given_on(payload: bytes) -> None:
    reader = AnswerReader()
    with pytest.raises(AnswerError) as caught:
        reader.feed(choice("a") + b"data: " + payload + b"\n\n")
    assert caught.value.code == "malformed_answer"


@pytest.mark.parametrize("error", ["out of memory", {"message": "out of memory", "code": 500}])
def test_the_servers_word_of_an_error_is_named(error: object) -> None:
    with pytest.raises(AnswerError, match="out of memory") as caught:
        AnswerReader().feed(line(error=error))
    assert caught.value.code == "error_in_answer"


def test_a_long_word_of_an_error_is_shortened() -> None:
    with pytest.raises(AnswerError) as caught:
        AnswerReader().feed(line(error="x" * 100_000))
    assert len(str(caught.value)) < 1000


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    reader = AnswerReader()
    for _ in range(8):
        reader.feed(bytes(1024 * 1024))
    with pytest.raises(AnswerError, match="without end") as caught:
        reader.feed(b"x")
    assert caught.value.code == "malformed_answer"


@pytest.mark.parametrize("choices", [None, {}, [], "x", [None], [[]], [{}]])
def test_choices_of_any_shape_are_let_by(choices: object) -> None:
    reader = AnswerReader()
    reader.feed(line(choices=choices) + choice(finish="stop"))
    assert reader.finish_reason == "stop"


@pytest.mark.parametrize("count", [None, -1, "12", 1.5, [], {}, True])
def test_a_count_that_is_no_number_of_tokens_counts_as_nothing(count: object) -> None:
    assert parse_usage({"prompt_tokens": count, "completion_tokens": 3}) == Usage(0, 3)


def test_a_count_without_end_can_still_be_added_up_and_written_down() -> None:
    counted = [parse_usage({"prompt_tokens": int("9" * 4300), "completion_tokens": 3})] * 200
    assert len(str(sum(usage.prompt_tokens for usage in counted))) < 20


@pytest.mark.parametrize("usage", [None, [], "x", 7])
def test_a_usage_of_another_shape_leaves_the_last_one(usage: object) -> None:
    reader = AnswerReader()
    reader.feed(USAGE + line(choices=[], usage=usage))
    assert reader.usage == Usage(11, 7)


def test_lines_that_are_not_data_are_given_on_unread() -> None:
    words = b"event: ping\nid: 7\n: keep-alive\nretry: 5\n\n"
    assert AnswerReader().feed(words) == words
