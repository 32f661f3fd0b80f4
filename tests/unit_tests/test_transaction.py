"""All of a transaction's changes are made or none is: when it is killed, when the disk is full, when others write."""

import contextlib
import errno
import fcntl
import gc
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from langchain_sandbox.engine.images.package_image import image_context
from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying import tree as tree_module
from langchain_sandbox.workspace.applying.transaction import STAGING, GitMove, Seen, Write, locked, recover, transact
from langchain_sandbox.workspace.content import Stored
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK

ODD = os.fsdecode(b"caf\xe9")
NOBODY = 65534
FIRST_MOVE = f"rename folder/deep/b {STAGING}/old/0"

States = dict[str, tuple[object, ...]]
Step = Callable[[str], None]


def build(root: Path) -> Path:
    """A tree with one of everything that can become something else."""
    for folder in ("gone", "kept", "folder/deep", "folder/empty"):
        (root / folder).mkdir(parents=True)
    files = ["modified", "script", "gone/only", "kept/one", "kept/two", "file", "folder/a", "folder/deep/b", ODD, "own"]
    for name in files:
        (root / name).write_text(f"old {len(name)}\n")
        (root / name).chmod(0o640)
        os.utime(root / name, ns=(10**18, 10**18 + 7))
    os.link(root / "modified", root / "twin")
    (root / "folder").chmod(0o750)
    (root / "link").symlink_to("own")
    return root


def seen(root: Path, path: str) -> Seen | None:
    return Seen.of((root / path).lstat()) if os.path.lexists(root / path) else None


def changes(root: Path, *only: str) -> list[Write]:
    """Change the tree in every way there is, or only some paths."""
    states: dict[str, tuple[int | None, bytes]] = {
        "added": (FILE, b"new\n"),
        "added.d/deep/er": (EXECUTABLE, b"new\n"),
        "modified": (FILE, b"new\n"),
        "script": (EXECUTABLE, b"old 6\n"),
        "gone/only": (None, b""),
        "kept/one": (None, b""),
        "file": (None, b""),
        "file/inner": (FILE, b"new\n"),
        "folder/a": (None, b""),
        "folder/deep/b": (None, b""),
        "folder": (FILE, b"new\n"),
        "link": (SYMLINK, b"modified"),
        ODD: (FILE, b"new\n"),
        f"{ODD}-2": (SYMLINK, os.fsencode(ODD)),
    }
    return [
        Write(path=path, seen=None if path == "folder" else seen(root, path), mode=mode, content=content)
        for path, (mode, content) in states.items()
        if path in only or not only
    ]


def look(root: Path, *, exact: bool = True) -> States:
    """Everything in a tree; exactly: the very files, not only equal ones."""
    found: States = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name == ".git" or name.startswith(".git/"):
            continue
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        same = (status.st_ino, status.st_nlink, content is not None and status.st_mtime_ns) if exact else ()
        found[name] = (stat.filemode(status.st_mode), content, *same)
    return found


def in_child(action: Callable[[], object], step: Step) -> int:
    """Run in a process of its own; return how it ended, 3 for a refusal."""
    child = os.fork()
    if child == 0:
        gc.disable()  # it would touch, and so copy, all that was forked
        tree_module._step = step
        code = 1
        try:
            action()
            code = 0
        except SandboxApplyError:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(number: int, before: Step | None = None) -> Step:
    count = 0

    def step(name: str) -> None:
        nonlocal count
        if before is not None:
            before(name)
        count += 1
        if count > number:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def save_at(name: str, save: Callable[[], object]) -> Step:
    """Do something at a step, once."""
    waiting = [save]

    def step(here: str) -> None:
        if here == name and waiting:
            waiting.pop()()

    return step


