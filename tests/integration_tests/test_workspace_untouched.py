"""However a run ends, the user's tree is as it was, to the nanosecond; and what the agent had done by then is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support import bash, git, make_repository, say
from traps import state_of

from langchain_sandbox import Limits, RunHandle, Sandbox, SandboxResult, SandboxUnavailableError
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_sandbox import SandboxEvent
    from langchain_sandbox.testing import Turn

# Each kind of change, to what is tracked, what is staged, what is ignored and what is git's own.
WORK = (
    "echo changed > calc.py; rm README.md; mv docs/guide.md docs/moved.md; chmod -x run.sh; rm link;"
    "ln -s calc.py link; echo new > new.txt; echo changed > staged.txt; echo changed > notes.secret;"
    "git config user.name Eve; git checkout -q -b other; git add -A; git commit -qm other; rm -rf .git/logs;"
    "touch -d 2001-01-01 run.sh calc.py"
)
WORKED = {"calc.py", "README.md", "docs/moved.md", "run.sh", "link", "new.txt", "staged.txt"}

EAT = "python3 -c 'x = b\"x\" * (4 << 30)'; echo so"  # a shell that is killed itself is another matter
SMALL = Limits(memory="1g", workspace="64m", home="128m", tmp="64m")
KILL = (
    'python3 -c \'import os, signal; [os.kill(int(name), signal.SIGKILL) for name in os.listdir("/proc") '
    'if name.isdigit() and b"opencode" in open(f"/proc/{name}/cmdline", "rb").read().split(b"\\0")[0]]\''
)
WAIT = "sleep 600"


@dataclass
class Ended:
    """One run that is over, and the tree before and after it."""

    name: str
    before: dict[str, tuple[object, ...]]
    after: dict[str, tuple[object, ...]]
    result: SandboxResult | None
    error: BaseException | None


@dataclass(frozen=True)
class Ending:
    """How to get there, and what it has to be.

    Args:
        status: Of the result.
        script: The model's turns after the one that does all the work.
        options: For the `Sandbox`.
        act: Called with the run at the beginning of the tool after the work.
        keeps: Whether what was done until then must be in the result.
    """

    status: str
    script: tuple[Turn, ...] = (say(),)
    options: dict[str, Any] | None = None
    act: Callable[[RunHandle], None] | None = None
    keeps: bool = False


def _cancel(handle: RunHandle) -> None:
    handle.cancel()


def _interrupt(_: RunHandle) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()


def _remove(handle: RunHandle) -> None:
    subprocess.run(["docker", "rm", "-f", f"langchain-sandbox-{handle.run_id}"], check=True, capture_output=True)


BAD_END: Turn = {"text": ["half an ", "answer"], "fault": "cut"}

ENDINGS = {
    "completed": Ending("completed", keeps=True),
    "discarded": Ending("completed", options={"changes": "discard"}),
    "incomplete": Ending("incomplete", ({"text": "I was just", "finish_reason": "length"},), keeps=True),
    "model error": Ending("model_error", (BAD_END,), keeps=True),
    "budget": Ending("budget_exceeded", (bash("true"), say()), {"limits": Limits(model_calls=2)}, keeps=True),
    "timeout": Ending("timeout", (bash(WAIT),), {"timeout": 8}, keeps=True),
    "cancelled": Ending("cancelled", (bash(WAIT),), act=_cancel, keeps=True),
    "interrupted": Ending("cancelled", (bash(WAIT),), act=_interrupt, keeps=True),
    "a tool out of memory": Ending("completed", (bash(EAT), say()), {"limits": SMALL}, keeps=True),
    "OpenCode killed": Ending("crashed", (bash(KILL),), keeps=True),
    "container removed": Ending("crashed", (bash(WAIT),), act=_remove),
    "no image": Ending("", options={"image": "langchain-sandbox-no-such:image"}),
    "no model": Ending("model_unreachable", options={"model": "http://127.0.0.1:9/v1"}),
}
KEEPING = [name for name, ending in ENDINGS.items() if ending.keeps]


def make_tree(folder: Path) -> Path:
    make_repository(
        folder,
        {
            "calc.py": "a - b\n",
            "README.md": "# calc\n",
            "docs/guide.md": "guide\n" * 9,
            "run.sh": "#!/bin/sh\n",
            "staged.txt": "one\n",
            ".gitignore": "*.secret\n",
        },
    )
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("README.md")
    git(folder, "add", "--all"), git(folder, "commit", "-qm", "second")
    (folder / "calc.py").write_text("stashed\n")
    git(folder, "stash")
    (folder / "staged.txt").write_text("staged\n")
    git(folder, "add", "staged.txt")
    (folder / "staged.txt").write_text("and changed again\n")
    (folder / "notes.secret").write_text("mine\n")
    (folder / "untracked.txt").write_text("mine\n")
    (folder / "private.txt").write_text("mine\n")
    (folder / "private.txt").chmod(0o600)
    (folder / "empty").mkdir()
    os.utime(folder / "calc.py", ns=(1_000_000_000_000_000_001, 1_000_000_000_000_000_001))
    return folder


def _working(event: SandboxEvent) -> bool:
    """Whether the tool after the work has begun."""
    return event.type == "tool_started" and event.input.get("command") == WAIT


def _end(name: str, root: Path) -> Ended:
    ending = ENDINGS[name]
    before = state_of(root)
    result = error = None
    with ScriptedModel([bash(WORK), *ending.script]) as model:
        options = {"model": model.endpoint, "workspace": root, "timeout": 60} | (ending.options or {})
        if ending.status != "completed":
            options["changes"] = "apply"  # which is for completed runs only
        sandbox = Sandbox(**options)
        handle = sandbox.start("Work.")
        try:
            for event in handle.events():
                if ending.act is not None and _working(event):
                    ending.act(handle)
                    break
            result = handle.result()
        except (KeyboardInterrupt, SandboxUnavailableError) as raised:
            error = raised
    if isinstance(error, KeyboardInterrupt):
        result = handle.result()  # it stays with the handle
    return Ended(name, before, state_of(root), result, error)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ended]:
    """Gives each ending; it is provoked once."""
    known: dict[str, Ended] = {}

    def get(name: str) -> Ended:
        if name not in known:
            known[name] = _end(name, make_tree(tmp_path_factory.mktemp("tree") / "repository"))
        return known[name]

    return get


@pytest.mark.parametrize("name", ENDINGS)
def test_the_tree_is_as_it_was(
    ended: Callable[[str], Ended], name: str, record_property: Callable[[str, object], None]
) -> None:
    seen = ended(name)
    changed = {path for path in seen.before | seen.after if seen.before.get(path) != seen.after.get(path)}
    assert changed == set()
    assert len(seen.before) > 40
    if ENDINGS[name].status:
        assert seen.result is not None
        assert seen.result.status == ENDINGS[name].status, seen.result.ending
        assert not seen.result.applied
    else:
        assert isinstance(seen.error, SandboxUnavailableError)
    assert isinstance(seen.error, KeyboardInterrupt) is (name == "interrupted")
    record_property("W2", f"{name}: identical")


@pytest.mark.parametrize("name", KEEPING)
def test_what_was_done_until_then_is_kept(ended: Callable[[str], Ended], name: str) -> None:
    result = ended(name).result
    assert result is not None
    assert {file.path for file in result.files} == WORKED
    assert "+changed" in str(result.patch)
    assert "mine" not in str(result.patch)


@pytest.mark.parametrize("name", KEEPING)
def test_what_is_not_all_of_it_says_so(ended: Callable[[str], Ended], name: str) -> None:
    result = ended(name).result
    assert result is not None
    assert result.partial is not result.ok


def test_a_container_that_is_removed_has_sent_what_was_done_before(tmp_path: Path) -> None:
    """A checkpoint is some seconds old at most; the container's end leaves no time for more."""
    root = make_tree(tmp_path / "repository")
    before = state_of(root)
    with (
        ScriptedModel([bash(WORK), bash(WAIT)]) as model,
        Sandbox(model=model.endpoint, workspace=root).start("Work.") as handle,
    ):
        next(event for event in handle.events() if _working(event))
        time.sleep(7)
        _remove(handle)
        result = handle.result()
    assert state_of(root) == before
    assert not result.ok
    assert {file.path for file in result.files} == WORKED
    assert result.partial is True
