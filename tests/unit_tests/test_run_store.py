"""What is remembered of runs by key: one caller at a time, also where callers are killed; nothing that is broken."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from langchain_sandbox.result import Ending, Receipt, SandboxResult
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.run_store import DirectoryClaim, DirectoryRunStore
from langchain_sandbox.workspace_config import Retention

KEY = "a" * 64
OTHER = "b" * 64
RUN = "0123456789ab"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "keys"


def result(text: str = "Done.") -> SandboxResult:
    ending = Ending(code="completed", message="")
    return SandboxResult(
        run_id=RUN, status="completed", ok=True, ending=ending, text=text, receipt=Receipt(package="0")
    )


def claim(key: str = KEY) -> DirectoryClaim:
    claimed = DirectoryRunStore().claim(key)
    assert claimed is not None
    return claimed


def finish(key: str, *, age: float = 0, text: str = "") -> None:
    """A run that is over, so many days ago."""
    claimed = claim(key)
    claimed.finish(result(text))
    claimed.release()
    then = time.time() - age * 86_400
    os.utime(DirectoryRunStore()._folder / key, (then, then))


def start(code: str) -> subprocess.Popen[str]:
    """A process that claims the key and then does something; it is waited for until it has said a line."""
    program = (
        "import os, signal, sys, time\n"
        "from langchain_sandbox.run_store import DirectoryRunStore\n"
        f"claimed = DirectoryRunStore().claim({KEY!r})\n"
        f"{code}"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_one_caller_at_a_time_and_another_key_is_another() -> None:
    first = claim()
    assert DirectoryRunStore().claim(KEY) is None
    claim(OTHER).release()
    first.release()
    first.release()
    claim().release()


def test_a_claim_that_nobody_holds_any_more_is_released() -> None:
    claimed = claim()
    del claimed
    gc.collect()
    claim().release()


def test_a_living_process_keeps_its_key_and_a_killed_one_does_not() -> None:
    other = start("print('mine', flush=True); time.sleep(600)\n")
    assert DirectoryRunStore().claim(KEY) is None
    other.kill()
    other.wait()
    other.stdout.close()
    claim().release()


def test_a_forked_child_does_not_keep_its_parents_key() -> None:
    code = (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    program = start(code.replace("print(os.getpid(), flush=True)", "os.write(1, f'{os.getpid()}\\n'.encode())"))
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    child = int(children.read_text().split()[0])
    try:
        assert DirectoryRunStore().claim(KEY) is None
        program.kill()
        program.wait()
        assert Path(f"/proc/{child}").exists()
        claim().release()
    finally:
        os.kill(child, signal.SIGKILL)
        program.stdout.close()


def test_a_result_is_found_by_whoever_comes_next_and_is_the_same() -> None:
    assert claim().find_result() is None
    kept = result("é 👩‍👩‍👧 \ud800 \x1b")
    finishing = claim()
    finishing.begin(RUN)
    finishing.finish(kept)
    finishing.release()
    assert claim().find_result() == kept


def test_a_run_that_ended_with_its_process_before_it_was_finished_is_found_in_its_folder() -> None:
    begun = claim()
    begun.begin(RUN)
    assert begun.find_result() is None
    folder = RunFolder.of(RUN)
    folder.make()
    folder.finish(result("In its folder.").model_dump(mode="json"))
    begun.release()
    assert claim().find_result() == result("In its folder.")


def test_a_run_that_is_begun_anew_is_not_mistaken_for_the_one_before() -> None:
    claimed = claim()
    claimed.finish(result())
    claimed.begin("f" * 12)
    assert claimed.find_result() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'{"run_id": "0123456789ab"}', b"\xff\xfe", b'"' + b"x" * 10_000],
    ids=["empty", "cut", "null", "list", "part", "bytes", "text"],
)
def test_a_result_that_is_broken_is_none(keys: Path, content: bytes) -> None:
    finish(KEY)
    (keys / KEY / "result.json").write_bytes(content)
    assert claim().find_result() is None


@pytest.mark.parametrize("run", ["", "../../etc", "0123456789ab\n", "é"])
def test_a_note_that_is_broken_leads_nowhere(keys: Path, run: str) -> None:
    claimed = claim()
    (keys / KEY / "run").write_text(run)
    assert claimed.find_result() is None


def test_what_is_kept_is_its_users_alone(keys: Path) -> None:
    claimed = claim()
    claimed.begin(RUN)
    claimed.finish(result())
    assert keys.stat().st_mode & 0o777 == 0o700
    assert (keys / KEY).stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in (keys / KEY).iterdir()} == {
        "run": 0o600,
        "result.json": 0o600,
    }


def test_old_entries_go_and_one_that_somebody_has_stays(keys: Path) -> None:
    finish("0" * 64, age=2)
    finish("1" * 64, age=0.5)
    finish("2" * 64, age=9)
    held = claim("2" * 64)
    os.utime(keys / ("2" * 64), (1, 1))
    DirectoryRunStore().sweep(Retention(days=1))
    assert {path.name[0] for path in keys.iterdir()} == {"1", "2"}
    assert held.find_result() is not None


def test_what_is_too_much_goes_the_oldest_first(keys: Path) -> None:
    for age in range(5):
        finish(str(age) * 64, age=age, text="x" * 10_000)
    DirectoryRunStore().sweep(Retention(size=35_000))
    assert {path.name[0] for path in keys.iterdir()} == {"0", "1", "2"}


def test_a_folder_that_was_swept_before_it_was_locked_is_not_taken_for_the_key(keys: Path) -> None:
    finish(KEY, age=9)
    descriptor = os.open(keys / KEY, os.O_RDONLY)
    DirectoryRunStore().sweep(Retention(days=1))
    late = DirectoryClaim(keys / KEY, descriptor)
    assert not late.holds_its_place
    new = claim()
    assert new.holds_its_place
    assert not late.holds_its_place


def test_no_two_have_a_key_while_it_is_swept_all_the_time() -> None:
    store, inside, most, over = DirectoryRunStore(), 0, [], threading.Event()

    def work() -> None:
        nonlocal inside
        for _ in range(300):
            claimed = store.claim(KEY)
            if claimed is not None:
                inside += 1
                time.sleep(0.0005)
                most.append(inside)
                inside -= 1
                claimed.release()

    def sweep() -> None:
        while not over.is_set():
            store.sweep(Retention(days=0))

    claim(OTHER).release()  # the folder is there
    with ThreadPoolExecutor() as threads:
        sweeping = threads.submit(sweep)
        try:
            for working in [threads.submit(work) for _ in range(4)]:
                working.result()
        finally:
            over.set()
        sweeping.result()
    assert max(most) == 1


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        DirectoryRunStore(tmp_path / "file" / "keys").claim(KEY)


def test_a_store_of_ones_own_folder(tmp_path: Path, keys: Path) -> None:
    store = DirectoryRunStore(tmp_path / "mine")
    claimed = store.claim(KEY)
    assert claimed is not None
    claimed.finish(result())
    assert json.loads((tmp_path / "mine" / KEY / "result.json").read_text())["run_id"] == RUN
    assert not keys.exists()
    assert str(tmp_path / "mine") in repr(store)
