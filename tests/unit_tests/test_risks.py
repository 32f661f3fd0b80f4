"""What would run by itself is refused, what deserves a look is shown, and what is ordinary is let pass."""

import time
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED, Risk, find_risks

MIB = 1024 * 1024


def risks(path: str = "src/x.py", content: bytes = b"", **more: Any) -> list[Risk]:
    given: dict[str, Any] = {"mode": FILE, "old_mode": None, "old_content": b"", "size": len(content), **more}
    return find_risks(path, content=content, **given)


def test_every_risk_has_a_meaning_and_only_risks_are_refused() -> None:
    assert set(MEANINGS) == set(get_args(Risk)) > REFUSED
    assert list(get_args(Risk)) == sorted(MEANINGS)
    for meaning in MEANINGS.values():
        assert meaning.isascii()
        assert meaning == meaning.strip().rstrip(".")


REFUSED_PATHS: dict[Risk, list[str]] = {
    "hook": [
        *(".husky/pre-commit", ".husky/_/husky.sh", ".githooks/pre-push", ".git-hooks/commit-msg", "lefthook.yml"),
        *(".lefthook.toml", "lefthook-local.yml", ".pre-commit-config.yaml", ".pre-commit-config.yml", ".lintstagedrc"),
        *(".lintstagedrc.json", "lint-staged.config.mjs", ".huskyrc.js", ".overcommit.yml"),
    ],
    "environment": [
        *(".envrc", ".direnv/bin/x", ".tool-versions", "mise.toml", ".mise.local.toml", ".config/mise/config.toml"),
        *("flake.nix", "shell.nix", ".Rprofile", ".gdbinit", ".pdbrc", ".bashrc", ".bash_profile", ".zshenv"),
        *(".config/fish/config.fish", ".ssh/config", ".ssh/authorized_keys"),
    ],
    "editor": [
        *(".vscode/tasks.json", ".vscode/settings.json", ".idea/workspace.xml", "x.code-workspace", ".exrc"),
        *(".devcontainer/devcontainer.json", ".devcontainer.json", ".nvim.lua", ".vimrc", ".dir-locals.el"),
        *(".zed/settings.json", ".helix/languages.toml", "module.iml"),
    ],
    "agent_config": [
        *(".mcp.json", ".claude/settings.json", ".claude/commands/x.md", ".cursor/mcp.json", ".opencode/plugin/x.js"),
        *(".opencode/commands/x.md", "opencode.json", ".codex/config.toml", ".gemini/settings.json", ".continue/x"),
        *(".windsurf/x", ".aider.conf.yml", ".clinerules/hooks/x", ".github/hooks/x.json"),
    ],
    "ci": [
        *(".github/workflows/test.yml", ".github/actions/x/index.js", ".gitlab-ci.yml", "ci/x.gitlab-ci.yml"),
        *(".circleci/config.yml", "azure-pipelines.yml", "azure-pipelines-nightly.yml", "Jenkinsfile", "Jenkinsfile.x"),
        *(".buildkite/pipeline.yml", ".drone.yml", ".travis.yml", "bitbucket-pipelines.yml", ".woodpecker/x.yml"),
        *(".woodpecker.yml", "appveyor.yml", ".appveyor.yml", ".forgejo/workflows/x.yml", "action.yml"),
    ],
    "version_control": [".gitmodules", ".gitconfig", ".lfsconfig", ".hg/hgrc", ".jj/x", ".svn/wc.db"],
}

