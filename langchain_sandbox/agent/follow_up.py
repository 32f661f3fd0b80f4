"""A workspace that is there from the task before: what changed on the host since is laid over it.

Everything else in the container stands still meanwhile.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.arrival import Arrival
from langchain_sandbox.agent.manifest import fingerprint
from langchain_sandbox.agent.repository import look_at_refs, make_git_folders, point_head, remove_locks, restore_index
from langchain_sandbox.agent.seed import lay_down, lies_behind_link, make_way
from langchain_sandbox.link import FileStream, LinkEvent, Message

if TYPE_CHECKING:
    from langchain_sandbox.agent.departure import Departure
    from langchain_sandbox.agent.wire import Outlet


class FollowUp(Arrival):
    """Complete once the host's changes are made; changes are told from then on.

    Args:
        wire: Where they come from.
        before: How the workspace came for the task before.
        departure: What was sent back of it; over.
    """

    def __init__(self, wire: Outlet, *, before: Arrival, departure: Departure) -> None:
        super().__init__(wire, folder=before.folder)
        # What was before is not kept, nor what was before that.
        self.manifest, self.seeded = dict(before.manifest), set(before.seeded)
        self.nested, self.bases, self.shallow = list(before.nested), list(before.bases), list(before.shallow)
        self.tips = list(departure.commits.tips)
        self._owes_commits = departure.commits.owed
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
            if git is not None:
                make_git_folders()
                remove_locks()
                point_head(git["branch"])
            # First on the link, and first taken: what waits of it would leave no room in the window for the changes.
            listed = self._take_history(git)
            if self._has_seed:
                self._take_changes()
            if git is not None:
                # What the agent has made of a file and the host does not know is to look changed to git, too.
                restore_index(git, listed, self.manifest, prefix=self.prefix)
                self.nested = [str(path) for path in git["nested"]]
                self._note_commits(git)
            # Commits that did not go out are as new as if they were made from here on.
            self.refs = None if self._owes_commits else look_at_refs()
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._error = str(error)
        finally:
            self._done.set()

    def _take_changes(self) -> None:
        for path in lay_down(self.folder, self._take, acknowledge=self._wire.acknowledge):
            if lies_behind_link(self.folder, path):
                self._note(path, None)
                self.seeded.discard(path)  # what has this name now is a file of another
            else:
                self._note(path, _look_at(os.path.join(self.folder, path)))
                self.seeded.add(path)

    def _take(self) -> LinkEvent:
        """The next of what the host has to say of its files, with room made for it: whatever the agent did counts less.

        The host knows of most that is in the way, and says so; it does not know of what git ignores.
        """
        event = self._streams[FileStream.SEED].get()
        if isinstance(event, Message) and event.body["kind"] != "deleted":
            make_way(self.folder, str(event.body["path"]))
        return event


def _look_at(path: str) -> tuple[int, ...] | None:
    """How a file or link looks; `None` where there is neither."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return None if stat.S_ISDIR(status.st_mode) else fingerprint(status)
