"""What is read of a patch's headers is what happened to the files, whatever the files and their names hold."""

import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trees import Tree, patch_between, trees

from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, blob_name
from langchain_sandbox.workspace.outbound.patch_header import PatchedFile, PatchFormatError, parse_patch

State = tuple[int, str]

ZERO, ONE, TWO = "0" * 40, "1" * 40, "2" * 40
HEADER = f"diff --git a/x b/x\nindex {ONE}..{TWO} 100644\n"
NAMES = "--- a/x\n+++ b/x\n"

# A change of each form that git has for it.
EVERY_FORM: tuple[Tree, Tree] = (
    {
        "bin": (FILE, b"\xff\0" * 40),
        "gone": (FILE, b"1"),
        "link": (SYMLINK, b"x"),
        "mode": (FILE, b"1\n"),
        "mode and content": (FILE, b"1\n"),
        "move b/ move": (FILE, b"2\n" * 20),
        "moved": (FILE, b"".join(b"%d\n" % n for n in range(20))),
        "text": (FILE, b"1\n"),
    },
    {
        "bin": (FILE, b"\xfe\0" * 40),
        "empty": (FILE, b""),
        "link": (FILE, b"x\n"),
        "mode": (EXECUTABLE, b"1\n"),
        "mode and content": (EXECUTABLE, b"2\n"),
        'to b/ "ü"\n': (FILE, b"2\n" * 20),
        "to": (EXECUTABLE, b"".join(b"%d\n" % n for n in range(21))),
        "text": (FILE, b"1\n2\n"),
    },
)

TEXTS = (
    f"{HEADER}{NAMES}@@ -1,2 +1,2 @@ f\n-a\n+b\n c\n\\ No newline at end of file\n"
    f"diff --git a/y b/y\nnew file mode 100644\nindex {ZERO}..{ONE}\n--- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+a\n"
    f"diff --git a/z b/z\nindex {ONE}..{TWO} 100644\nGIT binary patch\n"
    "literal 0\nHcmV?d00001\n\nliteral 0\nHcmV?d00001\n\n"
)


def parse(text: str) -> list[PatchedFile]:
    return parse_patch(io.StringIO(text))


def states(tree: Tree) -> dict[str, State]:
    return {path: (mode, blob_name(content)) for path, (mode, content) in tree.items()}


def check(old: Tree, new: Tree) -> str:
    """Make the new tree of the old one with nothing but what was read, and compare it with what is known otherwise."""
    with tempfile.TemporaryDirectory() as name:
        patch = patch_between(Path(name), old, new)
    files = parse(patch.text)
    known = [(file.path, file.old_path, file.kind, file.mode) for file in patch.files]
    for file, (path, old_path, kind, mode) in zip(files, known, strict=True):
        assert (clean_name(file.path), file.kind) == (path, kind)
        assert old_path == (clean_name(file.old_path or "") if kind == "renamed" else None)
        assert file.mode is None or f"{file.mode:o}" == mode
    before = states(old)
    after = {path: state for path, state in before.items() if path not in {file.old_path for file in files}}
    for file in files:
        was = before[file.old_path] if file.old_path is not None else (None, None)
        if file.old_path is None or file.old_mode is not None:
            assert file.old_mode == was[0]
        if file.old_path is None or file.old_blob is not None:
            assert file.old_blob == was[1]
        if file.kind != "deleted":
            after[file.path] = (file.mode or was[0], file.blob or was[1])
    assert after == states(new)
    return patch.text


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees())
@example(EVERY_FORM)
@example(({"a": (SYMLINK, b"x")}, {"a/b": (FILE, b"x\n")}))
@example(({"x b/x": (FILE, b"1\n")}, {"x b/x b/x": (FILE, b"1\n")}))
@example(({"a b/a": (FILE, b"1\n")}, {"a b/a": (FILE, b"2\n")}))
@example(({"a ": (FILE, b"1")}, {"a ": (FILE, b"2")}))
@example(({}, {"dev/null": (FILE, b"1\n"), '"': (FILE, b"1\n"), "\\303": (FILE, b"1\n"), "\x01\x1f": (FILE, b"1\n")}))
def test_what_is_read_is_what_happened(both: tuple[Tree, Tree]) -> None:
    check(*both)


def test_every_form_that_git_has_for_a_change_is_read() -> None:
    text = check(*EVERY_FORM)
    for form in (
        "GIT binary patch",
        "similarity index 100%",
        "\nold mode",
        "new file",
        "deleted file",
        "\\ No newline",
    ):
        assert form in text
    assert [(file.kind, file.path) for file in parse(text)] == [
        ("modified", "bin"),
        ("added", "empty"),
        ("deleted", "gone"),
        ("modified", "link"),
        ("modified", "mode"),
        ("modified", "mode and content"),
        ("modified", "text"),
        ("renamed", "to"),
        ("renamed", 'to b/ "ü"\n'),
    ]


