"""An agent that lays traps in its copy, and a repository that lays them for us: nothing springs, nothing leaks."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import bash, git, make_repository, outputs, say, wait_until
from traps import (
    SPRINGING_HOOKS,
    SPRINGING_SETTINGS,
    in_shell,
    lay_here,
    laying,
    sprung,
    state_of,
    use_git,
)

from langchain_sandbox import ApplyPolicy, Limits, Sandbox, SandboxApplyError, SandboxConfigError, SandboxResult
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "CANARY-90f4b7e1"
SECRET = "s3cr3t-7d21c0aa"
MIB = 1024 * 1024

# Where a repository can lie in wait, as a program that lays it; with the folders where a user would have to look.
AMBUSHES = {
    "the repository's own": ("lay('.git'); lay_files()", ()),
    "hooks kept in the tree": (
        "hooks('.githooks', ''); open('.git/config', 'a').write('[core]\\n\\thooksPath = .githooks\\n')",
        (),
    ),
    "a repository inside": (
        """
import subprocess
def git(*arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b", *arguments], cwd="sub", check=True)
put("sub/file", "x\\n")
git("init", "-q"); git("add", "."); git("commit", "-qm", "inside")
lay("sub/.git")
""",
        ("sub",),
    ),
    "a folder that git takes for a repository": (
        """
for name in ("objects/x", "refs/x"): put(f"bare/{name}", "")
put("bare/HEAD", "ref: refs/heads/x\\n")
put("bare/config", "[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n\\tworktree = .\\n")
lay("bare")
""",
        ("bare",),
    ),
    "a folder that leads to another": (
        """
for name in ("objects/x", "refs/x"): put(f"common/{name}", "")
put("common/config", "[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n\\tworktree = .\\n")
put("led/HEAD", "ref: refs/heads/x\\n"); put("led/refs/x", ""); put("led/commondir", "../common\\n")
lay("common")
""",
        ("led",),
    ),
    "a .git that is a file": (
        """
for name in ("objects/x", "refs/x"): put(f"far/{name}", "")
put("far/HEAD", "ref: refs/heads/x\\n")
put("far/config", "[core]\\n\\trepositoryformatversion = 0\\n")
put("near/.git", "gitdir: ../far\\n")
lay("far")
""",
        ("near",),
    ),
}

EVERY_AMBUSH = "\n".join(program for program, _ in AMBUSHES.values())
EVERY_PLACE = ("sub", "bare", "led", "common", "near", "far", "docs", "deep")

# Names that some file system takes for `.git`, and hooks where popular tools look for them.
MORE = r"""
for name in (".GIT", ".git ", "git~1", ".g\u200cit", ".git::$INDEX_ALLOCATION", ".Git.", "..\\.git"):
    put(f"alike/{name}/HEAD", "ref: refs/heads/x\n")
    put(f"alike/{name}/config", settings(""))
hooks(".husky", "husky-")
put(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = "ext::touch {MARKS}/url"\n\tupdate = !touch {MARKS}/update\n')
"""

ODD_NAMES = [
    *(b"new\nline", b"\x1b[31mred", b"caf\xe9", b"n" * 255, b" ", b"-rf", b"tab\t", b'"', b"back\\slash"),
    "\u202etxt.exe".encode(),
]

# Everything else that a copy can hold and that a tree must not get, or must get as it is.
ODDITIES = r"""
import os, shutil, socket, subprocess
CANARY, BACK = {canary!r}, "../" * 20
for name, target in {{
    "links/absolute": CANARY, "links/passwd": "/etc/passwd", "links/up": "../../..", "links/back": BACK + CANARY[1:],
    "links/one": "two", "links/two": "three", "links/three": CANARY, "links/folder": os.path.dirname(CANARY),
    "links/self": "self", "links/nowhere": "/nowhere/at/all", "links/long": "x/" * 1900 + "x",
}}.items():
    os.makedirs("links", exist_ok=True)
    os.symlink(target, name)
# A link in a folder's place, and files that git is told are below it.
shutil.rmtree("docs")
os.symlink("/etc", "docs")
blob = subprocess.run(["git", "hash-object", "-w", "--stdin"], input=b"x", capture_output=True).stdout.strip().decode()
for name in ("docs/passwd", "links/folder/canary.txt", "docs/guide.md"):
    subprocess.run(["git", "update-index", "--add", "--cacheinfo", f"100644,{{blob}},{{name}}"])
os.link("/etc/hostname", "hard") if os.path.exists("/etc/hostname") and os.stat("/etc").st_dev == os.stat(".").st_dev \
    else os.link("calc.py", "hard")
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
try:
    os.mknod("device", 0o020666, os.makedev(1, 5))
except OSError:
    pass
with open("sparse", "wb") as file:
    file.truncate(20 << 30)
os.makedirs("deep/" + "/".join(["d"] * 200))
put("deep/" + "/".join(["d"] * 200) + "/end", "end\n")
os.mkdir("odd")
for name in {names!r}:
    with open(b"odd/" + name, "wb") as file:
        file.write(b"odd\n")
put("CALC.PY", "another\n")
put("Calc.py", "yet another\n")
put("harmless.txt", "ordinary work\n")
"""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file of the host's that no link may lead to."""
    path = tmp_path / "outside" / "canary.txt"
    path.parent.mkdir()
    path.write_text(f"{CANARY}\n")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return make_repository(
        tmp_path / "repository",
        {"calc.py": "a - b\n", "README.md": "# calc\n", "docs/guide.md": "guide\n", ".gitignore": "*.secret\n"},
    )


def run_agent(workspace: Path, *commands: str, timeout: float = 60, **options: Any) -> SandboxResult:
    """One run of an agent that does these things and is content; the outcome must be there in time."""
    began = time.monotonic()
    with ScriptedModel([*map(bash, commands), say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=workspace, **options).run("Work.", timeout=timeout)
    assert time.monotonic() - began < timeout
    return result


def apply(result: SandboxResult) -> list[str]:
    return Sandbox(model="http://127.0.0.1:9/v1").apply(result).paths


def apply_whatever_it_is(result: SandboxResult) -> list[str]:
    """As a user who was told of the risks and wants it all the same."""
    return Sandbox(model="http://127.0.0.1:9/v1").apply(result, policy=ApplyPolicy(risky="allow")).paths


def written(*places: Path) -> bytes:
    """All that there is to read below some folders, links not followed."""
    content = b""
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                path = Path(folder) / name
                content += os.fsencode(path)
                content += path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    return content


# The control


@pytest.mark.parametrize("name", AMBUSHES)
def test_each_ambush_springs_where_git_is_used_beside_it(target: Path, marks: Path, name: str) -> None:
    """Or the tests below would prove nothing."""
    program, below = AMBUSHES[name]
    lay_here(target, marks, program)
    for mark in marks.iterdir():
        mark.unlink()
    use_git(target, below=below)
    if name == "the repository's own":
        assert sprung(marks) == SPRINGING_HOOKS | SPRINGING_SETTINGS
    else:
        assert sprung(marks) & {"fsmonitor", "alias", "pre-commit"}


# The agent is hostile


def test_what_an_agent_lays_does_not_spring_on_the_host(
    target: Path, marks: Path, canary: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before, outside = state_of(target), state_of(canary.parent)
    traps = laying(marks, EVERY_AMBUSH + MORE)
    oddities = laying(marks, ODDITIES.format(canary=str(canary), names=ODD_NAMES))
    result = run_agent(target, in_shell(oddities), in_shell(traps), limits=Limits(workspace="512m"))
    assert result.ok, result.ending

    paths = {file.path for file in result.files}
    assert {"harmless.txt", "links/absolute", "links/self", ".gitattributes", "CALC.PY"} <= paths
    assert not [path for path in paths if path.startswith(("alike/", "sub/.git", ".git/", "near/.git"))]
    assert not paths & {"pipe", "socket", "device", "sparse", "docs/passwd", "links/folder/canary.txt"}
    assert [text for text in result.warnings if "sparse" in text]

    told = result.model_dump_json().encode()
    assert len(told) + len(written(tmp_path / "state")) < 8 * MIB
    for secret in (CANARY.encode(), b"root:x:0:0"):
        assert secret not in told + written(tmp_path / "state")

    with pytest.raises(SandboxApplyError) as refusal:
        apply(result)
    for name in (".githooks/", ".gitmodules", "links/"):
        assert name in str(refusal.value)
    assert state_of(target) == before

    apply_whatever_it_is(result)
    assert (target / "harmless.txt").read_text() == "ordinary work\n"
    assert {os.fsdecode(name) for name in ODD_NAMES} <= {path.name for path in (target / "odd").iterdir()}
    assert CANARY.encode() not in written(target)
    assert not [path for path in state_of(target) if "alike" in path]
    use_git(target, below=EVERY_PLACE)
    assert git(target, "log", "--format=%s").splitlines() == ["another", "all of it", "first"]
    assert sprung(marks) == set()
    assert state_of(canary.parent) == outside
    record_property("W1", "0 markers after the host has used git in every place")


# What an agent can make of its `.git`; the traps of the first program are in it by then.
REMAINS = {
    "a file": "mv .git kept; echo 'gitdir: kept' > .git",
    "a folder that leads to another": "mv .git kept; mkdir .git; cp kept/HEAD .git; mkdir .git/refs; "
    "echo ../kept > .git/commondir",
    "a broken one": "cp -r .git kept; echo '[broken' > .git/config",
}


@pytest.mark.parametrize("remains", REMAINS)
def test_whatever_becomes_of_the_git_folder_the_work_comes_out(target: Path, marks: Path, remains: str) -> None:
    (target / "pass.secret").write_text(SECRET)
    work = laying(marks, "lay('.git'); put('harmless.txt', 'ordinary work\\n'); put('own.secret', 'x')")
    result = run_agent(target, in_shell(work), REMAINS[remains])
    assert result.ok, result.ending
    paths = {file.path for file in result.files}
    assert "harmless.txt" in paths
    assert not [path for path in paths if path.partition("/")[0] == ".git"]
    assert apply_whatever_it_is(result)
    use_git(target, below=("kept",))
    assert sprung(marks) == set()


def test_hooks_that_the_users_git_would_run_are_refused(target: Path, marks: Path) -> None:
    git(target, "config", "core.hooksPath", ".githooks")
    before = state_of(target)
    result = run_agent(target, in_shell(laying(marks, "hooks('.githooks', '')")), changes="apply")
    assert result.ok, result.ending
    assert not result.applied
    assert all(file.risks for file in result.files)
    with pytest.raises(SandboxApplyError, match=r"\.githooks/applypatch-msg"):
        apply(result)
    assert state_of(target) == before
    use_git(target)
    assert sprung(marks) == set()


def test_pipes_where_git_reads_files_hold_nothing_up(target: Path) -> None:
    pipes = ".gitignore .gitattributes docs/.gitignore .git/info/exclude .git/info/attributes .git/shallow"
    result = run_agent(
        target, f"echo x > harmless.txt; mkdir -p .git/info; rm -f {pipes}; mkfifo {pipes}; echo laid", timeout=60
    )
    assert result.ok, result.ending
    assert "harmless.txt" in {file.path for file in result.files}


def test_a_hundred_thousand_files_end_in_time_and_apply(target: Path, tmp_path: Path) -> None:
    make = "import os; os.mkdir('many'); [open(f'many/{number}', 'x').close() for number in range(100_000)]"
    result = run_agent(target, f"echo x > harmless.txt; {in_shell(make)}", timeout=90)
    assert result.ok, result.ending
    assert "harmless.txt" in {file.path for file in result.files}
    assert len(result.model_dump_json()) + len(written(tmp_path / "state")) < 64 * MIB
    began = time.monotonic()
    changed = apply(result)
    assert time.monotonic() - began < 60
    assert len(changed) == len(result.files)


def test_a_link_in_the_users_tree_is_never_written_through(
    target: Path, canary: Path, record_property: Callable[[str, object], None]
) -> None:
    (target / "out").symlink_to(canary.parent)
    git(target, "add", "out"), git(target, "commit", "-qm", "a link that leads out")
    before, outside = state_of(target), state_of(canary.parent)
    replace = "rm out; mkdir out; echo evil > out/canary.txt; echo evil > out/new.txt; echo more >> docs/guide.md"
    result = run_agent(target, replace)
    assert result.ok, result.ending
    assert CANARY not in result.model_dump_json()

    # What the run saw as a folder, the user has made a link since.
    (target / "docs").rename(target.parent / "docs")
    (target / "docs").symlink_to(canary.parent)
    later = state_of(target)
    with pytest.raises(SandboxApplyError):
        apply(result)
    assert state_of(target) == later
    (target / "docs").unlink()
    (target.parent / "docs").rename(target / "docs")

    apply(result)
    assert (target / "out/canary.txt").read_text() == "evil\n"
    assert not (target / "out").is_symlink()
    assert state_of(canary.parent) == outside
    assert len(state_of(target)) == len(before) + 2  # two files; the link has become their folder
    record_property("W5", "canary absent, all outside as it was")


# The repository is hostile

LOOK = r"""
import hashlib, os
found = []
for folder, folders, names in os.walk(b"."):
    if folder == b".":
        folders.remove(b".git")
    for name in [*names, *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
        found.append(os.path.relpath(os.path.join(folder, name), b".")[:60])
print("FOUND", sorted(found))
hits = []
for folder, folders, names in os.walk("/"):
    if folder == "/":
        folders[:] = set(folders) - {"proc", "sys", "dev"}
    for name in names:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
        except OSError:
            continue
        hits += [(word, os.path.join(folder, name)) for word in WORDS if word[::-1].encode() in content]
for process in os.listdir("/proc"):
    for name in ("environ", "cmdline"):
        try:
            with open(f"/proc/{process}/{name}", "rb") as file:
                content = file.read()
        except OSError:
            continue
        hits += [(word, f"{process}/{name}") for word in WORDS if word[::-1].encode() in content]
print("HITS", sorted(set(word[::-1] for word, _ in hits)), hits[:20])
"""


def look(*words: str) -> str:
    """A program that lists the work folder, and finds words in every file and process, without holding them itself."""
    return in_shell(f"WORDS = {[word[::-1] for word in words]!r}\n{LOOK}")


def run_looking(workspace: Path, *words: str) -> tuple[SandboxResult, str, list[Any]]:
    with (
        ScriptedModel([bash(look(*words)), bash("echo x > harmless.txt"), say()]) as model,
        Sandbox(model=model.endpoint, workspace=workspace).start("Look.", timeout=60) as handle,
    ):
        events = list(handle.events())
        result = handle.result()
    assert result.ok, result.ending
    return result, outputs(events)[0], events


def test_nothing_that_a_repository_configures_runs_on_our_account(target: Path, marks: Path, canary: Path) -> None:
    lay_here(target, marks, "lay_files()")
    (target / "pass.secret").write_text(SECRET)
    _hold_odd_things(target, canary)
    git(target, "add", "--all"), git(target, "commit", "-qm", "odd things")
    # After the commit, so that none of it springs on ours: a folder that became a link, and links to the outside.
    (target / "docs/guide.md").unlink()
    (target / "docs").rmdir()
    (target / "docs").symlink_to(canary.parent)
    (canary.parent / "guide.md").write_text(f"{CANARY}\n")
    lay_here(target, marks, EVERY_AMBUSH + "\nopen('.git/config', 'a').write('[include]\\n\\tpath = ../.included\\n')")
    (target / ".included").write_text(f'[core]\n\tfsmonitor = "touch {marks}/included;:"\n')
    for mark in marks.iterdir():
        mark.unlink()

    result, output, _ = run_looking(target, CANARY, SECRET, "ordinary text")
    assert "HITS ['ordinary text']" in output
    for name in ("loop", r"caf\xe9", r"new\nline", r"\x1b[31mred", "links/out"):
        assert name in output.replace("\\\\", "\\"), name
    assert "sub/file" in output
    assert "sub/.git" not in output
    assert CANARY not in result.model_dump_json()
    assert apply(result) == ["harmless.txt"]
    assert sprung(marks) == set()
    use_git(target)
    assert sprung(marks) >= SPRINGING_HOOKS | {"included"}  # they were there to spring all the time


def _hold_odd_things(target: Path, canary: Path) -> None:
    (target / "plain.txt").write_text("ordinary text\n")
    (target / "loop").symlink_to("loop")
    (target / "links").mkdir()
    (target / "links/out").symlink_to(canary)
    (target / "links/folder").symlink_to(canary.parent)
    for name in ODD_NAMES:
        (target / os.fsdecode(name)).write_text("odd\n")
    deep = target.joinpath("deep", *["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "end").write_text("end\n")
    os.mkfifo(target / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        directory = Path.cwd()
        os.chdir(target)  # the whole path is too long for a socket
        try:
            listener.bind("socket")
        finally:
            os.chdir(directory)


def _as_partial_clone(target: Path, marks: Path) -> None:
    """Take away a content that only history needs, and promise that a command gets it."""
    blob = git(target, "rev-parse", "HEAD:calc.py")
    (target / "calc.py").write_text("a + b\n")
    git(target, "commit", "-qam", "second")
    (target / ".git/objects" / blob[:2] / blob[2:]).unlink()
    (target / ".git/config").open("a").write(
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = far\n"
        f'[remote "far"]\n\turl = .\n\tpromisor = true\n\tpartialclonefilter = blob:none\n'
        f'\tuploadpack = "touch {marks}/promisor;:"\n'
    )


def test_a_partial_clone_is_not_completed_on_our_account(target: Path, marks: Path) -> None:
    _as_partial_clone(target, marks)
    result, output, _ = run_looking(target, "a + b")
    assert "calc.py" in output
    assert [text for text in result.warnings if "1 of 200 commits went in: more cannot be read" in text]
    assert apply(result) == ["harmless.txt"]
    assert sprung(marks) == set()
    use_git(target)  # `git log -p` needs the content
    assert sprung(marks) == {"promisor"}


def _worktree(target: Path) -> Path:
    git(target, "worktree", "add", "-q", str(target.parent / "tree"))
    return target.parent / "tree"


def _with_submodule(target: Path) -> Path:
    """The `.git` is a link; a folder in the tree has one that leads to somebody else's repository."""
    (target / ".git").rename(target.parent / "elsewhere.git")
    (target / ".git").symlink_to(target.parent / "elsewhere.git")
    far = make_repository(target.parent / "far", {"far.txt": f"{CANARY}\n"})
    (target / "module").mkdir()
    (target / "module/.git").write_text(f"gitdir: {far}/.git\n")
    (target / "module/own.txt").write_text("not in that repository\n")
    commit = git(far, "rev-parse", "HEAD")
    git(target, "update-index", "--add", "--cacheinfo", f"160000,{commit},module")
    return target


@pytest.mark.parametrize("shape", [_worktree, _with_submodule], ids=["worktree", "link and submodule"])
def test_a_git_folder_elsewhere_is_read_and_not_obeyed(
    target: Path, marks: Path, shape: Callable[[Path], Path]
) -> None:
    lay_here(target, marks, "lay('.git')")
    workspace = shape(target)
    for mark in marks.iterdir():
        mark.unlink()
    result, output, _ = run_looking(workspace, CANARY)
    assert "calc.py" in output
    assert "HITS []" in output
    assert apply(result) == ["harmless.txt"]
    assert sprung(marks) == set()


def test_a_work_tree_elsewhere_is_not_what_goes_in(target: Path, canary: Path) -> None:
    git(target, "config", "core.worktree", str(canary.parent))
    result, output, _ = run_looking(target, CANARY)
    assert "calc.py" in output
    assert "HITS []" in output
    assert [file.path for file in result.files] == ["harmless.txt"]


def test_what_git_ignores_stays_out_where_git_cannot_read_the_repository(target: Path) -> None:
    (target / "pass.secret").write_text(SECRET)
    (target / ".git/HEAD").unlink()
    with ScriptedModel([bash(look(SECRET)), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=target)
        with pytest.raises(SandboxConfigError, match="repository"):
            sandbox.run("Look.")


PIPES = {
    "rules": (".gitignore", "docs/.gitignore"),
    "git's own rules": (".git/info/exclude",),
    "history's end": (".git/shallow",),
    "a content in history": (".git/objects/{blob}",),
}


@pytest.mark.parametrize("kind", PIPES)
def test_a_pipe_in_the_repository_does_not_hold_us_up(target: Path, kind: str) -> None:
    blob = git(target, "rev-parse", "HEAD:calc.py")
    pipes = [target / name.format(blob=f"{blob[:2]}/{blob[2:]}") for name in PIPES[kind]]
    for pipe in pipes:
        pipe.parent.mkdir(exist_ok=True)
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
    with ScriptedModel([say()]) as model:
        handle = Sandbox(model=model.endpoint, workspace=target).start("Look.", timeout=60)
        try:
            wait_until(lambda: handle.done, 60)
            said = handle.result().status
        except SandboxConfigError as error:  # to say what is wrong is as right as to run
            said = str(error)
        finally:
            while not handle.done:
                for pipe in pipes:
                    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # whoever waits for a writer has had one
                time.sleep(0.01)
    assert said == "completed" or [pipe for pipe in pipes if pipe.name in said], said


def test_a_huge_file_is_named_and_nothing_is_started(target: Path) -> None:
    with (target / "huge.bin").open("wb") as file:
        file.truncate(20 << 30)
    with ScriptedModel([]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=target)
        began = time.monotonic()
        with pytest.raises(SandboxConfigError, match=r"Limits\.workspace.*huge\.bin"):
            sandbox.run("Work.")
    assert time.monotonic() - began < 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(target: Path) -> None:
    (target / "calc.py").chmod(0)
    with ScriptedModel([]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=target)
        with pytest.raises(SandboxConfigError, match=r"calc\.py"):
            sandbox.run("Work.")


# Credentials


def test_no_credential_of_the_repositorys_goes_in_or_comes_back(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(target, "remote", "add", "origin", f"https://user:{SECRET}@nowhere.invalid/x.git")
    for key, value in {
        "credential.helper": f"!echo password={SECRET}",
        "http.extraHeader": f"Authorization: Bearer {SECRET}",
        "http.https://nowhere.invalid/.extraHeader": f"X-Key: {SECRET}",
        f"url.https://{SECRET}@nowhere.invalid/.insteadOf": "near:",
        "branch.main.remote": f"https://user:{SECRET}@nowhere.invalid/y.git",
        "sendemail.smtpPass": SECRET,
        "include.path": "secrets",
    }.items():
        git(target, "config", key, value)
    (target / ".git/secrets").write_text(f"[sendemail]\n\tsmtpUser = {SECRET}\n")
    (target / ".git/FETCH_HEAD").write_text(f"{'0' * 40}\t\tbranch 'x' of https://{SECRET}@nowhere.invalid/x\n")
    (target / ".git/credentials").write_text(f"https://user:{SECRET}@nowhere.invalid\n")
    (target / ".git/description").write_text(SECRET)
    git(target, "commit", "-q", "--allow-empty", "-m", "second")
    log = target / ".git/logs/HEAD"
    log.write_text(log.read_text() + log.read_text().splitlines()[-1].replace("second", f"clone: from {SECRET}") + "\n")
    git(target, "notes", "add", "-m", SECRET)
    git(target, "stash", "store", "-m", SECRET, git(target, "rev-parse", "HEAD"))
    git(target, "branch", f"old-{SECRET}")
    (target / "pass.secret").write_text(SECRET)
    home = tmp_path / "home"
    home.mkdir()
    for name in (".netrc", ".git-credentials"):
        (home / name).write_text(f"machine nowhere.invalid password {SECRET}\n")
    (home / ".gitconfig").write_text(f"[user]\n\tname = Grace\n[github]\n\ttoken = {SECRET}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)

    result, output, events = run_looking(target, SECRET, "# calc")
    assert "HITS ['# calc']" in output
    assert SECRET not in result.model_dump_json()
    assert SECRET not in "".join(event.model_dump_json() for event in events)
    apply(result)
    assert SECRET.encode() not in written(tmp_path / "state")
