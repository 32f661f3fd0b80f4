"""A person decides in another process, days later, and processes die on the way: one run, and applied once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import bash, git, say, write

from langchain_sandbox.testing import ScriptedModel

PROCESS = Path(__file__).with_name("review_process.py")
SCRIPT = [write("new.txt", "new\n"), bash("git add . && git commit -qm new"), say()]


class Thread:
    """A thread of the graph, which one process after the other takes further."""

    def __init__(self, folder: Path, model: ScriptedModel, repository: Path, **settings: str) -> None:
        self._database = folder / "threads.sqlite"
        self._environment = os.environ | settings
        self._environment |= {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url, "SANDBOX_WORKSPACE": str(repository)}

    def go_on(self, given: Any) -> dict[str, Any]:
        """Take it further in a process that lives, and tell how it stands then."""
        done = self._run(given, {})
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout.splitlines()[-1])

    def die(self, given: Any, moment: str) -> None:
        """Take it further in a process that is killed."""
        assert self._run(given, {"DIE": moment}).returncode == -signal.SIGKILL

    def _run(self, given: Any, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        text = given if given == "Work." else json.dumps(given)
        command = [sys.executable, str(PROCESS), str(self._database), text]
        environment = self._environment | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_killed_in_between_it_has_run_once_and_is_applied_once(
    tmp_path: Path, repository: Path, durability: str
) -> None:
    with ScriptedModel(SCRIPT) as model:
        thread = Thread(tmp_path, model, repository, DURABILITY=durability, LANGGRAPH_STRICT_MSGPACK="true")
        thread.die("Work.", "before:sandbox_results")  # the run is over, and LangGraph has not heard of it
        thread.die(None, "after:sandbox_results")  # it has, and nobody was asked yet
        asked = thread.go_on(None)
        assert asked["asked"]["diffstat"] == {"files": 1, "insertions": 1, "deletions": 0, "commits": 1}
        assert not (repository / "new.txt").exists()
        thread.die("accept", "after:sandbox_decision")  # the decision is known, and nothing is applied yet
        assert not (repository / "new.txt").exists()
        thread.die(None, "before:sandbox_results")  # it is applied, and LangGraph has not heard of it
        assert (repository / "new.txt").read_text() == "new\n"
        done = thread.go_on(None)
        assert len(model.requests) == len(SCRIPT)
        assert not model.errors
    (result,) = done["results"]
    assert (result["applied"], result["review"]) == (True, {"decision": "accept", "comment": ""})
    assert [text.splitlines()[0] for text in done["texts"][1:]] == [asked["texts"][1].splitlines()[0]]
    assert "applied to the workspace" in done["texts"][1]
    assert git(repository, "log", "--format=%s").splitlines() == ["new", "first"]
    assert len(git(repository, "reflog", "main").splitlines()) == 2
    assert git(repository, "status", "--porcelain") == ""


def test_a_bad_decision_is_refused_and_answered_again_in_another_process(tmp_path: Path, repository: Path) -> None:
    with ScriptedModel([write(".husky/pre-commit", "true\n"), say()]) as model:
        thread = Thread(tmp_path, model, repository, DURABILITY="exit")
        asked = thread.go_on("Work.")["asked"]
        assert [(risk["name"], risk["refused"]) for risk in asked["risks"]] == [("hook", True)]
        refused = thread.go_on({"type": "approve"})
        assert (refused["refused"], refused["asked"]) == (True, asked)
        again = thread.go_on("accept")["asked"]
        assert "hook" not in again["again"]
        assert ".husky/pre-commit runs when you commit or push" in again["again"]
        assert again == {**asked, "again": again["again"]}
        assert not (repository / ".husky").exists()
        thread.die({"type": "accept", "risky": "allow"}, "before:checkpoint")  # it is applied, and nobody knows
        assert (repository / ".husky" / "pre-commit").read_text() == "true\n"
        assert thread.go_on(None)["asked"] == again
        done = thread.go_on({"type": "accept", "risky": "allow"})
        assert not model.errors
    assert [result["applied"] for result in done["results"]] == [True]
    assert git(repository, "status", "--porcelain") == "?? .husky/"


def test_killed_in_between_another_run_goes_on_once(tmp_path: Path, repository: Path) -> None:
    script = [write("new.txt", "new\n"), say(), write("more.txt", "more\n"), say()]
    with ScriptedModel(script) as model:
        thread = Thread(tmp_path, model, repository, LANGGRAPH_STRICT_MSGPACK="true")
        thread.go_on("Work.")
        thread.die({"type": "changes", "comment": "More."}, "after:sandbox_decision")  # what is asked for is known
        thread.die(None, "before:sandbox_results")  # the other run is over, and LangGraph has not heard of it
        asked = thread.go_on(None)
        assert [file["path"] for file in asked["asked"]["files"]] == ["more.txt", "new.txt"]
        done = thread.go_on("accept")
        assert len(model.requests) == len(script)
        assert not model.errors
    assert [result["review"]["decision"] for result in done["results"]] == ["changes", "accept"]
    assert git(repository, "status", "--porcelain").splitlines() == ["?? more.txt", "?? new.txt"]
