"""Live cards of runs, in a real kernel: what a cell shows while it works, and what a saved notebook keeps."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from html import unescape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from support import bash, containers, make_repository, say, write

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import docker

    from langchain_sandbox.testing import Script, Turn

START = """
import asyncio
from langchain_sandbox import Sandbox
from langchain_sandbox.notebook import awatch, watch
sandbox = Sandbox(model={url!r}, workspace={folder!r})
"""
LOAD = "%load_ext langchain_sandbox.notebook"


class Pictures(list[str]):
    """The texts of all cards, in the order in which they came, and when the kernel sent each."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[datetime] = []


class Kernel(NotebookClient):
    """A kernel that runs one notebook, and keeps every picture that it sends."""

    pictures: Pictures
    interrupt_at: str | None = None

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] in {"display_data", "update_display_data"}:
            text = msg["content"]["data"]["text/plain"]
            self.pictures.append(text)
            self.pictures.moments.append(msg["header"]["date"])
            if self.interrupt_at and self.interrupt_at in text:
                self.interrupt_at = None
                self._interrupting = asyncio.ensure_future(self.km.interrupt_kernel())
        return super().process_message(msg, cell, cell_index)


@pytest.fixture(autouse=True)
def own_jupyter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))


def execute(
    folder: Path, script: Script, *cells: str, interrupt_at: str | None = None
) -> tuple[list[list[Any]], Pictures]:
    """Run cells in a new kernel; gives each one's outputs, and all pictures."""
    repository = make_repository(folder / "repository", {"a.py": "x = 1\n"})
    with ScriptedModel(script) as model:
        start = START.format(url=model.endpoint.base_url, folder=str(repository))
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (start, *cells)])
        kernel = Kernel(notebook, timeout=120, kernel_name="python3")
        kernel.pictures, kernel.interrupt_at = Pictures(), interrupt_at
        try:
            kernel.execute()
        except CellExecutionError:
            if interrupt_at is None:
                raise
    return [cell.outputs for cell in notebook.cells[1:]], kernel.pictures


def read(output: Any) -> str:
    """A card's words."""
    html = output.data["text/html"].partition("</style>")[2]
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html).split()))


TURNS = [bash("sleep 1; echo found", "Let me look."), write("b.py", "y = 2\n"), say("There is a b.py now.")]


@pytest.mark.parametrize("call", ["sandbox.run('Make b.py.')", "await sandbox.arun('Make b.py.')"])
def test_a_cell_shows_what_happens_and_keeps_the_result_alone(tmp_path: Path, call: str) -> None:
    (_, (card,), (again,)), pictures = execute(tmp_path, TURNS, LOAD, f"result = {call}\nresult", "result")
    assert read(card).startswith("completed The agent says that it has done the task.")
    assert "A b.py +1 -0" in read(card)
    assert read(again) == read(card)  # another cell shows it as ever

    assert pictures[0].startswith("prepares: 0 s")
    assert any(picture.startswith("bash: sleep 1; echo found: ") for picture in pictures)
    assert pictures[-1] == "completed: The agent says that it has done the task."
    gaps = [after - before for before, after in pairwise(pictures.moments[:-1])]
    assert min(gaps).total_seconds() > 0.2  # however much happens; the last picture waits for nobody


def test_runs_side_by_side_have_a_card_each(tmp_path: Path) -> None:
    gather = "results = await asyncio.gather(*(sandbox.arun(f'Say {name}.') for name in ('one', 'two', 'three')))"
    batch = "[result.text for result in sandbox.batch(['Say one.'])]"
    (_, cards, (unseen,)), _ = execute(tmp_path, say_it, LOAD, gather, batch)
    assert sorted(re.findall(r"vouches for it I say (\w+)", " ".join(read(card) for card in cards))) == [
        "one",
        "three",
        "two",
    ]
    assert len(cards) == 3
    assert unseen.data["text/plain"] == "['I say one']"


def say_it(messages: list[dict[str, Any]]) -> Turn:
    words = str([message["content"] for message in messages if message["role"] == "user"])
    return say("I say " + next(name for name in ("one", "two", "three") if f"Say {name}." in words))


