"""OpenCode that is put to sleep while somebody waits for it; a server of events stands where OpenCode would."""

from __future__ import annotations

import http.client
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import pytest
from copies import Collector

from langchain_sandbox.agent import booted, children, spare
from langchain_sandbox.agent.deadline import Deadline
from langchain_sandbox.agent.opencode import Feed, OpenCodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)


class Events:
    """Serves one stream of events, as many as it is told."""

    def __init__(self) -> None:
        self.write: Callable[[bytes], Any] | None = None
        self.opened, self.over = threading.Event(), threading.Event()
        events = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
                events.write = self.wfile.write
                events.opened.set()
                events.over.wait()

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, words: str) -> None:
        assert self.opened.wait(20)
        assert self.write is not None
        self.write(f'data: {{"words": "{words}"}}\n\n'.encode())

    def ask(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_address[1])
        connection.request("GET", "/event")
        return connection


@pytest.fixture
def events() -> Iterator[Events]:
    found = Events()
    yield found
    found.over.set()
    found.server.shutdown()
    found.server.server_close()


def test_nothing_is_told_once_a_feed_has_ended(events: Events) -> None:
    told: list[Any] = []
    heard = threading.Event()
    feed = Feed(lambda event: (told.append(event), heard.set()))  # type: ignore[func-returns-value]
    following = threading.Thread(target=feed.follow, args=(events.ask(),))
    following.start()
    events.say("one")
    assert heard.wait(20)
    assert feed.flows
    feed.end()
    following.join(20)
    assert not following.is_alive()
    assert (told, feed.flows, feed.settled.is_set()) == ([{"words": "one"}], False, True)


def test_a_feed_that_ended_before_it_was_followed_tells_nothing(events: Events) -> None:
    told: list[Any] = []
    feed = Feed(told.append)
    feed.end()
    feed.follow(events.ask())
    assert told == []


class Sleeper:
    """As OpenCode is to who has it watched: the stream of events opens when it is let."""

    def __init__(self) -> None:
        self.feeds: list[Feed] = []
        self.asked = threading.Event()

    def watch(self, on_event: Callable[[dict[str, Any]], None]) -> Feed:
        self.feeds.append(Feed(on_event))
        self.asked.set()
        return self.feeds[-1]

    def open(self) -> None:
        self.feeds[-1].flows = True
        self.feeds[-1].settled.set()


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> booted.Booted:
    monkeypatch.setattr(children, "freeze_all", lambda: True)
    found = object.__new__(booted.Booted)
    found.opencode, found.session = Sleeper(), "s"  # type: ignore[assignment]
    found._feed, found._hear, found._parks = None, None, 0
    found._lock, found._parking = threading.Lock(), threading.Lock()
    return found


def attend(sleeper: booted.Booted) -> tuple[threading.Thread, list[object]]:
    came: list[object] = []

    def run() -> None:
        try:
            came.append(sleeper.attend())
        except OpenCodeError as error:
            came.append(error.code)

    thread = threading.Thread(target=run)
    thread.start()
    opencode: Any = sleeper.opencode
    assert opencode.asked.wait(20)
    return thread, came


@pytest.mark.parametrize(("parked", "opened", "outcome"), [(False, True, True), (True, True, False)])
def test_who_was_put_to_sleep_while_he_waited_gives_up_quietly(
    sleeper: booted.Booted, *, parked: bool, opened: bool, outcome: bool
) -> None:
    opencode: Any = sleeper.opencode
    thread, came = attend(sleeper)
    if parked:
        assert sleeper.park()
    if opened:
        opencode.open()
    thread.join(20)
    assert came == [outcome]
    assert (sleeper._feed is not None) is outcome


def test_who_gets_no_answer_says_so_unless_he_was_put_to_sleep(
    sleeper: booted.Booted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booted, "_STREAM_LIMIT", 0.2)
    thread, came = attend(sleeper)
    thread.join(20)
    assert came == ["opencode_api"]
    thread, came = attend(sleeper)
    sleeper.park()
    thread.join(20)
    assert came == [False]


@pytest.mark.parametrize("expected", [True, False])
def test_opencode_alone_settles_after_a_task_unless_another_one_comes(
    sleeper: booted.Booted, monkeypatch: pytest.MonkeyPatch, *, expected: bool
) -> None:
    did: list[str] = []
    stopped = threading.Event()

    class Watched:
        def thaw(self) -> None:
            did.append("thaw")

    class Kept:
        def begin(self) -> None:
            did.append("vigil")
            stopped.set()

        def end(self) -> None:
            pass

    def freeze_all() -> bool:
        did.append("freeze")
        return True

    class Asked:
        def reopen(self) -> None:
            pass

    monkeypatch.setattr(children, "freeze_all", freeze_all)
    monkeypatch.setattr(children, "stand_still", lambda: True)
    monkeypatch.setattr(booted, "_SETTLING", 0.2)
    sleeper.opencode, sleeper._vigil, sleeper.endpoint = Watched(), Kept(), Asked()  # type: ignore[assignment]
    sleeper._expected = threading.Event()
    assert sleeper.rest()
    if expected:
        sleeper.expect()
    assert stopped.wait(0.6) is not expected
    assert did == (["thaw"] if expected else ["thaw", "freeze", "vigil"])


def test_what_the_warm_up_has_left_and_cannot_be_removed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare, "REPOSITORY", str(tmp_path))
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "link").symlink_to("d")
    spare._clear()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "d").mkdir()
    monkeypatch.setattr(spare.shutil, "rmtree", lambda _: None)
    with pytest.raises(OSError, match="'d' of the warm-up cannot be removed"):
        spare._clear()


@pytest.mark.parametrize("still", [True, False])
def test_a_spare_is_parked_only_if_all_stands_still(*, still: bool) -> None:
    class Booted:
        def park(self) -> bool:
            return still

    wire = Collector()
    sleeping = object.__new__(spare.Spare)
    sleeping._wire, sleeping._booted = wire, Booted()  # type: ignore[assignment]
    sleeping.on_control({"type": "park"})
    assert [event.body["type"] for event in wire.said] == ["parked" if still else "failed"]  # type: ignore[union-attr]


def test_a_deadline_comes_as_it_was_said_last() -> None:
    expired = threading.Event()
    deadline = Deadline(expired.set)
    deadline.move(0.05)
    deadline.move(1000.0)
    assert not expired.wait(0.2)
    deadline.move(0.0)
    assert expired.wait(20)
