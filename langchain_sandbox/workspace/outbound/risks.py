"""Which changes deserve a second look before they come into the user's tree, and which are refused there. Pure.

What a container has changed is looked at by name and by content. The tables say the whole policy. Its line: what only
runs when somebody runs, builds or tests the project is shown, for that is what the changes are for; what the user's
machine or servers would run or obey with nobody running the project is refused.

A deletion counts as a change by its name: a hook, a rule or a check that is gone is obeyed no more.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, Literal

from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, SYMLINK
from langchain_sandbox.workspace.outbound.credentials import find_credentials
from langchain_sandbox.workspace.paths import plain_name

Risk = Literal[
    "agent_config",
    "agent_instructions",
    "big",
    "binary",
    "build_hook",
    "ci",
    "editor",
    "environment",
    "executable",
    "git_attributes",
    "hook",
    "link_out",
    "lock_file",
    "secret",
    "settings",
    "version_control",
]

REFUSED: Final[frozenset[Risk]] = frozenset(
    {"agent_config", "ci", "editor", "environment", "hook", "link_out", "version_control"}
)
"""What is not applied unless the user says so."""

MEANINGS: Final[dict[Risk, str]] = {
    "agent_config": "configures coding agents, which may run what it says",
    "agent_instructions": "tells coding agents what to do",
    "big": "is larger than 1 MiB",
    "binary": "is not text, so nobody can read the change",
    "build_hook": "steers what building, testing or installing the project runs",
    "ci": "runs on your CI servers",
    "editor": "configures your editor, which may run what it says",
    "environment": "is obeyed by your shell or an interpreter as soon as it starts there",
    "executable": "becomes a program",
    "git_attributes": "changes how git treats other files",
    "hook": "runs when you commit or push",
    "link_out": "is a link that leads out of the tree",
    "lock_file": "changes which packages are installed",
    "secret": "adds what looks like a credential",
    "settings": "sets variables for programs that are run here",
    "version_control": "configures git or another version control, which may run what it says",
}
"""What each means, to be put after a path."""

# `name` is a file in any folder, `name/` a folder anywhere with all that is in it, `*` any characters of one name. A
# link in the place of a folder counts as what could be in that: `.github` where `.github/workflows/` is.
_PLACES: Final[dict[Risk, str]] = {
    "hook": """
        .husky/ .husky.* .huskyrc* husky.config.* .cargo-husky/ .githooks/ .git-hooks/ githooks/ git-hooks/ lefthook.*
        .lefthook.* lefthook-local.* .lefthook-local.* .lefthook/ .lefthook-local/ .pre-commit-config.*
        .pre-commit-hooks.* prek.toml .lintstagedrc* lint-staged.config.* .simple-git-hooks.* simple-git-hooks.*
        .commitlintrc* commitlint.config.* .overcommit.* captainhook.json grumphp.* hk.pkl
    """,
    # direnv and mise on entering the folder: flake.nix and its like through a `use flake` that was allowed once, with
    # no new question. asdf runs what a `path:` in .tool-versions names. Interpreters and debuggers read their own file
    # from the folder that they start in. Shells' files are live where a home folder's are links into a repository.
    "environment": """
        .envrc .envrc.* .direnv/ .direnvrc direnvrc .autoenv* .tool-versions mise.toml mise.*.toml .mise.toml
        .mise.*.toml mise/config.* .mise/ .config/mise/ .config/mise.* flake.nix shell.nix devenv.nix devenv.*.nix
        devenv.yaml devenv.*.yaml .devenv/ devbox.json .Rprofile .Renviron .irbrc .pryrc .pdbrc .gdbinit .lldbinit
        .ghci .ocamlinit .iex.exs .bashrc .bash_* .profile .zshrc .zshenv .zprofile .zlogin .zlogout .kshrc .cshrc
        .tcshrc .login .inputrc .tmux.conf .xinitrc .xprofile .ripgreprc .config/fish/ .config/direnv/
        .config/autostart/ .config/systemd/ .ssh/ .gnupg/
    """,
    "editor": """
        .vscode/ *.code-workspace .idea/ *.iml .fleet/ .vs/ .zed/ .helix/ .nova/ .theia/ .settings/ .project
        .externalToolBuilders/ *.sublime-project *.sublime-workspace .devcontainer/ .devcontainer.* .gitpod.* .exrc
        .vimrc .gvimrc _vimrc .nvimrc .nvim.lua .lvimrc .vim/ .nvim/ .config/nvim/ .dir-locals.el .dir-locals-2.el
        .ycm_extra_conf.py .luarc.json .luarc.jsonc .neoconf.json
    """,
    "agent_config": """
        .mcp.json .claude/ .claude.json .claude-plugin/ .cursor/ .opencode/ opencode.json opencode.jsonc .codex/
        .gemini/ .qwen/ .agents/ .continue/ .continuerc.json .windsurf/ .devin/ .clinerules/ .cline/ .roo/ .roomodes
        .kilocode/ .kilocodemodes .kiro/ .amazonq/ .augment/ .junie/ .trae/ .factory/ .goose/ .crush/ .crush.json
        crush.json .openhands/ .amp/ .pi/ .aider.conf.yml .github/agents/ .github/hooks/ .github/skills/
    """,
    "ci": """
        .github/workflows/ .github/actions/ action.yml action.yaml .forgejo/workflows/ .gitea/workflows/
        *.gitlab-ci.yml *.gitlab-ci.yaml .gitlab/ci/ .circleci/ azure-pipelines* .azure-pipelines/ .azuredevops/
        Jenkinsfile Jenkinsfile.* *.jenkinsfile .buildkite/ .drone.* .travis.* bitbucket-pipelines.yml .woodpecker/
        .woodpecker.* appveyor.* .appveyor.* .cirrus.* .semaphore/ codefresh.yml cloudbuild.yaml cloudbuild.json
        buildspec*.yml buildspec*.yaml .teamcity/ .tekton/ .builds/ .build.yml .zuul.yaml zuul.yaml .zuul.d/ zuul.d/
        bamboo-specs/ .packit.* .copr/ .readthedocs.* netlify.toml vercel.json amplify.yml
    """,
    # A folder that is no git repository comes as a whole, so that another version control's own folder can be in it.
    "version_control": """
        .gitmodules gitmod~* .gitconfig .lfsconfig .config/git/ .hg/ .hgrc .hgsub .svn/ .jj/ .sl/ .bzr/ _darcs/
    """,
    "agent_instructions": """
        AGENTS.md AGENTS.*.md AGENT.md CLAUDE.md CLAUDE.*.md GEMINI.md QWEN.md CRUSH.md WARP.md SKILL.md .cursorrules
        .cursor/rules/ .windsurfrules .windsurf/rules/ .goosehints .rules copilot-instructions.md *.instructions.md
        *.prompt.md *.chatmode.md
    """,
    "git_attributes": ".gitattributes",
    "lock_file": """
        *.lock *.lockb *.lockfile package-lock.json npm-shrinkwrap.json pnpm-lock.yaml pylock*.toml conda-lock.yml
        go.sum go.work.sum gems.locked packages.lock.json Package.resolved Cartfile.resolved .terraform.lock.hcl
        cabal.project.freeze verification-metadata.xml
    """,
    "build_hook": """
        setup.py setup.cfg pyproject.toml Pipfile requirements*.txt constraints*.txt conftest.py pytest.ini .pytest.ini
        sitecustomize.py usercustomize.py *.pth tox.ini noxfile.py fabfile.py dodo.py hatch.toml hatch_build.py
        pip.conf pip.ini uv.toml .pypirc .python-version .coveragerc .pylintrc pylintrc mypy.ini .mypy.ini .flake8
        package.json .npmrc .yarnrc* .yarn/ .pnp.* .pnpmfile.* pnpm-workspace.yaml bunfig.toml deno.json deno.jsonc
        nx.json turbo.json lerna.json Gruntfile.* gulpfile.* *.config.js *.config.cjs *.config.mjs *.config.ts
        *.config.cts *.config.mts .babelrc* .eslintrc* .prettierrc* .stylelintrc* .mocharc* .postcssrc* binding.gyp
        *.gyp *.gypi
        Makefile Makefile.* GNUmakefile *.mk *.mak CMakeLists.txt *.cmake CMakePresets.json meson.build configure
        configure.ac SConstruct SConscript wscript justfile .justfile *.just Taskfile.* .taskrc.* magefile.go
        build.rs Cargo.toml .cargo/ rust-toolchain rust-toolchain.toml go.mod go.work mix.exs rebar.config *.cabal
        Setup.hs Package.swift Podfile *.podspec fastlane/ default.nix
        *.gradle *.gradle.kts gradle.properties gradle/wrapper/ gradlew gradlew.bat pom.xml .mvn/ mvnw mvnw.cmd
        build.xml *.sbt build.sc
        Gemfile gems.rb *.gemspec Rakefile *.rake .rspec .bundle/ Vagrantfile Dangerfile Brewfile composer.json
        *.csproj *.fsproj *.vbproj *.vcxproj *.proj *.props *.targets nuget.config global.json
        BUILD BUILD.bazel WORKSPACE WORKSPACE.bazel MODULE.bazel *.bzl .bazelrc .bazelversion BUCK .buckconfig
        pants.toml
        Dockerfile* *.Dockerfile Containerfile* docker-compose*.yml docker-compose*.yaml compose*.yml compose*.yaml
        docker-bake.* Tiltfile Earthfile skaffold.yaml Procfile
    """,
    # Read by the programs of the project when somebody runs those; shells read them with a plugin that asks first.
    "settings": ".env .env.* *.env .flaskenv",
}

_MIB = 1024 * 1024
_SEPARATOR = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:")


def find_risks(
    path: str, *, mode: int | None, old_mode: int | None, content: bytes, old_content: bytes, size: int
) -> list[Risk]:
    """Tell why a change deserves a second look. Of a rename, ask for both of its paths.

    Args:
        path: Relative to the tree's root. Names are compared as the laxest of file systems would.
        mode: Git's mode of the file or link; `None` if it is deleted.
        old_mode: What it was; `None` if it is new.
        content: The first MiB of what is in it, or where a link leads to. What lies behind that is not looked at.
        old_content: The first MiB of what was in it.
        size: Bytes of the whole content.

    Returns:
        The risks in alphabetical order, each once; nothing of the content.
    """
    found = _find_by_name(path)
    if mode is not None:
        found |= _find_by_content(content, old_content, size)
    if mode == EXECUTABLE and old_mode != EXECUTABLE:
        found.add("executable")
    if mode == SYMLINK and _leads_out(path, content):
        found.add("link_out")
    return sorted(found)


def _find_by_name(path: str) -> set[Risk]:
    plain = "/".join(plain_name(part) for part in _SEPARATOR.split(path)).casefold()
    return {risk for risk, places in _PATTERNS.items() if places.search(plain)}


def _find_by_content(content: bytes, old_content: bytes, size: int) -> set[Risk]:
    found: set[Risk] = set()
    if size > _MIB:
        found.add("big")
    if b"\0" in content or not _is_text(content, whole=len(content) >= size):
        found.add("binary")
    added = find_credentials(content)
    if added and added - find_credentials(old_content):
        found.add("secret")
    return found


def _is_text(content: bytes, *, whole: bool) -> bool:
    """Whether it is UTF-8; the last letter may be cut in two if the content is."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _leads_out(path: str, target: bytes) -> bool:
    """Whether a link may lead out of the tree, or into a `.git`.

    Only names are known here, so `..` after a name counts as out: that name may be a link that leads up.
    """
    names = _SEPARATOR.split(target.decode("utf-8", "replace"))
    if not names[0] or _DRIVE.match(names[0]):
        return True
    names = [name for name in names if name not in {"", "."}]
    ups = next((at for at, name in enumerate(names) if name != ".."), len(names))
    return ups > path.count("/") or ".." in names[ups:] or any(plain_name(name).casefold() == ".git" for name in names)


def _compile(places: str) -> re.Pattern[str]:
    return re.compile(rf"(?:\A|/)(?:{'|'.join(_translate(place) for place in places.casefold().split())})", re.DOTALL)


def _translate(place: str) -> str:
    *folders, name = place.removesuffix("/").split("/")
    expression = re.escape(name).replace(r"\*", "[^/]*") + (r"(?:/|\Z)" if place.endswith("/") else r"\Z")
    for folder in reversed(folders):
        expression = rf"{re.escape(folder)}(?:/{expression}|\Z)"
    return expression


_PATTERNS: Final = {risk: _compile(places) for risk, places in _PLACES.items()}
