"""The commits that an agent has made and the host does not know of."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from langchain_sandbox.agent import children
from langchain_sandbox.agent.repository import look_at_refs

if TYPE_CHECKING:
    from langchain_sandbox.agent.arrival import Arrival
    from langchain_sandbox.agent.patient_git import PatientGit

_NAME = 40  # of a commit, in hexadecimal


class NewCommits:
    """Finds them, and remembers what the host was given.

    Args:
        arrival: What came in; complete by the time that this is asked.
        git: In the repository.
    """

    def __init__(self, arrival: Arrival, git: PatientGit) -> None:
        self._arrival = arrival
        self._git = git
        self._given: list[str] = []
        self.owed = False
        """Whether there are some that could not be given, or may be."""

    @property
    def tips(self) -> list[str]:
        """The commits that the host knows of: those that came in, and those that went out."""
        return list(dict.fromkeys([*self._arrival.tips, *self._arrival.bases, *self._given]))

    def pack(self) -> IO[bytes] | None:
        """A bundle of them, if there are any; all since what came in: what went out, the host may not have taken over.

        Raises:
            OSError: If they cannot be found or packed.
        """
        self.owed = True
        if not self._are_there():
            self.owed = False
            return None
        since = ["--not", *self._arrival.bases] if self._arrival.bases else []
        return self._git.pack("bundle", "create", "--quiet", "-", "HEAD", "--branches", *since, "--")

    def note_given(self, bundle: IO[bytes]) -> None:
        """Remember that the host has a bundle."""
        bundle.seek(0)
        lines = iter(bundle.readline, b"\n")
        self._given = [line[:_NAME].decode("ascii") for line in lines if not line.startswith((b"#", b"-", b"@"))]
        self.owed = False

    def _are_there(self) -> bool:
        refs, tips = self._arrival.refs, self.tips
        if refs is not None and look_at_refs() == refs:
            return False  # without asking git
        known = ["--ignore-missing", "--not", *tips] if tips else []
        try:
            counted = self._git.ask("rev-list", "--count", "HEAD", "--branches", *known, "--")
        except children.ExitError:
            return False  # there is no commit at all, or no repository any more
        return counted.strip() not in {b"", b"0"}
