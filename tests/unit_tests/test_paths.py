"""Names that would lead somewhere else are refused, and odd names that lead nowhere else are not."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from repositories import git, init

from langchain_sandbox.workspace.paths import compile_patterns, find_fault, find_link_fault, is_masked, parents

IGNORABLE = "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"

GIT_LIKE = [
    ".git",
    ".GIT",
    ".gIt",
    ".git ",
    ".git.",
    ".git . .",
    "git~1",
    "GIT~1",
    "Git~2",
    "git~1.",
    ".git::$INDEX_ALLOCATION",
    ".git:stream",
    ".git ::$DATA",
    *(f".g{letter}it" for letter in IGNORABLE),
    f"{IGNORABLE}.git{IGNORABLE}",
    "a\\.git",
    ".git\\config",
    "a\\GIT~1\\x",
]


@pytest.mark.parametrize("name", GIT_LIKE)
@pytest.mark.parametrize("place", ["{}", "{}/config", "sub/{}", "sub/{}/hooks/pre-commit"])
def test_whatever_some_file_system_takes_for_git_is_refused(name: str, place: str) -> None:
    assert find_fault(place.format(name)) == "inside a .git"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/",
        "..",
        ".",
        "../x",
        "a/../b",
        "a/..",
        "a/./b",
        "./a",
        "a//b",
        "//a",
        "a/",
        "a/b/",
        "x" * 256,
        "é" * 128,
    ],
)
def test_what_is_not_a_plain_relative_path_is_refused(path: str) -> None:
    assert find_fault(path) == "not a plain relative path"


@pytest.mark.parametrize("path", ["a\0b", "\0", "a/\0/b", ".git\0", "a\0/../b"])
def test_a_nul_is_refused(path: str) -> None:
    assert find_fault(path) == "holds a NUL"


@pytest.mark.parametrize("path", ["", "a/" * 2048 + "b", "x" * 5000, "é/" * 1500 + "b"])
def test_no_path_and_a_path_that_is_too_long_are_refused(path: str) -> None:
    assert find_fault(path) == "empty or too long"


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a b",
        " a",
        "a ",
        "a.",
        "...",
        "..a",
        "a..b",
        "new\nline",
        "tab\t",
        'quo"te',
        "it's",
        "back\\slash",
        "*?[x]",
        "-rf",
        "~",
        "$HOME",
        "%2e%2e",
        "café",
        "日本語",
        "😀",
        "e\u0301",
        "caf\udce9",
        "a:b",
        "git",
        "GIT",
        "git~",
        "git~x",
        "agit~1",
        "x.git",
        ".git-blame-ignore-revs",
        ".gitignore",
        ".gitattributes",
        ".gitkeep",
        ".github/workflows/x.yml",
        ".gitlab-ci.yml",
        "git/config",
        "x" * 255,
        "/".join(["x" * 255] * 15),
        ".opencode/commands/x.md",
        "CON",
    ],
)
def test_an_odd_but_ordinary_name_passes(path: str) -> None:
    assert find_fault(path) is None


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=6).map("/".join))
def test_a_path_that_passes_stays_below_where_it_is_put(path: str) -> None:
    if find_fault(path) is None:
        assert "\0" not in path
        assert not {"", ".", ".."} & set(path.split("/"))
        assert not any(part.casefold() == ".git" for part in path.split("/"))


@pytest.mark.parametrize(
    "path",
    [
        ".opencode/plugin",
        ".opencode/plugin/x.js",
        ".opencode/plugins/deep/x.ts",
        ".opencode/mode/build.md",
        ".opencode/modes/build.md",
        ".opencode/tool/x.ts",
        ".opencode/tools/x.ts",
        ".opencode/agent/x.md",
        ".opencode/agents/x.md",
        ".opencode/plugin/new\nline.js",
        "opencode.json",
        "opencode.jsonc",
        "sub/opencode.json",
        "sub/deep/.opencode/plugin/x.js",
        "new\nline/opencode.json",
        ".opencode",
        "sub/.opencode",
        ".OpenCode/Plugin/x.js",
        "OPENCODE.json",
    ],
)
def test_what_would_configure_opencode_is_masked(path: str) -> None:
    assert is_masked(path)


@pytest.mark.parametrize(
    "path",
    [
        "AGENTS.md",
        ".opencode/package.json",
        ".opencode-notes",
        ".opencode/commands/x.md",
        ".opencode/skills/x/SKILL.md",
        ".opencode/pluginx",
        ".opencode/plugin.md",
        "plugin/x.js",
        "agents/x.md",
        "x.opencode/plugin/x.js",
        "opencode.json5",
        "opencode.jsonc.bak",
        "my-opencode.json",
        "opencode/json",
    ],
)
def test_what_only_looks_like_it_is_not_masked(path: str) -> None:
    assert not is_masked(path)


def test_the_folders_above_a_path_are_named_from_the_top() -> None:
    assert parents("a/b/c") == ["a", "a/b"]
    assert parents("a") == []


@pytest.mark.parametrize("path", [".gitmodules", "sub/.gitmodules", ".GitModules"])
def test_a_link_that_git_would_obey_is_refused(path: str) -> None:
    assert find_link_fault(path, b"x") == "a link that git would obey"


@pytest.mark.parametrize("target", [b"x" * 4096, "é".encode() * 2048])
def test_a_link_that_is_longer_than_any_path_is_refused(target: bytes) -> None:
    assert find_link_fault("link", target) == "a link to a place too far"


@pytest.mark.parametrize("target", [b"caf\xe9", b"\xff", "\u65e5".encode()[:2]])
def test_a_link_that_no_patch_can_hold_is_refused(target: bytes) -> None:
    assert "not UTF-8" in str(find_link_fault("link", target))


@pytest.mark.parametrize("path", ["link", "sub/link", ".gitmodules.bak", "gitmodules", ".gitignore"])
@pytest.mark.parametrize("target", [b"x", b"./x/", b"/etc", b"../..", "日本".encode(), b"new\nline", b"x" * 4095])
def test_an_ordinary_link_passes_wherever_it_leads(path: str, target: bytes) -> None:
    assert find_link_fault(path, target) is None


@pytest.fixture(scope="module")
def ignoring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository without settings of anybody's."""
    root = init(tmp_path_factory.mktemp("ignoring"))
    git(root, "config", "core.excludesFile", "/dev/null")
    return root


