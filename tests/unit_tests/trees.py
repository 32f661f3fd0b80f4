"""Random trees, what became of them, and the patch between the two; for every test that needs patches."""

import os
from pathlib import Path

from hypothesis import strategies as st

from langchain_sandbox.config import Limits
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.patch import Patch, build_patch
from langchain_sandbox.workspace.paths import parents

Tree = dict[str, tuple[int, bytes]]

NAMES = [
    *("a", "b", "dir", "with space", " lead", 'quo"te', "it's", "back\\slash", "new\nline", "tab\t", "\x7f"),
    *(
        "ünï",
        "e\u0301",
        "日本",
        "caf\udce9",
        "*",
        "?",
        "[a]",
        "!x",
        "#x",
        "-x",
        ":x",
        "{a}",
        ".hidden",
        "/dev/null"[1:],
    ),
    *("a/b", "=>", "--- a", "b => c"),
]
LINES = [
    *(b"one\n", b"two\n", b"three\r\n", b"\n", b" \t \n", "ü\n".encode(), "\u2028\x0b\x0c\x85\n".encode()),
    *(b"-- \n", b"--- a/x\n", b"+++ b/x\n", b"@@ -1 +1 @@\n", b"\\ No newline at end of file\n"),
    *(b"diff --git a/x b/x\n", b"new file mode 100755\n", b"rename from x\n", b"GIT binary patch\n", b"literal 0\n"),
]

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
contents = st.one_of(
    st.lists(st.sampled_from(LINES), max_size=8).map(b"".join),
    st.sampled_from(
        [b"", b"no end", b"one\ntwo", b"\xff\xfe\n", b"caf\xe9\n", b"a\0b\n", b"\r", b"x\n" * 5000 + b"\0"]
    ),
    st.binary(max_size=20),
)
targets = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).map(str.encode)
sides = st.one_of(
    st.tuples(st.sampled_from([FILE, EXECUTABLE]), contents),
    st.tuples(st.just(SYMLINK), targets),
)


def add(tree: Tree, path: str, side: tuple[int, bytes]) -> None:
    """Put a path into a tree, if it does not lie below a file nor have files below it."""
    if not any(parent in tree for parent in parents(path)) and not any(p.startswith(f"{path}/") for p in tree):
        tree[path] = side


@st.composite
def trees(draw: st.DrawFn) -> tuple[Tree, Tree]:
    """A tree, and what became of it."""
    old: Tree = {}
    for path, side in draw(st.dictionaries(paths, sides, max_size=6)).items():
        add(old, path, side)
    fate = [draw(fates(path, *side)) for path, side in old.items()]
    new: Tree = {}
    for part in [*fate, draw(st.dictionaries(paths, sides, max_size=3))]:
        for path, side in part.items():
            add(new, path, side)
    return old, new


def fates(path: str, mode: int, content: bytes) -> st.SearchStrategy[Tree]:
    """What may become of one path."""
    other = {FILE: EXECUTABLE, EXECUTABLE: FILE, SYMLINK: FILE}[mode]
    return st.one_of(
        st.just({path: (mode, content)}),
        st.just({}),
        st.just({path: (other, content)}),
        st.just({path: (SYMLINK, b"elsewhere")}),
        sides.map(lambda side: {path: side}),
        sides.map(lambda side: {f"{path}/inside": side}),
        paths.map(lambda name: {name: (mode, content)}),
        st.just({path: (mode, content + b"more\n")}),
    )


def put_down(root: Path, tree: Tree) -> None:
    for path, (mode, content) in tree.items():
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        if mode == SYMLINK:
            full.symlink_to(os.fsdecode(content))
        else:
            full.write_bytes(content)
            full.chmod(mode & 0o777)


def read(root: Path) -> Tree:
    """What lies in a folder; empty folders count as nothing, as they do for git."""
    tree: Tree = {}
    for folder, folders, names in os.walk(root):
        for name in [*names, *(name for name in folders if (Path(folder) / name).is_symlink())]:
            full = Path(folder) / name
            if full.is_symlink():
                side = (SYMLINK, os.fsencode(os.readlink(full)))  # noqa: PTH115 - pathlib tidies the target up
            else:
                side = (EXECUTABLE if full.stat().st_mode & 0o100 else FILE, full.read_bytes())
            tree[full.relative_to(root).as_posix()] = side
    return tree


def tell_changes(old: Tree, new: Tree) -> list[Change]:
    changed = [Change(path, mode, content) for path, (mode, content) in new.items() if old.get(path) != (mode, content)]
    return [*changed, *(Change(path, None) for path in old if path not in new)]


def patch_between(root: Path, old: Tree, new: Tree) -> Patch:
    put_down(root, old)
    snapshot = take_snapshot(root, Limits())
    try:
        return build_patch(snapshot, tell_changes(old, new))
    finally:
        snapshot.close()