def test_a_file_that_becomes_a_link_is_one_change_with_both_sides(tmp_path: Path) -> None:
    text = patch_between(tmp_path, {"a": (FILE, b"1\n")}, {"a": (SYMLINK, b"b")}).text
    assert text.count("diff --git") == 2
    assert parse(text) == [
        PatchedFile(
            path="a",
            old_path="a",
            kind="modified",
            old_mode=FILE,
            mode=SYMLINK,
            old_blob=blob_name(b"1\n"),
            blob=blob_name(b"b"),
        )
    ]


def test_a_rename_that_changes_nothing_else_says_neither_modes_nor_contents_as_git_writes_it(tmp_path: Path) -> None:
    text = patch_between(tmp_path, {"a": (EXECUTABLE, b"1\n")}, {"b": (EXECUTABLE, b"1\n")}).text
    *gits, index = text.splitlines(keepends=True)
    assert index.startswith("index ")
    [file] = parse("".join(gits))
    assert (file.old_path, file.path, file.kind) == ("a", "b", "renamed")
    assert (file.old_mode, file.mode, file.old_blob, file.blob) == (None, None, None, None)


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("binary", [b"", b"\0\xff\n"])
def test_a_file_that_holds_a_patch_is_one_file(ending: bytes, binary: bytes) -> None:
    inner = check(*EVERY_FORM).encode() + binary
    for old, new in (
        ({}, {"a": (FILE, inner + ending)}),
        ({"a": (FILE, inner)}, {}),
        ({"a": (FILE, inner)}, {"a": (FILE, inner + inner + ending)}),
        ({"a": (FILE, inner)}, {"a": (FILE, inner.replace(b"diff", b"\ndiff"))}),
        ({"a": (FILE, inner.replace(b"\n", b"\n\n"))}, {"a": (FILE, inner)}),
    ):
        assert [file.path for file in parse(check(old, new))] == ["a"]


@given(
    name=st.lists(st.integers(1, 255).filter(lambda byte: byte != ord("/")), min_size=1, max_size=20).map(
        lambda name: os.fsdecode(bytes(name))
    )
)
@settings(max_examples=20, deadline=None)
@example(name="\a\b\t\n\v\f\r\"\\'")
@example(name="".join(map(chr, range(1, 32))))
def test_a_name_of_any_bytes_is_read_as_it_is(name: str) -> None:
    if name not in {".", ".."} and not name.lower().startswith((".git", "git~")):
        check({f"old {name}": (FILE, b"1\n")}, {f"new {name}": (FILE, b"1\n"), f"at/{name}": (FILE, b"")})


def test_lines_are_taken_one_by_one_and_with_or_without_their_ends() -> None:
    text = check(*EVERY_FORM)
    assert parse_patch(text.split("\n")[:-1]) == parse(text)
    size = 200_000

    def lines() -> Iterator[str]:
        yield from ("diff --git a/x b/x", "new file mode 100644", f"index {ZERO}..{ONE}")
        yield from ("--- /dev/null", "+++ b/x", f"@@ -0,0 +1,{size} @@")
        for _ in range(size):
            yield "+diff --git a/y b/y\n"

    assert [file.path for file in parse_patch(lines())] == ["x"]