pattern_parts = st.sampled_from(
    [
        *("a", "b", ".", "c", "/", "/", "*", "**", "?", "**/", "/**/", "a/", "\\*", "\\a", "\\", "["),
        *("]", "-", "{a,b}"),
        *(
            "[ab]",
            "[!a]",
            "[^a]",
            "[a-c]",
            "[c-a]",
            "[]a]",
            "[!]a]",
            "[a-]",
            "[-a]",
            "[a\\]b]",
            "[a/b]",
            "[*]",
            "[a-b-c]",
        ),
    ]
)
some_patterns = (
    st.lists(pattern_parts, min_size=1, max_size=5)
    .map("".join)
    .filter(lambda pattern: pattern.strip("/") and "//" not in pattern)
    # Its documents call such stars ordinary ones, and git has `a**/b` fit `a/x/b`.
    .filter(lambda pattern: not re.search(r"[^/*]\*\*", pattern))
)
some_paths = st.lists(
    st.lists(
        st.sampled_from(["a", "b", "c", "aa", "ab", "abc", ".a", "-", "]", "*", "[", "a]"]), min_size=1, max_size=4
    )
    .map("/".join)
    .filter(lambda path: path != "."),
    min_size=5,
    max_size=20,
)


def test_two_stars_that_are_no_folder_of_their_own_are_one() -> None:
    fits = compile_patterns(["a**/b", "x/y**"])
    assert [path for path in ("a/b", "aa/b", "a/x/b", "x/y", "x/yy", "x/yy/z", "x/z") if fits(path)] == [
        *("a/b", "aa/b", "x/y", "x/yy", "x/yy/z"),
    ]


@settings(max_examples=50)
@given(pattern=some_patterns, paths=some_paths)
@example(pattern="a/**", paths=["a", "a/b", "a/b/c", "b/a/c"])
@example(pattern="**/a", paths=["a", "b/a", "b/c/a/d"])
@example(pattern="a/**/b", paths=["a/b", "a/c/b", "a/c/c/b", "ab"])
@example(pattern="[!a]b", paths=["bb", "ab", "a/b", "/b"[1:]])
@example(pattern="[^a]/b", paths=["b/b", "a/b"])
@example(pattern="a[b", paths=["a[b", "ab"])
@example(pattern="[]", paths=["]", "[]", "a"])
@example(pattern="[!]", paths=["!", "[!]", "a"])
@example(pattern="[^]]", paths=["]", "^", "a"])
@example(pattern="a*c", paths=["abc", "a/c", "abc/d", "d/abc"])
def test_a_pattern_fits_what_it_fits_in_a_gitignore(pattern: str, paths: list[str], ignoring: Path) -> None:
    pattern = pattern.strip("/")
    (ignoring / ".git/info/exclude").write_text(f"{pattern if '/' not in pattern else '/' + pattern}\n")
    asked = "\0".join(paths).encode()
    ignored = git(ignoring, "check-ignore", "--no-index", "-z", "--stdin", stdin=asked, check=False).split("\0")[:-1]
    fits = compile_patterns([pattern])
    assert [path for path in paths if fits(path)] == ignored
