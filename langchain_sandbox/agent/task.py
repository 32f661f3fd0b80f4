"""One task: OpenCode boots while the repository arrives, works, and what came of it goes back."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.anew import create_anew
from langchain_sandbox.agent.arrival import Arrival, ArrivalError
from langchain_sandbox.agent.booted import Booted
from langchain_sandbox.agent.expand import expand
from langchain_sandbox.agent.follow_up import FollowUp
from langchain_sandbox.agent.opencode import LOG, REPOSITORY, OpenCodeError
from langchain_sandbox.agent.words import cap, cut_answer, join_texts, read_error, read_tail
from langchain_sandbox.agent.work import Work, find_full_filesystems
from langchain_sandbox.link import Channel, LinkEvent

if TYPE_CHECKING:
    from langchain_sandbox.agent.endpoint import Endpoint
    from langchain_sandbox.agent.wire import Outlet

_EVENTS = {
    "message.part.delta",
    "message.part.updated",
    "message.updated",
    "session.created",
    "session.error",
    "session.idle",
    "session.compacted",
}
_BACKLOG = 512 * 1024
_LAST_EVENTS = 2.0
_NO_ANSWER = "StructuredOutputError"


class Task(Work):
    """Everything that one task needs, from the host's hello on.

    Args:
        wire: The link.
        hello: What the host said first, or of this task.
        arrival: As for any work.
        booted: OpenCode, where it was started before there was this task.
    """

    def __init__(
        self, wire: Outlet, hello: dict[str, Any], *, arrival: Arrival | None = None, booted: Booted | None = None
    ) -> None:
        super().__init__(wire, hello, arrival=arrival)
        self._idle = threading.Event()
        self._hurried: set[str] = set()
        self._verdicts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._booted = booted or Booted(wire, hello["model"], folder=self.arrival.folder)
        self._opencode = self._booted.opencode
        self._stays = bool(hello.get("stay"))
        self._hurries = booted is not None  # who has booted ahead does not wait for a big program to be taken apart
        self._aborted = False
        self._rested = threading.Event()  # all is done for the task, and nothing runs
        self._arriving: threading.Thread | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The model's address inside."""
        return self._booted.endpoint

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says: the model's answers, and the workspace."""
        if event.channel is Channel.MODEL:
            self.endpoint.on_event(event)
        else:
            super().on_event(event)

    def on_control(self, body: dict[str, Any]) -> None:
        """Take what the host says: the task, and its word on an answer."""
        match body.get("type"):
            case "task":
                self.start(body)
            case "verdict":
                self.on_verdict(body.get("repair"))
            case _:
                super().on_control(body)

    def start(self, task: dict[str, Any]) -> None:
        """Begin with what the host asks."""
        threading.Thread(target=self._run, args=(task,), name="task", daemon=True).start()

    def assign(self, body: dict[str, Any]) -> Work:
        """Go on with another task in the same conversation and the same workspace, if it was said that one may come."""
        if not self.resting or self._departure is None:
            return super().assign(body)
        self._booted.expect()
        arrival = FollowUp(self._wire, before=self.arrival, departure=self._departure)
        return Task(self._wire, body, arrival=arrival, booted=self._booted)

    def abort(self) -> None:
        """Stop OpenCode and everything that it started; what was changed until now still goes back."""
        self._aborted = True
        super().abort()
        self._verdicts.put(None)

    def on_verdict(self, repair: str | None) -> None:
        """Take the host's word on a typed answer.

        Args:
            repair: What to tell the model, so that it gives a better one; `None` to leave it at that.
        """
        self._verdicts.put(repair)

    def _run(self, task: dict[str, Any]) -> None:
        result: dict[str, Any] = {"type": "result", "finish": None, "text": "", "error": None}
        try:
            result["opencode"] = self._booted.wait_ready()
            if task.get("instructions") is None:
                self._settle_in()
            else:
                self._begin_early(str(task["instructions"]))
            result.update(self._work(task))
            self.arrival.wait()
            if self._arriving is not None:
                self._arriving.join()  # what it lets go on is not to do so after it was stopped
        except ArrivalError as error:
            result["error"] = {"name": "workspace", "message": str(error)}
        except OpenCodeError as error:
            result["error"] = {"name": error.code, "message": str(error)}
        except (OSError, KeyError, TypeError) as error:
            result["error"] = {"name": "opencode_gone", "message": f"OpenCode went away: {error}"}
        if self.arrival.error is not None:
            result["error"] = {"name": "workspace", "message": self.arrival.error}
        result["full"] = find_full_filesystems()
        if result["error"]:
            result["log"] = read_tail(LOG)
        self._stays = self._stays and result["error"] is None
        if self._stays and self._departure is not None:
            self._departure.stop()  # a look of its that was stopped half way would never end
        self._hand_in(result)

    def _settle_in(self) -> None:
        """Wait until the workspace is in place, and let what stood still since the task before go on."""
        self.arrival.wait()
        if self._departure is not None:
            self._departure.start()
        self._booted.wake()

    def _begin_early(self, instructions: str) -> None:
        """Let OpenCode think of its first request while the workspace arrives: of all of it, that needs only this.

        The model's first answer waits for the rest, and no tool runs before that.

        Args:
            instructions: What the workspace's AGENTS.md says; empty where there is none, or it is in place.
        """
        self.endpoint.hold()
        self._booted.wake_opencode()
        if instructions:
            create_anew(REPOSITORY, f"{self.arrival.prefix}AGENTS.md", instructions.encode("utf-8"))
        self._arriving = threading.Thread(target=self._arrive, name="arriving", daemon=True)
        self._arriving.start()

    def _arrive(self) -> None:
        try:
            self.arrival.wait()
        except ArrivalError:
            children.kill_all()  # there is nothing for it to work on; whoever waits for OpenCode learns it there
        else:
            if self._departure is not None:
                self._departure.start()
            self._booted.wake()
        self.endpoint.release()

    def _work(self, task: dict[str, Any]) -> dict[str, Any]:
        self._booted.listen(self._forward)
        self._booted.attend()
        self._wire.send_message({"type": "working"})
        # It may have been opened before there was somebody to tell.
        self._forward({"type": "session.created", "properties": {"sessionID": self._booted.session}})
        text, session = str(task["text"]), self._booted.session
        parts = expand(text, folder=self.arrival.folder) if task.get("expand") else [{"type": "text", "text": text}]
        if task.get("note"):
            parts = [*parts, {"type": "text", "text": str(task["note"])}]
        agent, schema = str(task["agent"]), task.get("schema")
        reply = self._opencode.prompt(session, parts=parts, agent=agent, schema=schema)
        texts = join_texts(reply)
        while schema is not None and (repair := self._show_answer(reply["info"])) is not None:
            parts = [{"type": "text", "text": repair}]
            self._idle.clear()
            reply = self._opencode.prompt(session, parts=parts, agent=agent, schema=schema)
            texts = join_texts(reply) or texts
        self._idle.wait(_LAST_EVENTS)
        info = reply["info"]
        answer, cut = cut_answer(texts)
        return {"finish": info.get("finish"), "text": answer, "cut": cut, "error": read_error(info.get("error"))}

    @property
    def resting(self) -> bool:
        """As for any work."""
        return self._stays and self._rested.is_set()

    def _still(self) -> None:
        self._stays = self._stays and not self._aborted and self._booted.park()
        if self._stays:
            self.endpoint.end_all()
        elif self._aborted or not self._hurries or not children.freeze_all(tries=1):
            super()._still()

    def _make_room(self) -> None:
        self._stays = False
        super()._make_room()

    def _rest(self) -> dict[str, Any]:
        if self._stays:
            # Once more: what went on in spite of all may have changed files behind our back.
            self._stays = self._booted.rest()
            if not self._stays:
                children.kill_all()
        self._rested.set()
        return {"stays": self._stays}

    def _show_answer(self, info: dict[str, Any]) -> str | None:
        """Have the host look at a typed answer, and return what it wants the model to be told."""
        error = read_error(info.get("error"))
        if error is not None and error["name"] != _NO_ANSWER:
            return None  # the model failed, and would again
        self._wire.send_message({"type": "answer", "answer": info.get("structured")})
        return self._verdicts.get()

    def _forward(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind not in _EVENTS:
            return
        properties = event.get("properties") or {}
        if kind == "session.idle" and properties.get("sessionID") == self._booted.session:
            self._idle.set()
        if kind == "message.part.delta":
            part = str(properties.get("partID"))
            if part in self._hurried or self._wire.queued(Channel.EVENTS) > _BACKLOG:
                # None of this part from now on: the finished part follows with the whole text, and the host takes
                # from it what lies behind the pieces that it had.
                self._hurried.add(part)
                return
        self._wire.send_message({"type": kind, "properties": cap(properties)}, channel=Channel.EVENTS)