def test_an_empty_patch_says_nothing() -> None:
    assert parse("") == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, "\n"),
        (1, "From 0000 Mon Sep 17\n"),
        (1, NAMES + "@@ -1 +1 @@\n-a\n+b\n"),
        (1, "diff --cc x\n"),
        (1, "diff --git a/x\n"),
        (1, f"diff --git a/x b/y\nindex {ONE}..{TWO} 100644\n"),
        (1, f"diff --git x x\nindex {ONE}..{TWO} 100644\n"),
        (1, f"diff --git a/ b/\nindex {ONE}..{TWO} 100644\n"),
        (1, f"diff --git b/x b/x\nindex {ONE}..{TWO} 100644\n"),
        (1, f"diff --git xa/x xb/x\nindex {ONE}..{TWO} 100644\n"),
        (1, f'diff --git "a/x" b/x\nindex {ONE}..{TWO} 100644\n'),
        (1, f'diff --git "a/\\x" "b/\\x"\nindex {ONE}..{TWO} 100644\n'),
        (1, f'diff --git "a/\\777" "b/\\777"\nindex {ONE}..{TWO} 100644\n'),
        (1, f'diff --git "a/\\000" "b/\\000"\nindex {ONE}..{TWO} 100644\n'),
        (1, f'diff --git "a/" "b/"\nindex {ONE}..{TWO} 100644\n'),
        (1, f"diff --git a/\ud800 b/\ud800\nindex {ONE}..{TWO} 100644\n"),
        (1, f"diff --git a/ü b/ü\nindex {ONE}..{TWO} 100644\n"),
        (1, "diff --git a/x b/x\n"),
        (1, "diff --git a/x b/x\nold mode 100644\n"),
        (1, "diff --git a/x b/x\nnew file mode 100644\n"),
        (1, f"diff --git a/x b/x\nindex {ONE}..{TWO}\n"),
        (1, f"diff --git a/x b/x\nnew file mode 100644\nindex {ONE}..{TWO}\n"),
        (1, f"diff --git a/x b/x\ndeleted file mode 100644\nindex {ONE}..{TWO}\n"),
        (1, f"diff --git a/x b/x\ndeleted file mode 100644\nnew file mode 100644\nindex {ONE}..{ZERO}\n"),
        (1, f"diff --git a/x b/x\nindex {ZERO}..{TWO} 100644\n"),
        (1, "diff --git a/x b/y\nsimilarity index 100%\nrename from x\n"),
        (1, "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to z\n"),
        (1, "diff --git a/x b/y\nrename from x\nrename to y\n"),
        (3, "diff --git a/x b/y\nsimilarity index 100%\ncopy from x\ncopy to y\n"),
        (2, f"diff --git a/x b/x\nindex 1234567..2345678 100644\n{NAMES}"),
        (2, f"diff --git a/x b/x\ndissimilarity index 90%\nindex {ONE}..{TWO} 100644\n"),
        (1, f"{HEADER}old mode 100644\nnew mode 100755\n"),
        (3, f"{HEADER}index {ONE}..{TWO} 100644\n"),
        (3, f"{HEADER}Binary files a/x and b/x differ\n"),
        (3, f"{HEADER}--- a/y\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"),
        (4, f"{HEADER}--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n"),
        (3, f"{HEADER}--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+b\n"),
        (5, f"{HEADER}{NAMES}"),
        (5, f"{HEADER}{NAMES}@@ -1 @@\n"),
        (5, f"{HEADER}{NAMES}@@ -1,{'9' * 5000} +1 @@\n"),
        (6, f"{HEADER}{NAMES}@@ -1 +1 @@\n"),
        (7, f"{HEADER}{NAMES}@@ -1 +1 @@\n-a\n"),
        (7, f"{HEADER}{NAMES}@@ -1 +1 @@\n-a\n-b\n"),
        (7, f"{HEADER}{NAMES}@@ -1 +1 @@\n-a\n b\n"),
        (7, f"{HEADER}{NAMES}@@ -1 +1 @@\n-a\n\n"),
        (8, f"{HEADER}{NAMES}@@ -1 +1 @@\n-a\n+b\n+c\n"),
        (8, f"{HEADER}{NAMES}@@ -1 +1 @@\n-a\n+b\n-- \n2.39.5\n"),
        (4, f"{HEADER}GIT binary patch\n"),
        (5, f"{HEADER}GIT binary patch\nliteral 0\n"),
        (6, f"{HEADER}GIT binary patch\nliteral 0\nHcmV?d00001\n"),
        (7, f"{HEADER}GIT binary patch\nliteral 0\nHcmV?d00001\n\n"),
        (6, f"{HEADER}GIT binary patch\nliteral 0\nHcmV?d00001\ndiff --git a/y b/y\n"),
        (4, "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n" + NAMES),
        (3, HEADER * 2),
    ],
)
def test_what_git_would_not_write_is_refused_with_its_line(line: int, text: str) -> None:
    with pytest.raises(PatchFormatError, match=rf"line {line} is "):
        parse(text)


def test_lines_that_were_split_elsewhere_too_are_refused() -> None:
    text = check({}, {"a": (FILE, b"one\rtwo\n")})
    with pytest.raises(PatchFormatError):
        parse_patch(text.splitlines())


@given(st.integers(0, 100), st.sampled_from(["", "\n", "@@ -1 +1 @@\n", "+", "diff --git a/x b/x\n", "\ud800", "\0"]))
@settings(max_examples=50, deadline=None)
def test_a_patch_that_was_tampered_with_is_read_or_refused(place: int, what: str) -> None:
    lines = TEXTS.splitlines(keepends=True)
    lines.insert(place % len(lines), what)
    with suppress(PatchFormatError):
        assert {file.path for file in parse("".join(lines))} == {"x", "y", "z"}


@pytest.mark.parametrize("long", ['"' + "\\" * 1_000_001, '"' + "a\\1" * 300_000, "a" * 1_000_001, " b/" * 300_000])
def test_a_hostile_line_takes_no_longer_than_its_length(long: str) -> None:
    start = time.process_time()
    for text in (f"diff --git {long}\n", f"diff --git a/x b/x\nrename from {long}\nrename to {long}\n"):
        with pytest.raises(PatchFormatError):
            parse(text)
    assert time.process_time() - start < 2