@pytest.mark.parametrize("call", ["sandbox.run('Wait.')", "await sandbox.arun('Wait.')"])
def test_to_interrupt_the_kernel_cancels_the_run(tmp_path: Path, call: str, client: docker.DockerClient) -> None:
    turns = [write("begun", "1\n"), bash("sleep 60", "I wait."), say()]
    (_, (card, error)), pictures = execute(tmp_path, turns, LOAD, call, interrupt_at="bash: sleep 60")
    assert read(card).startswith("cancelled The run was cancelled.")
    assert "A begun +1 -0" in read(card)
    assert (error.output_type, error.ename) in {("error", "KeyboardInterrupt"), ("error", "CancelledError")}
    assert pictures[-1].startswith("cancelled")
    assert containers(client) == []


def test_one_run_is_shown_without_the_extension_and_none_after_it_is_gone(tmp_path: Path) -> None:
    cells = ["watch(sandbox.start('One.'))", "(await awatch(await sandbox.astart('Two.'))).text", LOAD]
    cells += [
        "%unload_ext langchain_sandbox.notebook",
        "sandbox.run('Three.').text",
    ]
    shown, _ = execute(tmp_path, [say("Said.")] * 3, *cells)
    assert [[output.output_type for output in outputs] for outputs in shown] == [
        ["display_data"],
        ["display_data", "execute_result"],
        [],
        [],
        ["execute_result"],
    ]


def test_a_run_that_cannot_be_tried_says_why(tmp_path: Path) -> None:
    cell = "try:\n    sandbox.run('x', workspace='/nowhere')\nexcept ValueError as error:\n    print(error)"
    (_, (card, printed)), _ = execute(tmp_path, [say()], LOAD, cell)
    assert read(card) == f"not run {printed.text.strip()}"


BREAK = """
publisher = get_ipython().display_pub
def publish(*_, **__):
    raise OSError("the socket is closed")
whole, publisher.publish = publisher.publish, publish
"""


@pytest.mark.parametrize("call", ["sandbox.run('Make b.py.')", "await sandbox.arun('Make b.py.')"])
def test_a_card_that_cannot_be_shown_costs_no_run(tmp_path: Path, call: str) -> None:
    use = f"result = {call}\npublisher.publish = whole\nprint(result.status, result.files[0].path)"
    (_, _, outputs), _ = execute(tmp_path, TURNS, LOAD, BREAK, use)
    said = {output.name: output.text for output in outputs}
    assert said["stdout"] == "completed b.py\n"
    assert said["stderr"].count("goes on, but cannot be shown") == 1


def test_a_result_that_was_shown_is_kept_by_nobody_but_its_user(tmp_path: Path) -> None:
    cell = "import gc, weakref\nseen = [weakref.ref(sandbox.run('Say it.')) for _ in range(2)]\ngc.collect()"
    (_, _, (printed,)), _ = execute(tmp_path, [say(), say()], LOAD, cell, "print([each() for each in seen])")
    assert printed.text == "[None, None]\n"


def test_a_run_that_began_in_an_earlier_cell_is_shown_where_it_is_waited_for(tmp_path: Path) -> None:
    begin, wait = "task = asyncio.ensure_future(sandbox.arun('Make b.py.'))\nawait asyncio.sleep(0.1)", "await task"
    (_, _, (card,)), _ = execute(tmp_path, TURNS, LOAD, begin, wait)
    assert "A b.py +1 -0" in read(card)


def test_outside_of_a_notebook_it_says_what_to_do_instead(tmp_path: Path) -> None:
    program = (
        "from langchain_sandbox import Sandbox\nfrom langchain_sandbox.notebook import watch\n"
        f"try:\n    watch(Sandbox(model='http://127.0.0.1:9/v1', workspace={str(tmp_path)!r}).start('x'))\n"
        "except ValueError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "need a Jupyter notebook. Elsewhere, handle.events() says what happens" in done.stdout
