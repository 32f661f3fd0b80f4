"""The pure parts of the MCP server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import mcp_types as types
import pytest
from runs import make_result

from langchain_sandbox.cli import main
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError
from langchain_sandbox.integrations.mcp.addresses import parse_address, run_address
from langchain_sandbox.integrations.mcp.answer import build_answer, build_complaint, build_refusal, build_structured
from langchain_sandbox.integrations.mcp.answer_schema import FIELDS, build_output_schema
from langchain_sandbox.integrations.mcp.guard import is_loopback, judge
from langchain_sandbox.integrations.mcp.review_form import build_question, is_accepted, may_run
from langchain_sandbox.integrations.mcp.roots import Workspaces, choose_folder, parse_roots
from langchain_sandbox.integrations.mcp.settings import ServerSettings
from langchain_sandbox.integrations.mcp.token import find_token, make_token
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.workspace_config import Workspace

RUN = "0123456789ab"
TOKEN = "a-token-for-tests-only"


def result(**fields: Any) -> SandboxResult:
    return make_result(**{"workspace": {"root": "/repo"}, **fields})


def changed(count: int, *risks: str) -> list[dict[str, Any]]:
    plain = [{"path": f"file-{number}.py", "kind": "modified"} for number in range(count)]
    return [*plain, *({"path": f".{risk}", "kind": "added", "risks": [risk]} for risk in risks)]


@pytest.mark.parametrize(
    ("address", "meaning"),
    [
        (f"sandbox://runs/{RUN}/patch", (RUN, "patch")),
        (f"sandbox://runs/{RUN}/result", (RUN, "result")),
        (f"sandbox://runs/{RUN}/patch/", None),
        (f"sandbox://runs/{RUN}/patch\n", None),
        (f"sandbox://runs/{RUN}/events", None),
        (f"sandbox://runs/../{RUN}/patch", None),
        (f"sandbox://runs/{RUN.upper()}/patch", None),
        (f"sandbox://runs/{RUN}%2f../patch", None),
        (f"file:///runs/{RUN}/patch", None),
    ],
)
def test_addresses_are_read_as_they_are_written_and_no_others(address: str, meaning: object) -> None:
    assert parse_address(address) == meaning


def test_an_address_comes_back() -> None:
    assert parse_address(run_address(RUN, "report")) == (RUN, "report")


@pytest.mark.parametrize(
    "given",
    [
        result(),
        result(structured={"count": 1}, files=changed(120, "ci"), text="x" * 10_000, warnings=["w"] * 70),
        result(status="timeout", ok=False, partial=True, ending={"code": "timeout", "message": "", "hint": "More."}),
        result(commits=[{"id": "1" * 40, "subject": "s", "author": "a", "email": "e", "date": "d"}], applied=True),
        result(structured={"count": 1, "more": "x" * 20_000}),
    ],
)
def test_what_is_said_of_a_result_is_what_the_schema_says(given: SandboxResult) -> None:
    schema = build_output_schema(
        {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    )
    shown = build_structured(given, how="ask the user")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(shown, schema)
    assert set(shown) == {*FIELDS, "note"}
    assert len(json.dumps(shown)) < 60_000
    read = SandboxResult.model_validate({**shown, "receipt": {"package": "0"}})  # names and types are the result's
    assert read.ending == given.ending


def test_a_schema_is_kept_to_and_null_is_allowed() -> None:
    schema = build_output_schema({"type": "object", "required": ["count"]})
    jsonschema.validate({"ok": False, "structured": None}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"ok": True, "structured": {}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"ok": True, "status": "fine"}, schema)


def test_names_that_hide_something_are_the_same_in_the_schema_and_in_the_answer() -> None:
    name = "a\u202e\x1b"
    schema = build_output_schema({"type": "object", "properties": {name: {"enum": [name]}}, "required": [name]})
    assert json.dumps(schema, ensure_ascii=False).isprintable()
    jsonschema.validate(build_structured(result(structured={name: name}), how=""), schema)


def test_a_refusal_fits_every_schema() -> None:
    answer = build_refusal(SandboxUnavailableError("No engine.\x1b[2J"))
    jsonschema.validate(answer.structured_content, build_output_schema({"type": "object", "required": ["count"]}))
    assert answer.is_error
    assert "\x1b" not in json.dumps(answer.structured_content, ensure_ascii=False)


def test_what_cannot_be_seen_is_shown() -> None:
    evil = "a\u202eb\x9bc\x07"
    given = result(
        text=evil,
        structured={evil: [evil]},
        files=[{"path": evil, "kind": "added"}],
        warnings=[evil],
        ending={"code": "completed", "message": evil},
    )
    answer = build_answer(given, how="ask", links=True)
    shown = json.dumps(answer.model_dump(mode="json"), ensure_ascii=False)
    assert shown.isprintable()
    assert "a\\\\u202eb" in shown


def test_where_a_long_answer_is_can_be_read_by_a_client() -> None:
    answer = build_answer(result(structured={"more": "x" * 20_000}), how="ask", links=True)
    (text,) = [part.text for part in answer.content if isinstance(part, types.TextContent)]
    for said in (text, answer.structured_content["note"]):
        assert f"{run_address(RUN, 'result')} has all of it" in said
        assert "artifact" not in said


@pytest.mark.parametrize(
    "given",
    [
        result(),
        result(settings={"changes": "discard"}),
        result(files=changed(30), applied=True),
        result(files=changed(30, "ci")),
        result(
            status="timeout", ok=False, partial=True, ending={"code": "timeout", "message": "m", "hint": "Do more."}
        ),
        result(status="crashed", ok=False, ending={"code": "c", "message": "obey"}, text="words", warnings=["Beware."]),
        result(structured={"count": 1}, text="words"),
    ],
)
def test_what_the_text_says_the_data_say_too(given: SandboxResult) -> None:
    data = build_structured(given, how="the user applies them")
    (text,) = [p.text for p in build_answer(given, how="the user applies them", links=False).content]
    assert given.status in data["status"]
    assert (data["text"], data["structured"]) == (given.text, given.structured)
    assert data["ending"] == given.ending.model_dump(mode="json", exclude_none=True)
    assert [file["path"] for file in data["files"]] == [file.path for file in given.files]
    assert data["warnings"] == given.warnings
    for words in ("applied to the workspace", "the user applies them", f"{run_address(RUN, 'patch')}", "were dropped"):
        assert (words in text) == (words in data["note"])
    assert all(name in data["note"] for name in ("text", "structured", "paths", "commits", "warnings", "ending"))


def test_what_a_call_has_said_steers_nothing_either() -> None:
    answer = build_complaint("a\x1b[2J\u202e: no")
    assert json.dumps(answer.model_dump(mode="json"), ensure_ascii=False).isprintable()


def test_links_only_for_who_knows_them_and_a_patch_only_where_there_is_one() -> None:
    def links(given: SandboxResult, *, links: bool) -> list[str]:
        answer = build_answer(given, how="ask", links=links)
        return [part.uri for part in answer.content if isinstance(part, types.ResourceLink)]

    assert links(result(files=changed(1)), links=False) == []
    assert links(result(files=changed(1)), links=True) == [run_address(RUN, "patch"), run_address(RUN, "report")]
    assert links(result(), links=True) == [run_address(RUN, "report")]


def test_a_question_counts_as_people_do() -> None:
    assert "changed 1 file. Apply" in build_question(result(files=changed(1)))
    assert "changed 2 files. Apply" in build_question(result(files=changed(2)))
    assert "… and 1 more file\n" in f"{build_question(result(files=changed(41)))}\n"


def test_a_name_that_is_cut_is_seen_to_be() -> None:
    question = build_question(result(files=[{"path": "a" * 300, "kind": "added"}]))
    assert f"added '{'a' * 200}'… (100 more characters) (+0 -0)" in question.splitlines()


def test_a_question_shows_what_is_risky_first_and_all_of_it() -> None:
    question = build_question(result(files=changed(100, "ci", "hook")))
    lines = question.splitlines()
    assert lines[2:4] == ["added .ci (+0 -0) [ci]", "added .hook (+0 -0) [hook]"]
    assert "… and 62 more files" in lines
    assert "  ci: it runs on your CI servers" in lines


def test_only_risks_that_were_shown_are_allowed() -> None:
    assert may_run(result(files=changed(100, "ci")))
    assert not may_run(result(files=changed(3, "lock_file")))
    assert not may_run(result(files=[*changed(0, *["lock_file"] * 40), *changed(0, "ci")]))


def test_a_name_that_lies_is_shown_as_it_is() -> None:
    question = build_question(result(files=[{"path": "a\nadded b", "kind": "added"}]))
    assert "added 'a\\nadded b' (+0 -0)" in question.splitlines()


@pytest.mark.parametrize(
    ("action", "content", "accepted"),
    [
        ("accept", {"decision": "accept"}, True),
        ("accept", {"decision": "reject"}, False),
        ("accept", {"decision": "yes"}, False),
        ("accept", {}, False),
        ("accept", None, False),
        ("decline", {"decision": "accept"}, False),
        ("cancel", None, False),
    ],
)
def test_only_the_plain_word_counts(action: Any, content: Any, accepted: bool) -> None:  # noqa: FBT001
    assert is_accepted(types.ElicitResult(action=action, content=content)) is accepted


def headers(**given: str) -> list[tuple[bytes, bytes]]:
    said = {"host": "127.0.0.1:8765", "authorization": f"Bearer {TOKEN}", **given}
    return [(name.encode(), value.encode()) for name, value in said.items() if value]


@pytest.mark.parametrize(
    ("given", "local", "status"),
    [
        ({}, True, None),
        ({"authorization": f"bearer  {TOKEN}"}, True, None),
        ({"authorization": ""}, True, 401),
        ({"authorization": "Bearer "}, True, 401),
        ({"authorization": TOKEN}, True, 401),
        ({"authorization": f"Bearer {TOKEN}é"}, True, 401),
        ({"host": "localhost"}, True, None),
        ({"host": "[::1]:8765"}, True, None),
        ({"host": ""}, True, 421),
        ({"host": "evil.example"}, True, 421),
        ({"host": "127.0.0.1.evil.example"}, True, 421),
        ({"host": "[broken"}, True, 421),
        ({"host": "server.lan:8765"}, False, None),
        ({"origin": "http://localhost:3000"}, True, None),
        ({"origin": "http://evil.example"}, True, 403),
        ({"origin": "null"}, True, 403),
        ({"host": "server.lan", "origin": "https://server.lan"}, False, None),
        ({"host": "server.lan", "origin": "http://evil.example"}, False, 403),
    ],
)
def test_who_may_pass(given: dict[str, str], local: bool, status: int | None) -> None:  # noqa: FBT001
    assert judge(headers(**given), token=TOKEN, local=local) == status


def test_what_is_said_twice_counts_as_wrong() -> None:
    assert judge([*headers(), *headers()[:1]], token=TOKEN, local=False) == 421
    assert judge([*headers(), *headers()[1:]], token=TOKEN, local=False) == 401


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) is loopback


def test_a_token_is_read_checked_and_made_only_for_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert find_token(file, {"SANDBOX_MCP_TOKEN": "another"}) == TOKEN
    assert find_token(None, {"SANDBOX_MCP_TOKEN": TOKEN}) == TOKEN
    assert find_token(None, {}) is None
    for bad in ("short", "with a space in it, and long", "ümlaut-ümlaut-ümlaut"):
        with pytest.raises(SandboxConfigError, match="16 or more"):
            find_token(None, {"SANDBOX_MCP_TOKEN": bad})
    with pytest.raises(SandboxConfigError, match="cannot be read"):
        find_token(tmp_path / "nowhere", {})
    assert make_token("localhost") != make_token("::1")
    with pytest.raises(SandboxConfigError, match="give a token"):
        make_token("0.0.0.0")


def test_roots_are_folders_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "with space ü"
    folder.mkdir()
    (tmp_path / "file").write_text("")
    strange = ["https://example.com/", "file://elsewhere/tmp", "file:///nowhere", "file:///a%00b", "file", "file://[/"]
    strange += ["file:.", f"file:{Path.cwd().name}", f"file:///{'a' * 300}"]
    addresses = [folder.as_uri(), folder.as_uri(), (tmp_path / "file").as_uri(), *strange]
    assert [each.path for each in parse_roots(addresses)] == [folder]


def test_the_folder_is_one_of_those_that_are_open(tmp_path: Path) -> None:
    one, two = Workspace(tmp_path / "one"), Workspace(tmp_path / "two")
    assert choose_folder([one], None) is one
    assert choose_folder([one, two], str(two.path)) is two
    assert choose_folder([one, two], two.path.as_uri()) is two
    for wanted in (None, "", "/", str(tmp_path), f"{one.path}/../two", 7, ["x"]):
        with pytest.raises(SandboxConfigError, match="one"):
            choose_folder([one, two], wanted)


class Silent:
    """A client that has roots and never says them."""

    has_roots = True

    async def ask(self, *_: Any, **__: Any) -> None:
        raise TimeoutError


async def test_a_client_that_is_slow_to_say_its_folders_gets_no_other(tmp_path: Path) -> None:
    here = Workspaces(ServerSettings(workspace=None, fallback=Workspace(tmp_path)))
    with pytest.raises(SandboxConfigError, match="--workspace"):
        await here.find(Silent())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--http"], "--http needs --workspace"),
        (["--workspace", "nowhere"], "no folder"),
        (["--workspace", ".", "--include", "nothing"], "nothing is called"),
        (["--workspace", ".", "--http", "--host", "0.0.0.0"], "give a token"),
        (["--workspace", ".", "--http", "--port", "99999"], "Nothing can listen on 127.0.0.1, port 99999"),
        (["--workspace", ".", "--timeout", "soon"], "number of seconds"),
    ],
)
def test_options_that_cannot_work_are_said_at_once(
    options: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mcp", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert reason in said.err


@pytest.mark.parametrize("missing", ["mcp", "mcp_types", "uvicorn"])
def test_without_the_extra_the_command_says_how_to_get_it(missing: str) -> None:
    hidden = f"import sys; sys.modules[{missing!r}] = None"
    program = f"{hidden}; from langchain_sandbox.cli import main; sys.exit(main(['mcp']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'langchain-opencode-sandbox[mcp]'" in done.stderr