SHOWN_PATHS: dict[Risk, list[str]] = {
    "agent_instructions": [
        *("AGENTS.md", "CLAUDE.md", "CLAUDE.local.md", "GEMINI.md", ".github/copilot-instructions.md", ".cursorrules"),
        *("skills/x/SKILL.md", ".github/instructions/x.instructions.md", ".github/prompts/x.prompt.md"),
    ],
    "git_attributes": [".gitattributes"],
    "lock_file": [
        *("package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "uv.lock", "poetry.lock"),
        *("Pipfile.lock", "Cargo.lock", "go.sum", "Gemfile.lock", "composer.lock", "flake.lock", "mix.lock"),
        *("gradle.lockfile", ".terraform.lock.hcl"),
    ],
    "build_hook": [
        *("setup.py", "setup.cfg", "pyproject.toml", "conftest.py", "sitecustomize.py", "x.pth", "Makefile", "x.mk"),
        *("package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", "build.rs", ".cargo/config.toml", "CMakeLists.txt"),
        *("build.gradle", "build.gradle.kts", "pom.xml", "Rakefile", "Gemfile", "tox.ini", "noxfile.py", "Dockerfile"),
        *("Dockerfile.dev", "docker-compose.yml", "docker-compose.test.yaml", "compose.yaml", "compose.headless.yml"),
        *("justfile", "binding.gyp", "Package.swift", ".bazelrc", "BUILD", "WORKSPACE", "pip.conf", "vite.config.ts"),
    ],
    "settings": [".env", ".env.local", "prod.env"],
}

ORDINARY_PATHS = [
    *("README.md", "src/x.py", "docs/claude.rst", ".editorconfig", ".gitignore", ".dockerignore", "LICENSE", "a"),
    *(".github/ISSUE_TEMPLATE/bug.md", ".github/dependabot.yml", "workflows/x.yml", "github/workflows/x.yml"),
    *("workspace/x.py", "build/x.py", "setup.py.md", "mysetup.py", "vscode/x", ".vscodes/x", "x.vscode/x", "lock.py"),
    *("src/hook.ts", "src/config.js", "env/x.py", ".envs", "tests/test_makefile.py", "jenkinsfile_parser.py", "ci/x"),
    *(".config/x.toml", "gradle/x", "cargo/config.toml", "AGENTS.txt", "envrc", "mise/x.py", "zuul.py", "action.py"),
]


@pytest.mark.parametrize(("risk", "path"), [(risk, path) for risk, paths in REFUSED_PATHS.items() for path in paths])
def test_what_would_run_by_itself_is_refused_wherever_it_is(risk: Risk, path: str) -> None:
    assert risk in REFUSED
    for place in (path, f"a/{path}", f"a/b/c/{path}"):
        assert risk in risks(place)
        assert risk in risks(place, mode=None, old_mode=FILE)


@pytest.mark.parametrize(("risk", "path"), [(risk, path) for risk, paths in SHOWN_PATHS.items() for path in paths])
def test_what_deserves_a_look_is_shown_wherever_it_is_and_applied(risk: Risk, path: str) -> None:
    for place in (path, f"a/{path}", f"a/b/c/{path}"):
        assert risk in risks(place)
        assert not REFUSED & set(risks(place))


@pytest.mark.parametrize("path", ORDINARY_PATHS)
def test_an_ordinary_change_is_let_pass(path: str) -> None:
    assert risks(path, b"text\n", old_content=b"text", old_mode=FILE) == []
    assert risks(path, mode=None, old_mode=FILE) == []


@pytest.mark.parametrize(
    "path",
    [
        ".VSCODE/TASKS.JSON",
        ".v\u017fcode/tasks.json",
        ".vscode\\tasks.json",
        "a\\.vscode\\tasks.json",
        ".vscode./tasks.json",
        ".vscode /tasks.json",
        ".vscode::$INDEX_ALLOCATION/tasks.json",
        ".vs\u200ccode/tasks.json",
        "a\n/.vscode/x\n",
        ".vscode",
        "caf\udce9/.vscode/x",
    ],
)
def test_a_name_that_some_file_system_takes_for_another_counts_as_that(path: str) -> None:
    assert risks(path) == ["editor"]


@pytest.mark.parametrize(
    ("path", "risk"),
    [
        (".github", "ci"),
        ("a/.config", "environment"),
        (".config", "editor"),
        (".gitlab", "ci"),
        (".claude", "agent_config"),
    ],
)
def test_a_link_in_the_place_of_a_folder_counts_as_what_could_be_in_that(path: str, risk: Risk) -> None:
    assert risk in risks(path, b"innocent", mode=SYMLINK)


def test_all_risks_of_a_change_are_told_in_order() -> None:
    assert risks(".cursor/rules/.env", b"\0" + b"a" * MIB, size=2 * MIB, mode=EXECUTABLE) == [
        *("agent_config", "agent_instructions", "big", "binary", "executable", "settings"),
    ]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("x", b"/etc/passwd"),
        ("x", b"/"),
        ("x", b".."),
        ("x", b"../x"),
        ("x", b"./../x"),
        ("x", b".//..//x"),
        ("a/b/x", b"../../../x"),
        ("a/b/x", b"../.././../x"),
        ("x", b"a/../../x"),
        ("x", b"link/.."),
        ("a/x", b"../link/../y"),
        ("x", b"\\\\server\\share"),
        ("x", b"..\\x"),
        ("x", b"C:\\x"),
        ("x", b"c:x"),
        ("x", b".git/config"),
        ("a/x", b"../.GIT"),
        ("x", b".git\xe2\x80\x8c/hooks"),
        ("x", b""),
    ],
)
def test_a_link_that_may_lead_out_of_the_tree_is_refused(path: str, target: bytes) -> None:
    assert risks(path, target, mode=SYMLINK) == ["link_out"]
    assert risks(path, target, mode=SYMLINK, old_mode=SYMLINK, old_content=b"y") == ["link_out"]
    assert "link_out" not in risks(path, target)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("x", b"y"),
        ("x", b"a/b"),
        ("x", b"./y"),
        ("x", b"."),
        ("x", b"...."),
        ("x", b"..y/z"),
        ("x", b".github/x"),
        ("a/x", b".."),
        ("a/x", b"../y"),
        ("a/b/x", b"../../y/z/"),
        ("a/b/x", "../ü".encode()),
    ],
)
def test_a_link_that_stays_in_the_tree_is_let_pass(path: str, target: bytes) -> None:
    assert risks(path, target, mode=SYMLINK) == []