def fail_at(number: int, steps: list[str]) -> Step:
    def step(name: str) -> None:
        steps.append(name)
        if len(steps) == number + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return step


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "root")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that are done from now on."""
    done: list[str] = []
    monkeypatch.setattr(tree_module, "_step", done.append)
    return done


@pytest.fixture
def done(tmp_path: Path, steps: list[str]) -> tuple[list[str], States]:
    """What all changes take, and what they lead to."""
    folder = build(tmp_path / "done")
    transact(folder, changes(folder))
    return list(steps), look(folder, exact=False)


def test_every_kind_of_change_is_made(done: tuple[list[str], States]) -> None:
    assert done[1] == {
        "added": ("-rw-r--r--", b"new\n"),
        "added.d": ("drwxr-xr-x", None),
        "added.d/deep": ("drwxr-xr-x", None),
        "added.d/deep/er": ("-rwxr-xr-x", b"new\n"),
        "file": ("drwxr-xr-x", None),
        "file/inner": ("-rw-r--r--", b"new\n"),
        "folder": ("-rw-r--r--", b"new\n"),
        "kept": ("drwxr-xr-x", None),
        "kept/two": ("-rw-r-----", b"old 8\n"),
        "link": ("lrwxrwxrwx", "modified"),
        "modified": ("-rw-r-----", b"new\n"),
        "own": ("-rw-r-----", b"old 3\n"),
        "script": ("-rwxr-x---", b"old 6\n"),
        "twin": ("-rw-r-----", b"old 8\n"),
        ODD: ("-rw-r-----", b"new\n"),
        f"{ODD}-2": ("lrwxrwxrwx", ODD),
    }


def test_killed_anywhere_it_is_finished_or_undone_by_the_next_call(
    tmp_path: Path, done: tuple[list[str], States]
) -> None:
    names, new = done
    committed = names.index(FIRST_MOVE)
    for number in range(len(names)):
        root = build(tmp_path / f"killed-{number}")
        writes, old = changes(root), look(root)
        assert in_child(lambda: transact(root, writes), kill_at(number)) == -signal.SIGKILL  # noqa: B023
        outcome = recover(root)
        assert (look(root) == old) == (number < committed), names[number]
        assert (look(root, exact=False) == new) == (number >= committed), names[number]
        assert outcome in {None, "finished" if number >= committed else "rolled back"}
        assert recover(root) is None
        shutil.rmtree(root)


def test_killed_while_it_recovers_it_is_recovered_all_the_same(tmp_path: Path, done: tuple[list[str], States]) -> None:
    names, new = done
    for number in range(1, len(names), 5):
        root = build(tmp_path / f"killed-{number}")
        writes, old = changes(root), look(root)
        in_child(lambda: transact(root, writes), kill_at(number))  # noqa: B023
        for again in (number % 11, number % 5):
            in_child(lambda: recover(root), kill_at(again))  # noqa: B023
        recover(root)
        assert look(root, exact=False) == new or look(root) == old, names[number]
        assert (look(root, exact=False) == new) == (number >= names.index(FIRST_MOVE))
        shutil.rmtree(root)


def test_killed_while_it_puts_back_what_a_user_was_faster_with_the_users_work_is_there(
    tmp_path: Path, steps: list[str]
) -> None:
    """The user saves a file in the middle; wherever the process is killed after that, it is found as saved."""
    some = ("file", "file/inner", "folder/a", "folder/deep/b", "folder", "link", "modified", "script")
    transact(build(tmp_path / "practice"), changes(tmp_path / "practice", *some))
    saving = next(name for name in steps if name.startswith("rename file "))
    for number in itertools.count(steps.index(saving)):
        root = build(tmp_path / f"killed-{number}")
        writes, old = changes(root, *some), look(root)
        save = save_at(saving, lambda: (root / "modified").write_text("the user's\n"))  # noqa: B023
        code = in_child(lambda: transact(root, writes), kill_at(number, save))  # noqa: B023
        with contextlib.suppress(SandboxApplyError):
            recover(root)
        assert recover(root) is None
        after = look(root)
        assert after.pop("modified")[1] == after.pop("twin")[1] == b"the user's\n"
        assert after == {path: state for path, state in old.items() if path not in {"modified", "twin"}}
        shutil.rmtree(root)
        if code == 3:
            break
        assert code == -signal.SIGKILL


def forbid_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("links", ["links", "no links"])
def test_a_disk_that_is_full_at_any_step_leaves_the_tree_as_it_was(
    tmp_path: Path, done: tuple[list[str], States], monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    names, new = done
    last = names.index(f"rename {STAGING}/journal.json {STAGING}/done.json")
    first = 0
    if links == "no links":
        first = names.index(FIRST_MOVE)  # until there it is all the same
        last += sum(name.startswith("link ") and not name.endswith((" link", "-2")) for name in names)
        last += 2
    # Of what comes after the last, empty folders may be left behind; nothing else.
    for number in (*range(first, last + 1), *range(last + 3, last + 6)):
        root = build(tmp_path / f"full-{number}")
        writes, old = changes(root), look(root)
        with monkeypatch.context() as patch:
            taken: list[str] = []
            patch.setattr(tree_module, "_step", fail_at(number, taken))
            if links == "no links":
                forbid_links(patch)
            if number <= last:
                with pytest.raises(SandboxApplyError, match="No space left on device"):
                    transact(root, writes)
            else:
                transact(root, writes)  # it is done: what could not be cleaned up is by the next call
        if number > last:
            recover(root)
        assert (look(root) == old) == (number <= last), taken[number]
        assert (look(root, exact=False) == new) == (number > last), taken[number]
        shutil.rmtree(root)


def test_killed_where_there_are_no_hard_links_it_is_finished(tmp_path: Path, done: tuple[list[str], States]) -> None:
    names, new = done
    for number in range(names.index(FIRST_MOVE), len(names), 2):
        root = build(tmp_path / f"killed-{number}")
        writes = changes(root)
        with pytest.MonkeyPatch.context() as patch:
            forbid_links(patch)
            assert in_child(lambda: transact(root, writes), kill_at(number)) == -signal.SIGKILL  # noqa: B023
            assert recover(root) == "finished"
        assert look(root, exact=False) == new, names[number]
        shutil.rmtree(root)


def test_an_interrupt_puts_everything_back_and_goes_on(
    root: Path, done: tuple[list[str], States], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    old = look(root)
    for moment in (done[0][20], done[0][-30], f"rename {STAGING}/journal.json {STAGING}/done.json"):
        monkeypatch.setattr(tree_module, "_step", save_at(moment, interrupt))
        with pytest.raises(KeyboardInterrupt):
            transact(root, changes(root))
        assert (look(root) == old) or moment == done[0][-30], moment
    assert look(root) == old


def test_what_cannot_be_put_back_now_is_by_the_next_call(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, writes = look(root), changes(root)

    def fail(name: str) -> None:
        if name.startswith("link ") and name.endswith((" script", " modified")):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(tree_module, "_step", fail)
    with pytest.raises(
        SandboxApplyError,
        match=r"^modified: Input/output error; these could not be put back: modified \(Input/output error\)\. "
        rf"The former contents are in .*{STAGING}/old; .* the next call puts them back\.$",
    ):
        transact(root, writes)
    assert not (root / "modified").exists()
    with pytest.raises(SandboxApplyError, match=r"^these could not be put back: modified"):
        transact(root, writes)
    monkeypatch.undo()
    assert recover(root) == "rolled back"
    assert look(root) == old


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k,mode=0755", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_on_a_real_full_disk_nothing_is_changed_and_a_smaller_change_fits(small_disk: Path) -> None:
    root = build(small_disk / "root")
    (root / "own").unlink()
    writes, old = changes(root), look(root)
    with pytest.raises(SandboxApplyError, match=r"zzz: No space left on device; nothing was changed"):
        transact(root, [*writes, Write(path="zzz", seen=None, mode=FILE, content=bytes(256 * 1024))])
    assert look(root) == old
    transact(root, writes)
    assert (root / "modified").read_text() == "new\n"


def test_another_file_system_below_the_tree_is_refused(small_disk: Path) -> None:
    with pytest.raises(SandboxApplyError, match="below disk, which is on another file system"):
        transact(small_disk.parent, [Write(path="disk/new", seen=None, mode=FILE, content=b"new")])
    assert not list(small_disk.iterdir())


def save_over(path: Path) -> None:
    """Save as most editors do."""
    path.with_name("#temporary").write_text("the user's\n")
    path.with_name("#temporary").replace(path)


@pytest.mark.parametrize("way", ["in place", "over"])
@pytest.mark.parametrize(
    "moment", [FIRST_MOVE, "rename modified ", "link modified ", f"rename {STAGING}/journal.json "]
)
def test_what_the_user_saves_meanwhile_is_never_lost(
    root: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, way: str, moment: str
) -> None:
    practice = build(root.parent / "practice")
    transact(practice, changes(practice))
    if moment.startswith("link"):
        at = next(name for name in steps if name.startswith("link ") and name.endswith(" modified"))
    else:
        at = [name for name in steps if name.startswith(moment)][-1]
    opened = (root / "modified").open("r+")
    old, writes = look(root), changes(root)

    def save() -> None:
        if way == "in place":
            opened.write("the user's\n")  # to the file that was at this path when it was opened
            opened.flush()
        else:
            save_over(root / "modified")

    monkeypatch.setattr(tree_module, "_step", save_at(at, save))
    if moment.startswith(f"rename {STAGING}"):
        # Everything is in place by then: what is saved is saved on top of it, but for who still writes to a file
        # that was opened before.
        transact(root, writes)
        assert way == "in place" or (root / "modified").read_text() == "the user's\n"
        opened.close()
        return
    with pytest.raises(SandboxApplyError, match="modified was changed meanwhile"):
        transact(root, writes)
    opened.close()
    assert (root / "modified").read_text() == "the user's\n"
    after = look(root)
    if way == "over" and moment.startswith("link"):
        assert after.pop("modified.before-apply") == old["modified"]
    for path in ("modified", "twin"):
        after.pop(path)
        old.pop(path)
    assert after == old


def test_what_appears_where_something_is_to_be_put_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = look(root)
    monkeypatch.setattr(tree_module, "_step", save_at(FIRST_MOVE, lambda: (root / "added").write_text("the user's\n")))
    with pytest.raises(SandboxApplyError, match="added was changed meanwhile; everything was put back"):
        transact(root, changes(root))
    after = look(root)
    assert after.pop("added")[1] == b"the user's\n"
    assert after == old


def test_what_is_put_into_a_folder_that_becomes_a_file_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = look(root)
    monkeypatch.setattr(
        tree_module, "_step", save_at(FIRST_MOVE, lambda: (root / "folder/note").write_text("the user's\n"))
    )
    with pytest.raises(SandboxApplyError, match="something was put into that folder"):
        transact(root, changes(root))
    after = look(root)
    assert after.pop("folder/note")[1] == b"the user's\n"
    assert after == old


@pytest.mark.parametrize("saved", ["before it was put there", "on top of it"])
def test_what_was_changed_after_a_crash_stays_and_the_former_content_is_named(
    root: Path, done: tuple[list[str], States], saved: str
) -> None:
    names, new = done
    old, writes = look(root), changes(root)
    number = next(at for at, name in enumerate(names) if name.startswith("link ") and name.endswith(" modified"))
    in_child(lambda: transact(root, writes), kill_at(number if saved.startswith("before") else number + 1))
    if saved == "on top of it":
        (root / "modified").write_text("the user's\n")
        assert recover(root) == "finished"  # it is the file that we put there, and theirs on top
        assert look(root, exact=False) == new | {"modified": ("-rw-r-----", b"the user's\n")}
        return
    (root / "modified").write_text("the user's\n")
    with pytest.raises(
        SandboxApplyError,
        match=r"modified was changed meanwhile; .* what it was before is in modified\.before-apply; everything else",
    ):
        recover(root)
    after = look(root)
    assert after.pop("modified")[1] == b"the user's\n"
    assert after.pop("modified.before-apply") == old.pop("modified")
    assert after == old


def test_what_a_user_wrote_on_top_of_ours_stays_when_the_rest_is_undone(
    root: Path, done: tuple[list[str], States], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, writes = look(root), changes(root)
    in_child(
        lambda: transact(root, writes), kill_at(done[0].index(f"rename {STAGING}/journal.json {STAGING}/done.json"))
    )
    (root / "script").unlink()  # neither the old state nor the new one
    (root / "script").write_text("another\n")
    (root / "added").write_text("the user's\n")
    in_the_last_moment = save_at(
        next(
            f"rename {name.split()[2]} {STAGING}/back/{name.split()[1].rpartition('/')[2]}"
            for name in done[0]
            if name.endswith(" file/inner")
        ),
        lambda: (root / "file/inner").write_text("the user's\n"),
    )
    monkeypatch.setattr(tree_module, "_step", in_the_last_moment)
    with pytest.raises(SandboxApplyError) as caught:
        recover(root)
    for said in (
        "script was changed meanwhile",
        "what it was before is in script.before-apply",
        "added was changed after it was put there, and left so",
        "file/inner was changed after it was put there, and left so",
        "what it was before is in file.before-apply",
        "everything else was put back",
    ):
        assert said in str(caught.value)
    after = look(root)
    for theirs in ("added", "file/inner"):
        assert after.pop(theirs)[1] == b"the user's\n"
    assert after.pop("script")[1] == b"another\n"
    assert after.pop("script.before-apply") == old.pop("script")
    assert after.pop("file.before-apply") == old.pop("file")
    assert after.pop("file")[1] is None
    assert after == old


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "modified").write_text("longer than it was"),
        lambda root: save_over(root / "modified"),
        lambda root: (root / "modified").unlink(),
        lambda root: (root / "modified").chmod(0o600),
        lambda root: (root / "added").write_text(""),
        lambda root: (root / "added").mkdir(),
        lambda root: (root / "folder/ignored").write_text(""),
        lambda root: (root / "added.d").write_text(""),
        lambda root: (root / "added.d").symlink_to("kept"),
        lambda root: os.utime(root / "gone/only"),
    ],
)
def test_a_tree_that_is_not_as_it_was_seen_is_refused_before_anything_is_touched(
    root: Path, steps: list[str], change: Callable[[Path], object]
) -> None:
    writes = changes(root)
    change(root)
    old = look(root)
    with pytest.raises(SandboxApplyError, match="nothing was changed"):
        transact(root, writes)
    assert look(root) == old
    assert not [name for name in steps if name.startswith("rename") and STAGING not in name.split()[1]]


@pytest.mark.parametrize(
    "writes",
    [
        [("../outside", FILE)],
        [("/outside", FILE)],
        [(".git/config", FILE)],
        [("a/.GIT/x", FILE)],
        [(f"{STAGING}/new/0", FILE)],
        [(STAGING.upper(), FILE)],
        [("a\ud800", FILE)],
        [("a", FILE), ("a", FILE)],
        [("a", FILE), ("a/b", FILE)],
        [("a", 0o160000)],
        [("out/x", FILE)],
        [("own/x", FILE)],
        [("a", SYMLINK)],
    ],
)
def test_paths_and_modes_that_no_transaction_has_are_refused(root: Path, writes: list[tuple[str, int]]) -> None:
    (root / "out").symlink_to(root.parent)
    old = look(root)
    with pytest.raises(SandboxApplyError):
        transact(root, [Write(path=path, seen=None, mode=mode) for path, mode in writes])
    assert look(root) == old
    assert {path.name for path in root.parent.iterdir()} == {"root"}


def test_permissions_are_kept_or_given_exactly(root: Path) -> None:
    (root / "own").chmod(0o4644)
    before = os.umask(0o027)
    try:
        transact(
            root,
            [
                Write(path="modified", seen=seen(root, "modified"), mode=EXECUTABLE, content=b"x"),
                Write(path="script", seen=seen(root, "script"), mode=FILE, content=b"x", bits=0o604),
                Write(path="own", seen=seen(root, "own"), mode=FILE, content=b"x"),
                Write(path="plain", seen=None, mode=FILE),
                Write(path="run", seen=None, mode=EXECUTABLE),
            ],
        )
    finally:
        os.umask(before)
    bits = {name: (root / name).stat().st_mode & 0o7777 for name in ("modified", "script", "own", "plain", "run")}
    assert bits == {"modified": 0o750, "script": 0o604, "own": 0o644, "plain": 0o640, "run": 0o750}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_a_file_still_belongs_to_whom_it_belonged(root: Path) -> None:
    os.chown(root / "modified", NOBODY, NOBODY)
    transact(root, [Write(path="modified", seen=seen(root, "modified"), mode=FILE, content=b"x")])
    status = (root / "modified").stat()
    assert (status.st_uid, status.st_gid) == (NOBODY, NOBODY)


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_touched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    writes = changes(root)
    (root / "kept").chmod(0o555)
    if os.geteuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    old = look(root)
    said = root.parent / "said"
    said.touch()
    said.chmod(0o666)
    with said.open("w") as file:

        def try_it() -> None:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            try:
                transact(Path(), writes)
            except SandboxApplyError as error:
                file.write(str(error))
                file.flush()
                raise

        assert in_child(try_it, lambda _: None) == 3
    assert said.read_text() == "kept/one: in kept, a folder that cannot be written to; nothing was changed."
    assert look(root) == old


def test_big_contents_are_copied_without_being_held(root: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    tracemalloc.start()
    try:
        with big.open("rb") as file:
            transact(root, [Write(path="big", seen=None, mode=FILE, content=Stored(file, 0, big.stat().st_size))])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 1024 * 1024
    assert (root / "big").stat().st_size == 50 * 1024 * 1024


def test_two_at_once_are_never_mixed(root: Path) -> None:
    writes = {
        name: [
            Write(path=path, seen=seen(root, path), mode=FILE, content=name.encode())
            for path in ("modified", "script", "own", "new")
        ]
        for name in ("one", "two")
    }
    children = []
    for its_writes in writes.values():
        child = os.fork()
        if child == 0:
            tree_module._step = lambda _: time.sleep(0.002)
            try:
                transact(root, its_writes)
                os._exit(0)
            finally:
                os._exit(3)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert sorted(codes) == [0, 3]
    winner = list(writes)[codes.index(0)]
    assert {(root / path).read_text() for path in ("modified", "script", "own", "new")} == {winner}
    assert recover(root) is None


def test_who_has_the_lock_is_waited_for_and_not_for_ever(root: Path) -> None:
    with (
        locked(root),
        pytest.raises(SandboxApplyError, match=r"had the lock of the workspace .* for 0\.1 s"),
        locked(root, limit=0.1),
    ):
        pytest.fail("two at once")
    with locked(root, limit=0.1):
        pass


def test_a_forked_process_does_not_keep_the_lock(root: Path) -> None:
    with locked(root):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        with locked(root, limit=0.1):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_nothing_to_recover_costs_nothing(root: Path, steps: list[str]) -> None:
    assert recover(root) is None
    assert recover(root / "missing") is None
    transact(root, [])
    assert steps == []


@pytest.fixture
def killed(root: Path) -> Path:
    """The staging folder of a transaction that was killed when it had just begun to move."""
    writes = changes(root)

    def step(name: str) -> None:
        if name == FIRST_MOVE:
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(lambda: transact(root, writes), step) == -signal.SIGKILL
    return root / STAGING


def change_journal(staging: Path, change: Callable[[dict[str, object]], object]) -> None:
    journal = json.loads((staging / "journal.json").read_text())
    change(journal)
    (staging / "journal.json").write_text(json.dumps(journal))


def test_a_transaction_begins_with_what_another_left(root: Path, killed: Path, done: tuple[list[str], States]) -> None:
    transact(root, [Write(path="another", seen=None, mode=FILE, content=b"1")])
    assert look(root, exact=False) == done[1] | {"another": ("-rw-r--r--", b"1")}
    assert not killed.exists()


HOSTILE: list[Callable[[Path], object]] = [
    lambda staging: (staging / "journal.json").write_text("nonsense"),
    lambda staging: (staging / "journal.json").write_text("[" * 100_000),
    lambda staging: (staging / "journal.json").write_text("[]"),
    lambda staging: (staging / "journal.json").write_text('{"version": 1, "state": "committed"}'),
    lambda staging: (staging / "journal.json").unlink(),
    lambda staging: (staging / "undo.json").write_bytes((staging / "journal.json").read_bytes()),
    lambda staging: change_journal(staging, lambda journal: journal.update(version=2)),
    lambda staging: change_journal(staging, lambda journal: journal.update(state="done")),
    lambda staging: change_journal(staging, lambda journal: journal.update(inode=1)),
    lambda staging: change_journal(staging, lambda journal: journal.update(inode=True)),
    lambda staging: change_journal(staging, lambda journal: journal["moves"][0].__setitem__(0, "../outside")),
    lambda staging: change_journal(staging, lambda journal: journal["moves"][0].__setitem__(0, ".git/config")),
    lambda staging: change_journal(staging, lambda journal: journal["moves"][0].__setitem__(0, f"{STAGING}/old")),
    lambda staging: change_journal(staging, lambda journal: journal["moves"][0].__setitem__(0, "\ud800")),
    lambda staging: change_journal(staging, lambda journal: journal["moves"][0].__setitem__(1, [0o40755, 0, 0, 0])),
    lambda staging: change_journal(staging, lambda journal: journal["moves"][0].__setitem__(2, 1)),
    lambda staging: change_journal(staging, lambda journal: journal["made"].append(["/outside", None])),
    lambda staging: change_journal(staging, lambda journal: journal["emptied"].append("..")),
    lambda staging: change_journal(
        staging,
        lambda j: j.update(branch={"ref": "HEAD", "old": "0" * 40, "new": "1" * 40, "index": [], "former_index": []}),
    ),
    lambda staging: change_journal(
        staging,
        lambda j: j.update(branch={"ref": "refs/heads/x", "old": "--x", "new": "x", "index": [], "former_index": []}),
    ),
    lambda staging: [
        staging.rename(staging.parent / "away"),
        shutil.copytree(staging.parent / "away", staging, symlinks=True),
    ],
    lambda staging: [staging.rename(staging.parent / "away"), staging.symlink_to("away")],
    lambda staging: [staging.rename(staging.parent / "away"), staging.write_text("")],
    lambda staging: [(staging / "journal.json").unlink(), os.mkfifo(staging / "journal.json")],
    lambda staging: [
        (staging / "journal.json").rename(staging.parent / "elsewhere"),
        (staging / "journal.json").symlink_to("../elsewhere"),
    ],
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_what_is_not_ours_is_refused_and_not_touched(root: Path, killed: Path, steps: list[str], number: int) -> None:
    HOSTILE[number](killed)
    before = {path: path.lstat() for path in root.rglob("*")}
    for call in (lambda: recover(root), lambda: transact(root, changes(root))):
        with pytest.raises(SandboxApplyError, match=STAGING):
            call()
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == {p: s.st_mtime_ns for p, s in before.items()}
    assert steps == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_what_another_user_left_is_refused(root: Path, killed: Path) -> None:
    os.chown(killed, NOBODY, NOBODY)
    with pytest.raises(SandboxApplyError, match="belongs to another user"):
        recover(root)


def test_a_link_that_has_come_in_the_way_is_not_followed(root: Path, killed: Path, tmp_path: Path) -> None:
    """Neither when it is finished nor when it is undone."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "only").write_text("mine\n")
    (root / "gone/only").unlink()
    (root / "gone").rmdir()
    (root / "gone").symlink_to(outside)
    with pytest.raises(SandboxApplyError, match="gone/only was changed meanwhile"):
        recover(root)
    assert (outside / "only").read_text() == "mine\n"
    assert not killed.exists()


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", *arguments]
    return os.fsdecode(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)


