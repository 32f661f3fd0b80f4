"""Git in a repository that an agent has had: asked for a while only, and once more where there was no room for it."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, TypeVar

from langchain_sandbox.agent import children
from langchain_sandbox.agent.opencode import tool_environment

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")

_ASKING_LIMIT = 4.0
_PACKING_LIMIT = 30.0

_T = TypeVar("_T")


class PatientGit:
    """Runs git in a folder.

    Args:
        folder: Where.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.make_room: Callable[[], None] | None = None
        """Called, once, where git cannot be run, as when there can be no more processes; it is tried again then."""

    def ask(self, *arguments: str) -> bytes:
        """Run a command and return its standard output.

        The agent may have laid a pipe where git reads a file, and nobody writes into it: hence the limit.

        Raises:
            ExitError: If git says no.
            OSError: If it cannot be run, or takes too long.
        """
        return self._insist(
            lambda: children.run(
                [*COMMAND, *arguments], cwd=self._folder, env=tool_environment(), timeout=_ASKING_LIMIT
            )
        )

    def pack(self, *arguments: str) -> IO[bytes]:
        """As `ask`, for much: what it puts out is in a file in memory."""
        return self._insist(lambda: self._pack(arguments))

    def _pack(self, arguments: tuple[str, ...]) -> IO[bytes]:
        output = children.in_memory("output")
        command = [*COMMAND, *arguments]
        child = children.spawn(command, cwd=self._folder, env=tool_environment(), stdout=output)
        code = children.wait(child, _PACKING_LIMIT)
        if code is None:
            children.kill(child)
            children.wait(child)
        children.forget(child)
        if code != 0:
            output.close()
            msg = f"git {arguments[0]} took too long" if code is None else f"git {arguments[0]} ended with {code}"
            raise TimeoutError(msg) if code is None else children.ExitError(msg)
        return output

    def _insist(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (children.ExitError, TimeoutError):
            raise
        except OSError:
            if self.make_room is None:
                raise
            make_room, self.make_room = self.make_room, None
            make_room()
            return work()