@pytest.mark.parametrize(
    ("old_mode", "mode", "expected"),
    [
        (None, EXECUTABLE, ["executable"]),
        (FILE, EXECUTABLE, ["executable"]),
        (SYMLINK, EXECUTABLE, ["executable"]),
        (EXECUTABLE, EXECUTABLE, []),
        (EXECUTABLE, FILE, []),
        (EXECUTABLE, None, []),
        (None, FILE, []),
    ],
)
def test_what_becomes_a_program_is_shown(old_mode: int | None, mode: int | None, expected: list[Risk]) -> None:
    assert risks(mode=mode, old_mode=old_mode) == expected


@pytest.mark.parametrize(
    ("content", "size", "expected"),
    [
        (b"a\0b", 3, ["binary"]),
        (b"caf\xe9", 4, ["binary"]),
        (b"\xff\xfea\0", 4, ["binary"]),
        ("ü".encode(), 2, []),
        ("ü".encode()[:1], 1, ["binary"]),
        ("ü".encode()[:1], 2, []),
        (b"\xff", 2, ["binary"]),
        (b"", 0, []),
        (b"a" * MIB, MIB, []),
        (b"a" * MIB, MIB + 1, ["big"]),
    ],
)
def test_what_nobody_can_read_is_shown(content: bytes, size: int, expected: list[Risk]) -> None:
    assert risks(content=content, size=size) == expected
    assert risks(content=content, size=size, mode=None, old_mode=FILE) == []


KEY = "Ab1" * 30
# In parts, so that nobody's scanner takes this file for a leak.
CREDENTIALS = [
    "AKIA" + "Q" * 16,
    "ASIA" + "Q2" * 8,
    *(f"gh{kind}_{KEY[:36]}" for kind in "opsru"),
    "github_" + "pat_" + KEY[:22] + "_" + KEY[:59],
    "glpat" + "-" + KEY[:20],
    "xoxb" + "-1234567890-" + KEY[:24],
    "sk" + "-" + KEY[:48],
    "sk" + "-proj-" + KEY[:60],
    "sk" + "-ant-api03-" + KEY + "-_AA",
    "AI" + "za" + KEY[:35],
    "sk_" + "live_" + KEY[:24],
    "npm" + "_" + KEY[:36],
    "hf" + "_" + KEY[:34],
    "eyJ" + KEY[:20] + ".eyJ" + KEY[:40] + "." + KEY[:43],
    "postgres://" + "app:hunter2!@db.example/x",
    "https://" + ":tok3n@host",
    "-----BEGIN " + "PRIVATE KEY-----\n" + KEY,
    "-----BEGIN " + "RSA PRIVATE KEY-----\\n" + KEY,
    "-----BEGIN " + "OPENSSH PRIVATE KEY-----\r\n" + KEY,
    "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\n\n" + KEY,
    "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n" + KEY,
    "-----BEGIN " + "EC PRIVATE KEY-----\\n'\n            '" + KEY,
    "-----BEGIN " + "RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0\n\n" + KEY,
]


@pytest.mark.parametrize("credential", CREDENTIALS, ids=range(len(CREDENTIALS)))
@pytest.mark.parametrize(
    "form", ["{}", "key = '{}'\n", '{{"key":"{}"}}', "\0\xff{}\n", "x\r\nKEY={}\r\n", "'x-{}', {}"]
)
def test_a_credential_that_is_added_is_shown_and_one_that_was_there_is_not(credential: str, form: str) -> None:
    content = form.format(credential, credential).encode("latin-1")
    assert "secret" in risks(content=content)
    assert "secret" in risks(content=content, old_content=b"other", old_mode=FILE)
    assert "secret" not in risks(content=b"more\n" + content, old_content=content, old_mode=FILE)
    assert "secret" not in risks(content=b"", old_content=content, old_mode=FILE)
    assert "secret" not in risks(content=content, mode=None, old_mode=FILE)


