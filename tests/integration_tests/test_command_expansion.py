"""The message that a command becomes is the one that OpenCode's own command route makes of the same file.

OpenCode's messages are taken first, all in one container that is gone before the comparisons begin. Where we differ on
purpose, that is here as well: what OpenCode makes of it, and what we do.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from support import make_repository, say

from langchain_sandbox import Sandbox
from langchain_sandbox.agent.opencode import HOME, REPOSITORY, build_config, build_environment
from langchain_sandbox.commands.folder import load_commands
from langchain_sandbox.commands.template import render
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import RecordedRequest, ScriptedModel

FILES: dict[str, str | bytes] = {
    "a.txt": "the words of a\n",
    "src/b.py": "x = 1\n",
    "src/.hidden/c.d.e": "deep\n",
    "per%41cent#1?.txt": "a name that has to be quoted\n",
    "ünï.txt": "with another alphabet\n",
    "names.txt": "@a.txt\n",
    "empty.txt": "",
}

# What the words alone decide.
WORDS = [
    ("Look at $ARGUMENTS.", "src lib"),
    ("Look at $ARGUMENTS.", ""),
    ("$ARGUMENTS and $ARGUMENTS", "a  b"),
    ("Just do it.", "now  please"),
    ("Just do it.", ""),
    ("Just do it.", "  "),
    ("Move $1 to $2.", "a b"),
    ("Move $1 to $2.", "a"),
    ("Move $1 to $2.", ""),
    ("Move $1 to $2.", "a b c   d"),
    ("Move $2 to $1, $2!", "a b c"),
    ("$1 and $1", "a b"),
    ("$1$2$3", "a b c d"),
    ("$3", "a b c d"),
    ("$1 $10", "a b c d e f g h i j k l"),
    ("$10", "a"),
    ("$01|$1", "a b"),
    ("It costs $100.", "now"),
    ("$1", "'one word' two"),
    ("$1|$2", '"one word" "and another"'),
    ("$1|$2|$3", "it's a 'b"),
    ("$1|$2", 'a"b c"d e'),
    ("$1|$2", "\"'quotes'\" '\"inside\"'"),
    ("$1|$2", '"" x'),
    ("$1|$2", "[Image 1] [image  22] rest"),
    ("$1|$2", "one\ntwo\tthree"),
    ("$1|$2", "\u00a0one\u3000two\ufeffthree"),
    ("$1|$2", "ünï 日本 🎉"),
    ("$1 \u0661 $\u0661", "a b"),
    ("$1 then $ARGUMENTS", "'$ARGUMENTS' b"),
    ("$ARGUMENTS", "$1 $2"),
    ("$ARGUMENTSx", "a"),
    ("$argument ${1} $ 1 \\$1", "a"),
    ("  \n\u3000 Trimmed: $1 \n\ufeff", "a"),
    ("---\ndescription: Review: fast\nagent: build\nsomething: [else]\n---\n\nDo $1.\n---\nReally.", "a"),
    ("---\ndescription: a 'b': *c*\n---\nDo $1.", "a"),
    ("---\n# nothing\n---\nDo $1.", "a"),
    ("\ufeff---\r\ndescription: x\r\n---\r\nDo\r\n$1.\r\n", "a"),
    ("Not a head\n---\nDo $1.", "a"),
    ("----\nNot a head either: $1.", "a"),
]

# What needs the container as well.
INSIDE = [
    ("One !`echo one`, two !`echo two`, again !`echo one`.", ""),
    ("Fails: !`echo out; echo err >&2; exit 3`. Lines:\n!`printf 'a\\nb\\n'`\n!`true`", ""),
    ("Where: !`pwd` !`ls src`; !`cat <<'X'\n$1 and $2\nX\n` !`echo \"$HOME\" | wc -l`", "'a b' c"),
    ("!`echo [$1]` !`echo $ARGUMENTS` !`` !``x`` !`unclosed", "a b"),
    ("Given: $ARGUMENTS", "!`echo from the words` @a.txt"),
    ("See @a.txt, @src/b.py and @src. Again: @a.txt, (@./a.txt) @src/ @missing.txt @src/.hidden/c.d.e.", ""),
    ("`@a.txt` me@a.txt _@a.txt @ @. , é@a.txt\u3000@a.txt\u3000x @per%41cent#1?.txt @ünï.txt @empty.txt", ""),
    ("!`cat names.txt` and !`echo '!`echo no`'`; @/run/ws/repo/src/b.py @../repo/a.txt @~/nothing", ""),
    ("Ask @explore and @general about @build, @plan and @nobody.", ""),
]

# Where we differ on purpose: template, words, what OpenCode makes of it, what we do.
DIFFERENT = [
    ("$0 and $1", "a", "undefined and a", "and a"),
    ("Cost: $ARGUMENTS", "$$5 $& $`", "Cost: $5 $ARGUMENTS Cost:", "Cost: $$5 $& $`"),
]


@dataclass(frozen=True)
class OpenCode:
    """What OpenCode's own route tells the model."""

    messages: dict[tuple[str, str], list[str]]


