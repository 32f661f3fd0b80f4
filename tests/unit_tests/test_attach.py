"""The engine's framing is taken apart whatever way its bytes are split, and standard error has a limit."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.engine.attach import Demultiplexer
from langchain_sandbox.link import LinkError

OUT, ERR = 1, 2
TAIL = 16 * 1024

frames = st.lists(st.tuples(st.sampled_from([OUT, ERR]), st.binary(max_size=60)), max_size=12)


def encode(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxI", kind, len(payload)) + payload


def joined(kind: int, said: list[tuple[int, bytes]]) -> bytes:
    return b"".join(payload for its_kind, payload in said if its_kind == kind)


@given(frames, st.lists(st.integers(0, 900), max_size=30))
def test_both_streams_are_told_apart_whatever_way_the_bytes_are_split(
    said: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    wire = b"".join(encode(*frame) for frame in said)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    demultiplexer = Demultiplexer()
    out = b"".join(demultiplexer.receive(wire[start:end]) for start, end in pairwise(edges))
    assert out == joined(OUT, said)
    assert demultiplexer.stderr_tail == joined(ERR, said).decode("utf-8", "replace")


@given(frames, st.integers(1, 8))
def test_what_has_come_is_given_on(said: list[tuple[int, bytes]], missing: int) -> None:
    wire = b"".join(encode(*frame) for frame in said)
    demultiplexer = Demultiplexer()
    last = encode(OUT, b"the last frame")
    assert demultiplexer.receive(wire + last[:-missing]) == joined(OUT, said) + b"the last frame"[:-missing]
    assert demultiplexer.receive(last[-missing:]) == b"the last frame"[-missing:]


def test_a_length_that_was_damaged_is_not_waited_for() -> None:
    damaged = struct.pack(">BxxxI", OUT, 2**31) + b"first"
    following = encode(OUT, b"second")
    assert Demultiplexer().receive(damaged + following) == b"first" + following


@pytest.mark.parametrize("header", [b"HTTP/1.1", b"\x03\0\0\0\0\0\0\1", b"\1\0\1\0\0\0\0\1"])
def test_what_is_no_frame_of_an_engines_is_an_error(header: bytes) -> None:
    demultiplexer = Demultiplexer()
    assert demultiplexer.receive(encode(OUT, b"said") + header[:7]) == b"said"
    with pytest.raises(LinkError, match="no frame of its"):
        demultiplexer.receive(header[7:])


@given(st.lists(st.integers(1, 3 * TAIL), min_size=1, max_size=12))
def test_of_standard_error_the_end_is_kept_and_the_memory_is_bounded(sizes: list[int]) -> None:
    demultiplexer = Demultiplexer()
    said = b""
    for number, size in enumerate(sizes):
        payload = bytes((ord("a") + number,)) * size
        said += payload
        assert demultiplexer.receive(encode(ERR, payload)) == b""
        assert sum(map(len, demultiplexer._stderr)) < 2 * TAIL
    assert demultiplexer.stderr_tail == said[-TAIL:].decode()


def test_a_program_that_floods_standard_error_byte_by_byte_is_bounded_too() -> None:
    demultiplexer = Demultiplexer()
    flood = b"".join(encode(ERR, b"%d" % (number % 10)) for number in range(50_000))
    demultiplexer.receive(flood)
    assert len(demultiplexer._stderr) <= TAIL
    assert demultiplexer.stderr_tail.endswith("789")
    assert len(demultiplexer.stderr_tail) == TAIL


def test_last_words_that_are_not_utf_8_can_be_read_all_the_same() -> None:
    demultiplexer = Demultiplexer()
    demultiplexer.receive(encode(ERR, b"caf\xe9: ") + encode(ERR, "ü".encode()))
    assert demultiplexer.stderr_tail == "caf\ufffd: ü"


def test_a_frame_as_long_as_the_links_own_goes_through_whole() -> None:
    payload = bytes(range(256)) * 1024
    assert Demultiplexer().receive(encode(OUT, payload) * 3) == payload * 3
