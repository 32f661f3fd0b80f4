"""The link is pure, so it is fuzzed: any split, any garbage, any order of traffic."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_sandbox.link import (
    MAX_PAYLOAD,
    WINDOW,
    Channel,
    Data,
    End,
    Link,
    LinkError,
    LinkEvent,
    Message,
    Reset,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(), json_values, max_size=4)
channels = st.sampled_from(Channel)
streams = st.integers(0, 2**32 - 1)
events = st.one_of(
    st.builds(Message, channels, streams, bodies),
    st.builds(Data, channels, streams, st.binary(min_size=1, max_size=200)),
    st.builds(End, channels, streams),
    st.builds(Reset, channels, streams, bodies),
)


def say(link: Link, event: LinkEvent) -> None:
    where = {"channel": event.channel, "stream": event.stream}
    match event:
        case Message():
            link.send_message(event.body, **where)
        case Data():
            link.send_data(event.payload, **where)
        case End():
            link.send_end(**where)
        case Reset():
            link.send_reset(event.body, **where)


def frame(number: int, length: int, kind: int, channel: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame whose checks are right, whatever is in it."""
    header = struct.pack(">IBBI", length, kind, channel, stream)
    told = header + struct.pack(">I", zlib.crc32(header, number)) + payload
    return told + struct.pack(">I", zlib.crc32(payload)) if payload else told


def drain(link: Link) -> bytes:
    out = b""
    while chunk := link.data_to_send():
        out += chunk
    return out


@given(st.lists(events, max_size=20), st.data())
def test_round_trip_whatever_way_the_bytes_are_split(said: list[LinkEvent], data: st.DataObject) -> None:
    sender, receiver = Link(), Link()
    for event in said:
        say(sender, event)
    wire = drain(sender)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    heard: list[LinkEvent] = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        heard += receiver.receive(wire[start:end])
    # Channels are reordered by urgency, but each keeps its own order.
    for channel in Channel:
        assert [e for e in heard if e.channel is channel] == [e for e in said if e.channel is channel]


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_is_a_link_error_and_nothing_else(chunks: list[bytes]) -> None:
    link = Link()
    try:
        for chunk in chunks:
            link.receive(chunk)
    except LinkError:
        pass


@given(st.integers(0, 6), st.integers(0, 4), st.binary(max_size=40), st.lists(events, max_size=5))
def test_a_well_formed_header_with_any_payload(kind: int, channel: int, payload: bytes, said: list) -> None:
    sender, receiver = Link(), Link()
    for event in said:
        say(sender, event)
    wire = drain(sender) + frame(len(said), len(payload), kind, channel, 7, payload)
    try:
        heard = receiver.receive(wire)
    except LinkError:
        return
    assert len(heard) >= len(said)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 300_000), min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_credit_stops_a_sender_and_lets_it_go_on(sizes: list[int], random: object) -> None:
    sender, receiver = Link(), Link()
    for size in sizes:
        sender.send_data(bytes(size), channel=Channel.FILES, stream=1)
    unconsumed, arrived = 0, 0
    while arrived < sum(sizes):
        for event in receiver.receive(sender.data_to_send()):
            assert isinstance(event, Data)
            unconsumed += len(event.payload)
            arrived += len(event.payload)
        assert unconsumed <= WINDOW
        if not sender.wants_write or random.random() < 0.3:
            receiver.acknowledge(Channel.FILES, unconsumed)
            unconsumed = 0
            sender.receive(drain(receiver))
    assert sender.queued(Channel.FILES) == 0


def test_urgent_channels_overtake_a_repository_in_transfer() -> None:
    sender, receiver = Link(), Link()
    sender.send_data(bytes(WINDOW), channel=Channel.FILES, stream=1)
    receiver.receive(sender.data_to_send())
    sender.send_data(b"token", channel=Channel.MODEL, stream=2)
    sender.send_message({"type": "abort"})
    heard = receiver.receive(sender.data_to_send(limit=1)) + receiver.receive(sender.data_to_send(limit=1))
    assert [e.channel for e in heard] == [Channel.CONTROL, Channel.MODEL]


def test_a_blocked_channel_does_not_block_another() -> None:
    sender, receiver = Link(), Link()
    sender.send_data(bytes(WINDOW + 1), channel=Channel.FILES, stream=1)
    receiver.receive(drain(sender))
    assert sender.queued(Channel.FILES) > 0
    assert not sender.wants_write
    sender.send_data(b"x", channel=Channel.MODEL, stream=1)
    assert receiver.receive(drain(sender)) == [Data(Channel.MODEL, 1, b"x")]