def index_lines(root: Path, old: str, new: str) -> list[bytes]:
    fields = iter(os.fsencode(git(root, "diff-tree", "-r", "-z", "--no-renames", old, new)).split(b"\0"))
    lines = []
    for field in fields:
        if field:
            _, mode, _, blob, _ = field.split(b" ")
            lines.append(b"%b %b\t%b" % (mode.lstrip(b"0") or b"0", blob, next(fields)))
    return lines


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GitMove]:
    """A repository with the same tree as a commit, and a commit that nobody has checked out."""
    root = build(tmp_path_factory.mktemp("repository") / "root")
    git(root, "init", "--quiet", "--initial-branch=main", "--template=")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=old")
    old = git(root, "rev-parse", "HEAD").strip()
    transact(root, changes(root))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=new")
    new = git(root, "rev-parse", "HEAD").strip()
    move = GitMove(
        ref="refs/heads/main",
        old=old,
        new=new,
        index=index_lines(root, old, new),
        former_index=index_lines(root, new, old),
    )
    git(root, "reset", "--quiet", "--hard", old)
    (root / "folder/empty").mkdir()
    return root, move


@pytest.fixture
def checkout(repository: tuple[Path, GitMove], tmp_path: Path) -> tuple[Path, GitMove]:
    root, move = repository
    shutil.copytree(root, tmp_path / "checkout", symlinks=True)
    return tmp_path / "checkout", move