@pytest.mark.parametrize("credential", CREDENTIALS, ids=range(len(CREDENTIALS)))
def test_a_credential_in_the_place_of_another_is_shown(credential: str) -> None:
    other = credential.replace("b", "c").replace("Q", "R").replace("hunter2", "hunter3").replace("tok3n", "tok4n")
    assert other != credential
    assert risks(content=credential.encode(), old_content=other.encode()) == ["secret"]


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7" + "EXAMPLE",
        "TAKIA" + "Q" * 20,
        "class='sk-estimator-doc-link fitted sk-toggleable__label-arrow'",
        "sk-" + "a" * 40,
        "task-" + KEY,
        "postgres://user:${PASSWORD}@host",
        "postgres://user:<password>@host",
        "postgres://{user}:{password}@host",
        "postgres://%s:%s@host",
        "postgres://user:password@host",
        "postgres://USER:PASSWORD@HOST",
        "http://localhost:8000/@scope/package",
        "http://localhost:8000?mail=a@example.com",
        "git@github.com:x/y.git",
        "ssh://git@host:22/x",
        "npm_config_registry=https://registry.example",
        'BEGIN = "-----BEGIN PRIVATE KEY-----"\nEND = "-----END PRIVATE KEY-----"\n',
        'if text.startswith("-----BEGIN PRIVATE KEY-----"):\n    raise ValueError("a private key does not go here")\n',
        "-----BEGIN PUBLIC KEY-----\n" + KEY,
        "-----BEGIN CERTIFICATE-----\n" + KEY,
        "eyJhbGciOiJIUzI1NiJ9",
        "ghp_short",
    ],
)
def test_what_only_looks_a_little_like_a_credential_is_let_pass(text: str) -> None:
    assert risks(content=text.encode()) == []


hostile_bytes = st.lists(
    st.sampled_from(
        [*(part.encode() for part in CREDENTIALS), b"sk-", b"://", b":", b"@", b"eyJ", b".", b"-", b" ", b"\n"]
    )
    | st.binary(max_size=6),
    max_size=12,
).map(b"".join)
modes = st.sampled_from([None, 0, FILE, EXECUTABLE, SYMLINK, 0o160000])


@given(
    path=st.text(st.characters() | st.sampled_from("/\\.:~ ")),
    mode=modes,
    old_mode=modes,
    content=hostile_bytes,
    old_content=hostile_bytes,
    size=st.integers(-1, 2**70),
)
@example(path="", mode=SYMLINK, old_mode=None, content=b"\xff\0/..", old_content=b"", size=0)
def test_nothing_raises_and_the_risks_are_sorted_and_known(path: str, content: bytes, **more: Any) -> None:
    found = find_risks(path, content=content, **more)
    assert found == sorted(set(found))
    assert set(found) <= set(MEANINGS)


HOSTILE = [
    *("sk-", "eyJ", "eyJ.", "eyJaaaaaaaaaa.", "a://a:", "a://", "://::", "AKIA", "ghp_", "xoxb-", "-", "-----BEGIN "),
    *(
        "-----BEGIN A ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nProc-Type:",
        "SG.",
        "a",
        "\\",
        "\n",
    ),
    *(
        "glpat-",
        "github_pat_",
        "hooks.slack.com/services/TAAAAAAA/BAAAAAAA/",
        "pypi-AgE",
        "AccountKey=",
        "aA1@:",
        "sk-aA1.",
    ),
]


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("first", ["", "sk-", "eyJ", "a://", "-----BEGIN PRIVATE KEY-----"])
def test_a_hostile_content_takes_no_longer_than_its_length(unit: str, first: str) -> None:
    content = (first + unit * (MIB // 4 // len(unit))).encode()
    start = time.process_time()
    risks(content=content)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "unit", ["/", "a/", ".vscode", ".github/", "\\", "a.", "docker-compose", ".config.", "~", ":", "\u200c"]
)
def test_a_hostile_path_takes_no_longer_than_its_length(unit: str) -> None:
    start = time.process_time()
    risks(unit * (4096 // len(unit)))
    risks("x", (unit * 4096).encode(), mode=SYMLINK)
    assert time.process_time() - start < 0.2
