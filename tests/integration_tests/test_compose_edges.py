"""The seed's way for the unlucky: folders that are not what one thinks, and endings at the wrong moment."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support import bash, git, make_repository, say, told, write

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from compose_checkout import Open


def test_a_run_that_ends_while_the_workspace_still_goes_in_ends_in_order(checkout: Open) -> None:
    with ScriptedModel([say()]) as model:
        place = checkout(model.endpoint.base_url)
        make_repository(place.workspace, {"big": os.urandom(1 << 20) * 150})
        done = place.run("Look.", SANDBOX_TIMEOUT="0.3")
    assert (done.code, done.result.status) == (5, "timeout")
    assert "Traceback" not in done.stderr


def test_a_worktree_alone_is_refused_since_nobody_can_say_what_it_ignores(checkout: Open) -> None:
    place = checkout("http://127.0.0.1:9/v1")
    make_repository(place.folder / "main", {"a.txt": "a\n"})
    git(place.folder / "main", "worktree", "add", "--quiet", "../workspace")
    with ScriptedModel([]) as model:
        done = place.run("Look.", SANDBOX_MODEL_BASE_URL=model.endpoint.base_url)
    assert (done.code, done.stdout) == (2, "")
    assert "has a .git that leads to another folder" in done.stderr


@pytest.mark.parametrize("mode", ["copy", "direct"])
def test_a_workspace_that_is_read_only_and_somebody_elses_can_be_worked_on(checkout: Open, mode: str) -> None:
    with ScriptedModel([bash("cat a.txt; echo new > new.txt"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        make_repository(place.workspace, {"a.txt": "the words\n"})
        os.chown(place.workspace / "a.txt", 4321, 4321)
        file = place.folder / "compose.headless.yml"
        target = "        target: /host/workspace\n"
        file.write_text(file.read_text().replace(target, f"{target}        read_only: true\n"))
        done = place.run("Write.", WORKSPACE_MODE=mode)
        (output,) = told(model)
    assert output.startswith("the words\n")
    assert "warning: not everything in the workspace could be given to 1000:1000." in done.stderr
    if mode == "direct":
        assert (done.code, done.result.files) == (0, [])
    else:
        assert done.code == 6
        assert "+new" in str(done.result.patch)
        assert any("Read-only file system; nothing was changed" in text for text in done.result.warnings)


@pytest.mark.parametrize("name", ["repo", "with spaces, ünd"])
def test_a_workspace_may_be_called_anything(checkout: Open, name: str) -> None:
    with ScriptedModel([write("new.txt", "new\n"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        if name != "repo":
            (place.folder / name).mkdir()
        assert place.run("Write.", WORKSPACE=name).code == 0
    assert (place.folder / name / "new.txt").read_text() == "new\n"


def test_one_folder_may_be_used_by_one_user_after_the_other(checkout: Open) -> None:
    """What the first one's gateway has left in the volume keeps nobody out."""
    with ScriptedModel([say()] * 2) as model:
        place = checkout(model.endpoint.base_url)
        codes = [place.run("Look.", PUID=who, PGID=who).code for who in ("1234", "4321")]
    assert codes == [0, 0]


def test_up_does_it_too_and_again(checkout: Open) -> None:
    """The second time it is the same container that starts."""
    with ScriptedModel([bash("echo 1 > 1"), say(), bash("echo 2 > 2"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        for _ in range(2):
            environment = os.environ | place.environment | {"TASK": "Write."}
            command = place.command("up", "--exit-code-from", "opencode")
            subprocess.run(command, cwd=place.folder, env=environment, check=True, capture_output=True, timeout=60)
    assert sorted(path.name for path in place.workspace.iterdir()) == ["1", "2"]