def assert_clean(root: Path, commit: str) -> None:
    """HEAD, the index and the files agree."""
    assert git(root, "rev-parse", "HEAD").strip() == commit
    assert git(root, "status", "--porcelain") == ""
    assert not (root / STAGING).exists()


def test_a_branch_moves_with_the_files_and_back(checkout: tuple[Path, GitMove]) -> None:
    root, move = checkout
    transact(root, changes(root), move=move)
    assert_clean(root, move.new)
    back = GitMove(ref=move.ref, old=move.new, new=move.old, index=move.former_index, former_index=move.index)
    transact(root, [], move=back)
    assert git(root, "rev-parse", "HEAD").strip() == move.old
    assert git(root, "status", "--porcelain") != ""  # the files were not asked for


def test_killed_around_git_branch_index_and_files_agree(
    checkout: tuple[Path, GitMove], steps: list[str], tmp_path: Path
) -> None:
    root, move = checkout
    fresh = tmp_path / "fresh"
    shutil.copytree(root, fresh, symlinks=True)
    transact(fresh, changes(fresh), move=move)
    first = steps.index("git update-ref")
    last = next(at for at, name in enumerate(steps) if name.endswith("done.json"))
    assert last - first == 2
    for number in (steps.index(FIRST_MOVE) - 1, *range(first - 1, last + 3)):
        shutil.rmtree(fresh)
        shutil.copytree(root, fresh, symlinks=True)
        writes = changes(fresh)
        assert in_child(lambda: transact(fresh, writes, move=move), kill_at(number)) == -signal.SIGKILL  # noqa: B023
        if recover(fresh) == "finished":
            assert_clean(fresh, move.new)
        else:
            assert_clean(fresh, move.old)