def user_texts(request: RecordedRequest) -> list[str]:
    """What the user says in a request, the first text first and whatever else by its words: its order is by chance."""
    texts: list[str] = []
    for message in request.messages:
        if message["role"] == "user":
            content = message["content"]
            texts += [content] if isinstance(content, str) else [part["text"] for part in content]
    return [*texts[:1], *sorted(texts[1:])]


class Server:
    """OpenCode's HTTP interface in the repository's folder."""

    def __init__(self, port: int, password: str) -> None:
        self._port = port
        self._authorization = "Basic " + base64.b64encode(f"opencode:{password}".encode()).decode()

    def call(self, method: str, path: str, body: object = None, *, timeout: float = 60) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}?directory={REPOSITORY}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read())

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.call("GET", "/global/health", timeout=0.5)
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
            else:
                return
        pytest.fail("OpenCode did not come up")


@contextmanager
def opencode(client: docker.DockerClient, model: ScriptedModel, home: Path, repository: Path) -> Iterator[Server]:
    """`opencode serve` in our image, as its users start it: in the repository, with the commands in its config."""
    config = build_config(context=200_000, output=4096)
    config["provider"]["sandbox"]["options"]["baseURL"] = model.endpoint.base_url
    (home / "opencode.json").write_text(json.dumps(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    container = client.containers.run(
        image_tag(),
        ["serve", "--hostname", "127.0.0.1", "--port", str(port)],
        entrypoint=["/usr/local/bin/opencode"],
        detach=True,
        network_mode="host",  # the scripted model is on the host's loopback
        user=f"{os.getuid()}:{os.getgid()}",
        working_dir=REPOSITORY,
        environment=build_environment(config=f"{HOME}/opencode.json", password="word"),
        volumes={str(home): {"bind": HOME}, str(repository): {"bind": REPOSITORY}},
        labels={labels.OWNER: current_owner()},
    )
    try:
        server = Server(port, "word")
        server.wait()
        yield server
    finally:
        container.remove(force=True)


def write_templates(folder: Path, templates: Sequence[str]) -> dict[str, str]:
    """One file for each; the names by template."""
    folder.mkdir(parents=True)
    names = {template: f"t{index}" for index, template in enumerate(dict.fromkeys(templates))}
    for template, name in names.items():
        (folder / f"{name}.md").write_bytes(template.encode())
    return names


@pytest.fixture(scope="module")
def theirs(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> OpenCode:
    place = tmp_path_factory.mktemp("opencode")
    repository = make_repository(place / "repository", FILES)
    cases = [*WORDS, *INSIDE, *[(template, words) for template, words, _, _ in DIFFERENT]]
    home = place / "home"
    names = write_templates(home / ".config/opencode/commands", [template for template, _ in cases])
    messages: dict[tuple[str, str], list[str]] = {}
    with ScriptedModel([say()] * len(cases), context_length=200_000) as model:
        with opencode(client, model, home, repository) as server:
            agents = {agent["name"] for agent in server.call("GET", "/agent") if not agent.get("hidden")}
            assert agents == {"build", "plan", "general", "explore"}
            for template, words in cases:
                session = server.call("POST", "/session", {"title": "t"})["id"]
                body = {"command": names[template], "arguments": words}
                server.call("POST", f"/session/{session}/command", body)
                messages[template, words] = user_texts(model.requests[-1])
        assert len(model.requests) == len(cases)
    return OpenCode(messages)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Our commands by template."""
    folder = tmp_path_factory.mktemp("ours") / "commands"
    templates = [template for template, *_ in [*WORDS, *INSIDE, *DIFFERENT]]
    names = write_templates(folder, templates)
    commands, faults = load_commands([folder])
    assert faults == []
    return {template: commands[name] for template, name in names.items()}


@pytest.mark.parametrize(("template", "words"), WORDS)
def test_words_become_what_opencode_makes_of_them(
    theirs: OpenCode, ours: dict[str, Any], template: str, words: str
) -> None:
    prompt = render(ours[template], words)
    assert theirs.messages[template, words] == ([prompt] if prompt else [])


@pytest.mark.parametrize(("template", "words", "opencodes", "own"), DIFFERENT)
def test_where_we_differ_it_is_on_purpose(
    theirs: OpenCode, ours: dict[str, Any], template: str, words: str, opencodes: str, own: str
) -> None:
    assert theirs.messages[template, words] == [opencodes]
    assert render(ours[template], words) == own


@pytest.mark.parametrize(("template", "words"), INSIDE)
def test_shell_commands_and_files_become_what_opencode_makes_of_them(
    theirs: OpenCode, ours: dict[str, Any], template: str, words: str, tmp_path: Path
) -> None:
    repository = make_repository(tmp_path / "repository", FILES)
    with ScriptedModel([say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        assert sandbox.run(command=ours[template], arguments=words).ok
    assert user_texts(model.requests[0]) == theirs.messages[template, words]