def test_a_message_longer_than_frames_and_window() -> None:
    sender, receiver = Link(), Link()
    body = {"text": "ü" * WINDOW}
    sender.send_message(body, channel=Channel.EVENTS)
    heard: list[LinkEvent] = []
    while sender.queued(Channel.EVENTS):
        heard += receiver.receive(sender.data_to_send())
        sender.receive(drain(receiver))
    assert heard == [Message(Channel.EVENTS, 0, body)]


def test_lone_surrogates_survive_since_file_names_need_them() -> None:
    sender, receiver = Link(), Link()
    sender.send_message({"path": "caf\udce9"})
    assert receiver.receive(drain(sender)) == [Message(Channel.CONTROL, 0, {"path": "caf\udce9"})]


@pytest.mark.parametrize(
    ("wire", "what"),
    [
        (frame(0, MAX_PAYLOAD + 1, 2, 4, 0), "longer"),
        (frame(0, 0, 99, 0, 0), "99"),
        (frame(0, 0, 0, 99, 0), "99"),
        (frame(0, 2, 0, 0, 0, b"[]"), "object"),
        (frame(0, 4000, 0, 0, 0, b"[" * 4000), "JSON"),
        (frame(0, 4, 5, 1, 0, struct.pack(">I", 1)), "credit"),
        (frame(0, 1, 5, 1, 0, b"x"), "CREDIT"),
        (b"".join(frame(n, MAX_PAYLOAD, 2, 4, 0, bytes(MAX_PAYLOAD)) for n in range(17)), "unacknowledged"),
        (b"".join(frame(n, MAX_PAYLOAD, 1, 0, 0, bytes(MAX_PAYLOAD)) for n in range(257)), "messages"),
    ],
)
def test_broken_rules_are_named(wire: bytes, what: str) -> None:
    with pytest.raises(LinkError, match=what):
        Link().receive(wire)


@pytest.mark.parametrize("size", [0, 1])
def test_messages_that_begin_and_never_end_are_bounded_however_short(size: int) -> None:
    frames = (frame(stream, size, 1, Channel.EXEC, stream, b"x" * size) for stream in range(20_000))
    with pytest.raises(LinkError, match="messages of more than"):
        Link().receive(b"".join(frames))


def test_messages_that_end_are_not_counted_any_more() -> None:
    sender, receiver = Link(), Link(max_message=MAX_PAYLOAD * 3)
    for stream in range(1000):
        sender.send_message({"text": "x" * MAX_PAYLOAD}, stream=stream)
        assert len(receiver.receive(drain(sender))) == 1


@given(st.lists(events, min_size=1, max_size=8), st.data())
def test_what_is_damaged_is_noticed_at_once_and_never_acted_upon(said: list[LinkEvent], data: st.DataObject) -> None:
    """All of a frame that was not damaged is taken; the one that was is an error as soon as its bytes are there."""
    sender, receiver = Link(), Link()
    pieces = []
    for event in said:
        say(sender, event)
        pieces.append(drain(sender))
    which = data.draw(st.integers(0, len(pieces) - 1))
    damaged = bytearray(pieces[which])
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    heard = receiver.receive(b"".join(pieces[:which]))
    with pytest.raises(LinkError, match="does not match its check"):
        receiver.receive(bytes(damaged))
    assert heard == said[:which]


@given(st.lists(events, min_size=2, max_size=8), st.data())
def test_a_frame_that_is_lost_or_comes_twice_is_noticed(said: list[LinkEvent], data: st.DataObject) -> None:
    sender = Link()
    pieces = []
    for event in said:
        say(sender, event)
        pieces.append(drain(sender))
    which = data.draw(st.integers(0, len(pieces) - 2))
    for wire in (pieces[:which] + pieces[which + 1 :], pieces[: which + 1] + pieces[which:]):
        with pytest.raises(LinkError, match="does not match its check"):
            Link().receive(b"".join(wire))


def test_the_first_frame_of_another_version_says_what_to_do() -> None:
    of_version_2 = struct.pack(">IBBI", 2, 0, 0, 0) + b"{}"
    with pytest.raises(LinkError, match="rebuild the image"):
        Link().receive(of_version_2 + bytes(8))