def test_a_branch_that_is_elsewhere_is_refused(checkout: tuple[Path, GitMove]) -> None:
    root, move = checkout
    git(root, "commit", "--quiet", "--allow-empty", "--message=another")
    old = look(root)
    with pytest.raises(SandboxApplyError, match="refs/heads/main is not at"):
        transact(root, changes(root), move=move)
    assert look(root) == old


def test_a_branch_that_moves_meanwhile_puts_everything_back(
    checkout: tuple[Path, GitMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, move = checkout
    old = look(root)
    monkeypatch.setattr(
        tree_module,
        "_step",
        save_at(FIRST_MOVE, lambda: git(root, "commit", "--quiet", "--allow-empty", "--message=another")),
    )
    with pytest.raises(SandboxApplyError, match=r"refs/heads/main is not at .* everything was put back"):
        transact(root, changes(root), move=move)
    assert look(root) == old
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "log", "--format=%s").split() == ["another", "old"]


@pytest.mark.parametrize("lock", ["index.lock", "refs/heads/main.lock"])
def test_a_repository_that_another_git_has_locked_puts_everything_back(
    checkout: tuple[Path, GitMove], monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr("langchain_sandbox.workspace.applying.branch._PATIENCE", 0.05)
    root, move = checkout
    old = look(root)
    (root / ".git" / lock).touch()
    with pytest.raises(SandboxApplyError, match=r"another git is at work.*everything was put back"):
        transact(root, changes(root), move=move)
    (root / ".git" / lock).unlink()
    assert look(root) == old
    assert_clean(root, move.old)


def test_a_lock_that_goes_in_time_is_waited_for(
    checkout: tuple[Path, GitMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, move = checkout
    lock = root / ".git/index.lock"
    lock.touch()
    later = threading.Timer(0.1, lock.unlink)
    monkeypatch.setattr(tree_module, "_step", save_at("git update-index", later.start))
    transact(root, changes(root), move=move)
    assert_clean(root, move.new)


def test_a_file_written_to_while_git_moves_takes_the_branch_back_as_well(
    checkout: tuple[Path, GitMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, move = checkout
    old, writes = look(root), changes(root)
    with (root / "script").open("a") as opened:

        def save() -> None:
            opened.write("the user's\n")
            opened.flush()

        monkeypatch.setattr(tree_module, "_step", save_at("git update-index", save))
        with pytest.raises(SandboxApplyError, match="script was changed meanwhile; everything was put back"):
            transact(root, writes, move=move)
    after = look(root)
    assert after.pop("script")[1] == b"old 6\nthe user's\n"
    old.pop("script")
    assert after == old
    assert git(root, "rev-parse", "HEAD").strip() == move.old
    assert git(root, "status", "--porcelain") == " M script\n"


def test_git_takes_no_notice_of_what_a_killed_process_left(checkout: tuple[Path, GitMove], steps: list[str]) -> None:
    root, move = checkout
    writes = changes(root)
    practice = build(root.parent / "practice")
    transact(practice, changes(practice))
    in_child(lambda: transact(root, writes, move=move), kill_at(steps.index(FIRST_MOVE)))
    assert (root / STAGING).exists()
    assert git(root, "status", "--porcelain") == ""


def test_who_has_gone_on_from_the_new_commit_is_not_set_back(
    checkout: tuple[Path, GitMove], steps: list[str], tmp_path: Path
) -> None:
    root, move = checkout
    practice = tmp_path / "practice"
    shutil.copytree(root, practice, symlinks=True)
    transact(practice, changes(practice), move=move)
    writes = changes(root)
    in_child(lambda: transact(root, writes, move=move), kill_at(steps.index("git update-index") + 1))
    git(root, "commit", "--quiet", "--allow-empty", "--message=further")
    assert recover(root) == "finished"
    assert git(root, "log", "--format=%s").split() == ["further", "new", "old"]
    assert git(root, "status", "--porcelain") == ""


def test_no_hook_of_the_repositorys_is_run(checkout: tuple[Path, GitMove], tmp_path: Path) -> None:
    root, move = checkout
    ran = tmp_path / "ran"
    (root / ".git/hooks").mkdir()
    for name in ("reference-transaction", "post-index-change", "pre-commit"):
        (root / ".git/hooks" / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (root / ".git/hooks" / name).chmod(0o755)
    transact(root, changes(root), move=move)
    assert not ran.exists()
    git(root, "reset", "--quiet")
    assert ran.exists()  # so they would have been


def test_it_needs_the_standard_library_only(tmp_path: Path) -> None:
    """It is in the image, where there is nothing else."""
    for name, content in image_context().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'agent')!r}); "
        "import langchain_sandbox.workspace.applying.transaction"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_lock_that_is_never_let_go_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(SandboxApplyError, match=r"for 0\.1 s"), locked(tmp_path, limit=0.1):
        pytest.fail("two at once")
    os.close(other)
    with locked(tmp_path, limit=0.1):
        pass


@pytest.mark.parametrize("number", [errno.EBADF, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_that_knows_no_such_lock_can_be_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number), descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path, limit=0.1):
        pass
