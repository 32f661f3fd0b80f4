"""This package's own contestants: nothing warm, a spare from a pool, and one more task of a session."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from board.contestant import Arena, Attempt, Contestant, Entrant, NotHereError
from coding_task import MODULE, TASK, build_task, is_patch
from cold_task import open_sandbox
from pairs import BenchmarkError

import langchain_sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_sandbox import Sandbox, SandboxResult

POOL = 2
_TASKS_OF_A_SESSION = 10


@contextmanager
def _open_cold(arena: Arena) -> Iterator[Entrant]:
    sandbox = open_sandbox(arena.endpoint, arena.repository)
    yield Entrant(attempt=lambda _: Attempt(_time(sandbox.run).seconds))


@contextmanager
def _open_pooled(arena: Arena) -> Iterator[Entrant]:
    with open_sandbox(arena.endpoint, arena.repository, **_make_pool()) as sandbox:
        sandbox.warm()
        yield Entrant(attempt=lambda _: _time(sandbox.run), settle=sandbox.warm)


@contextmanager
def _open_sessions(arena: Arena) -> Iterator[Entrant]:
    if not hasattr(langchain_sandbox.Sandbox, "session"):
        msg = "this version of the package has no sessions"
        raise NotHereError(msg)
    with ExitStack() as stack:
        sandbox = open_sandbox(arena.endpoint, arena.repository)
        lanes = [stack.enter_context(_Lane(sandbox)) for _ in range(arena.lanes)]
        yield Entrant(prepare=lambda lane: lanes[lane].prepare(), attempt=lambda lane: lanes[lane].attempt())


class _Lane:
    """One session after the other. The first task of each boots its container, and is not measured."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._stack = ExitStack()
        self._session: Any = None
        self._tasks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self) -> None:
        if self._session is not None and self._tasks < _TASKS_OF_A_SESSION:
            return
        self._stack.close()
        self._session = self._stack.enter_context(self._sandbox.session())
        self._tasks = 0
        self.attempt()

    def attempt(self) -> Attempt:
        module, self._tasks = self._tasks, self._tasks + 1
        return Attempt(_time(self._session.run, build_task(module), module).seconds)


def _time(run: Callable[[str], SandboxResult], task: str = TASK, module: int = MODULE) -> Attempt:
    """Have a task done; whether a spare did it is for the pooled contestant alone to tell."""
    began = time.perf_counter()
    result = run(task)
    took = time.perf_counter() - began
    if not result.ok or not is_patch(result.patch, module):
        msg = f"Our run did not do its task: {result.status}, {result.ending.message}"
        raise BenchmarkError(msg)
    return Attempt(took, from_spare=getattr(result.timings, "handed_over", None) is not None)


def _make_pool() -> dict[str, Any]:
    pool = getattr(langchain_sandbox, "Pool", None)
    if pool is None:
        msg = "this version of the package has no pool"
        raise NotHereError(msg)
    return {"pool": pool(size=POOL)}


COLD = Contestant(
    name="ours, cold",
    part="task",
    what="`Sandbox.run` with nothing warm, patch and removal included; all as in the row `cold task` above.",
    open=_open_cold,
)
POOLED = Contestant(
    name="ours, pooled",
    part="task",
    what=(
        f"`Sandbox.run` with `Pool(size={POOL})`, the repository's way in and the patch included; a container is "
        "used for one task only. Its work counts until the pool is full again, its time does not."
    ),
    open=_open_pooled,
)
SESSION = Contestant(
    name="ours, session",
    part="task",
    what=(
        "one more `session.run` of a session, about another module each time; the first task of each session, which "
        f"boots its container, is not counted, and after {_TASKS_OF_A_SESSION} there is a new one."
    ),
    open=_open_sessions,
)
