"""A workspace that is there from the task before: what changed on the host since is laid over it.

Everything else in the container stands still meanwhile.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.arrival import Arrival
from langchain_sandbox.agent.manifest import fingerprint, take_manifest
from langchain_sandbox.agent.repository import look_at_refs, point_head, restore_index
from langchain_sandbox.agent.seed import lay_down, make_way
from langchain_sandbox.link import FileStream, LinkEvent, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.agent.departure import Departure
    from langchain_sandbox.agent.wire import Outlet


class FollowUp(Arrival):
    """Complete once the host's changes are made; changes are told from then on.

    Args:
        wire: Where they come from.
        before: How the workspace came for the task before.
        departure: What was sent back of it.
        tips: Waits for the commits that it ended with.
    """

    def __init__(self, wire: Outlet, *, before: Arrival, departure: Departure, tips: Callable[[], list[str]]) -> None:
        super().__init__(wire, folder=before.folder)
        self.manifest = dict(before.manifest)
        self.nested, self.base, self.seeded = before.nested, before.base, set(before.seeded)
        self._await_tips = tips
        for path, looks in departure.sent.items():
            self._note(path, looks)
            self.seeded.add(path)

    def _note(self, path: str, looks: tuple[int, ...] | None) -> None:
        if looks is None:
            self.manifest.pop(path, None)
        else:
            self.manifest[path] = looks

    def _receive(self, git: dict[str, Any] | None) -> None:
        try:
            self.tips = self._await_tips()
            if git is not None:
                point_head(git["branch"])
            # First on the link, and first taken: what waits of it would leave no room in the window for the changes.
            listed = self._take_history(git)
            if self._has_seed:
                laid = lay_down(self.folder, self._take, acknowledge=self._wire.acknowledge)
                for path in laid:
                    self._note(path, _look_at(os.path.join(self.folder, path)))
                self.seeded |= laid
            if git is not None:
                restore_index(git, listed, take_manifest(self.folder), prefix=self.prefix)
                self.nested, self.base = [str(path) for path in git["nested"]], git["head"]
                self.tips = [*self.tips, *filter(None, [self.base])]
            self.refs = look_at_refs()
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._error = str(error)
        finally:
            self._done.set()

    def _take(self) -> LinkEvent:
        """The next of what the host has to say of its files, with room made for it: whatever the agent did counts less.

        The host knows of most that is in the way, and says so; it does not know of what git ignores.
        """
        event = self._streams[FileStream.SEED].get()
        if isinstance(event, Message) and event.body["kind"] != "deleted":
            make_way(self.folder, str(event.body["path"]))
        return event


def _look_at(path: str) -> tuple[int, ...] | None:
    try:
        return fingerprint(os.lstat(path))
    except OSError:
        return None
