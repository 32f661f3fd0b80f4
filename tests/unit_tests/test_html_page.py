"""A run's report page: whatever a container says in it is text; it says everything, and loads nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from html_reader import Reader, hostile, make
from hypothesis import given, settings

from langchain_sandbox.html.diff import split_files
from langchain_sandbox.html.page import build_page
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.untrusted import show_controls

GEOMETRY = {"x", "y", "x1", "x2", "width", "height"}
DOCTYPE = "declaration DOCTYPE html"


def elements(page: Reader) -> set[Any]:
    """Its elements with their attributes, wherever in a drawing they stand."""
    return {
        (tag, tuple((name, None if name in GEOMETRY else value) for name, value in attributes))
        for tag, attributes in page.elements
    }


def plain(**fields: Any) -> dict[str, Any]:
    """A result of a run that went well."""
    good = {
        "run_id": "0123456789ab",
        "status": "completed",
        "ok": True,
        "ending": {"code": "completed", "message": "The agent says that it has done the task.", "hint": "not shown"},
        "text": "Fixed.",
        "receipt": {"package": "1"},
    }
    return SandboxResult.model_validate(good | fields).model_dump(mode="json")


OURS = {
    element
    for fields in (
        make(),
        make(""),
        make(partial=False, applied=True, evidence={"source": "self_reported", "cleanup_confirmed": False}),
        make(status="completed", ok=True),
        make(status="incomplete", structured=None),
        make(patch="", files=[], commits=[]),
        make(patch=None, patch_reference={"path": "p", "sha256": "s", "size": 1}),
        make(steps=[{"index": 0, "text": "word", "tools": ["word"], "reason": "word"}]),
        make(patch="diff --git a/w b/w\nw\n@@ -1 +1 @@ w\nw\n"),
        make(patch="diff --git a/w b/w\nw\n@@ -1 +1 @@ w\n-w\n+w\n\\ w\ndiff --git a/x b/x\n"),
    )
    for element in elements(Reader(build_page(fields)))
}
"""Every element with its attributes that a harmless result has."""


@given(hostile)
@settings(max_examples=300)
def test_no_word_ever_makes_an_element_or_an_attribute(word: str) -> None:
    page = Reader(build_page(make(word)))
    assert page.odd == [DOCTYPE]
    assert elements(page) <= OURS


@given(hostile)
def test_every_word_is_read_as_it_was_written(word: str) -> None:
    shown = show_controls(" ".join(word.split()))
    assert shown in "\n".join(Reader(build_page(make("", warnings=[word]))).words)


def test_there_is_nothing_that_loads_runs_or_sends() -> None:
    page = build_page(make())
    names = {tag for tag, _ in Reader(page).elements}
    assert not names & {"script", "img", "link", "iframe", "form", "base", "object", "embed", "input"}
    links = [value for _, attributes in Reader(page).elements for name, value in attributes if name in {"href", "src"}]
    assert links
    assert all(re.fullmatch(r"#[a-z0-9-]+", link or "") for link in links)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "url(" not in page.partition("<style>")[2].partition("</style>")[0]


def test_every_link_leads_to_one_place() -> None:
    page = Reader(build_page(make()))
    places = [value for _, attributes in page.elements for name, value in attributes if name == "id"]
    assert len(places) == len(set(places))
    wanted = {value[1:] for _, attributes in page.elements for name, value in attributes if name == "href" and value}
    assert wanted <= set(places)


def test_it_says_how_it_ended_and_what_to_do() -> None:
    failed = plain(
        status="timeout", ok=False, ending={"code": "timeout", "message": "It took long.", "hint": "Raise timeout=."}
    )
    text = Reader(build_page(failed)).text
    assert "Timed out It took long. What to do: Raise timeout=." in spaced(failed)
    assert "No file was changed." in text
    assert "not shown" not in Reader(build_page(plain())).text
    reported = plain(evidence={"source": "self_reported", "cleanup_confirmed": False})
    assert "no host looked on" in Reader(build_page(reported)).text
    assert "did not confirm that the container is gone" in Reader(build_page(reported)).text


def test_claims_stand_beside_what_was_seen() -> None:
    fields = plain(
        files=[{"path": "a.py", "kind": "modified"}, {"path": "b.py", "kind": "added"}],
        evidence={
            "finish_reason": "stop",
            "model_finish_reason": "length",
            "claimed_files": ["a.py", "c.py"],
            "unclaimed_files": ["b.py"],
            "refused_requests": ["POST /v1/files"],
        },
    )
    text = spaced(fields)
    assert "What OpenCode claims The host saw End of the work stop length Changed files 2 2" in text
    assert "Changed without a word from OpenCode's editing tools: 1 b.py" in text
    assert "Claimed to be changed, and as it was: 1 c.py" in text
    assert "The gateway refused 1: POST /v1/files" in text


def test_it_says_where_programs_might_go_and_where_they_went() -> None:
    assert "It reached the model, and nothing else, through the gateway." in spaced(plain())
    egress = {"allow": ["pypi.org", "*.example.org:443"], "traffic": 1, "connections": 1}
    opened = "its programs might reach these places through the host: pypi.org, *.example.org:443."
    text = spaced(plain(settings={"egress": egress}))
    assert opened in text
    assert "nothing else" not in text
    assert "Place At" not in text
    went = {"host": "pypi.org", "port": 443, "at": 1.5, "address": "198.51.100.7", "sent": 700, "received": 4096}
    refused = {"host": "a.example", "port": 80, "at": 2.0, "refused": "a.example:80 is not on the list (egress)"}
    text = spaced(plain(settings={"egress": egress}, connections=[went | {"seconds": 0.25}, refused]))
    assert "Place At Open Out In Ended" in text
    assert "pypi.org:443 (198.51.100.7) 1.5 s 0.25 s 700 bytes 4 KiB closed" in text
    assert "a.example:80 2 s 0 s 0 bytes 0 bytes a.example:80 is not on the list (egress)" in text
    assert "… and 20 more connections" in spaced(plain(connections=[refused] * 320))


def test_a_file_leads_to_its_own_diff_even_if_it_became_a_link() -> None:
    patch = (
        "diff --git a/x b/x\ndeleted file mode 100644\n@@ -1 +0,0 @@\n-old\n"
        "diff --git a/x b/x\nnew file mode 120000\n@@ -0,0 +1 @@\n+y\n"
        "diff --git a/z b/z\n@@ -9 +9 @@\n-1\n+2\n"
    )
    files = [{"path": "x", "kind": "modified"}, {"path": "z", "kind": "modified", "risks": ["hook"]}]
    page = build_page(plain(patch=patch, files=files))
    inside = page.partition('id="file-0"')[2].partition('id="file-1"')
    assert "old" in inside[0]
    assert "new file mode 120000" in inside[0]
    assert ['<span class="n">9</span>' in part for part in (inside[0], inside[2])] == [False, True]
    assert "hook" in inside[0]  # its title stands before its place
    without = build_page(plain(patch=patch, files=files[:1]))
    assert 'href="#file-' not in without


def test_a_binary_file_takes_no_room_from_what_can_be_read() -> None:
    picture = "diff --git a/{0}.png b/{0}.png\nGIT binary patch\nliteral 9\n" + "z\n" * 2000
    patch = "".join(picture.format(index) for index in range(5)) + "diff --git a/x b/x\n@@ -0,0 +1 @@\n+wanted\n"
    files: list[dict[str, Any]] = [{"path": f"{index}.png", "kind": "added", "binary": True} for index in range(5)]
    page = build_page(plain(patch=patch, files=[*files, {"path": "x", "kind": "added"}]))
    assert "+wanted" in page
    assert page.count('<details class="file" open="">') == 6
    assert "more lines" not in page


def test_a_patch_without_end_is_not_held_line_by_line() -> None:
    (diff,) = split_files("diff --git a/x b/x\n@@ -0,0 +1,9000 @@\n" + "+x\n" * 9000, 10)
    assert (len(diff.lines), diff.count) == (10, 9001)


@pytest.mark.parametrize(
    ("name", "call"),
    [("0123456789ab", "apply 0123456789ab"), ("x; rm -r ~ #", "apply 'x; rm -r ~ #'"), ("a'b", "apply 'a'\"'\"'b'")],
)
def test_a_name_by_other_hands_is_no_command(name: str, call: str) -> None:
    assert call in Reader(build_page(plain(run_id=name, files=[{"path": "x", "kind": "added"}]))).text


def test_of_many_files_those_that_deserve_a_look_are_seen_at_once() -> None:
    files = [{"path": f"{index}.py", "kind": "added"} for index in range(60)]
    files[50]["risks"] = ["secret"]
    page = build_page(plain(files=files))
    before = page.partition("All 60 files")[0]
    assert [name for name in ("50.py", "49.py") if name in before] == ["50.py"]
    assert "All" not in build_page(plain(files=files[:40])).partition("<main>")[2]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"patch": "diff --git a/x b/x\n@@ -0,0 +1,9000 @@\n" + "+x\n" * 9000}, "… and 7,501 more lines"),
        ({"patch": None, "patch_reference": {"path": "/kept", "sha256": "", "size": 300000}}, "293 KiB"),
        ({"text": "x" * 30000}, "… (10,000 more characters)"),
        ({"warnings": ["w"] * 300}, "… and 100 more warnings"),
        ({"steps": [{"index": i} for i in range(1000)]}, "… and 700 more steps"),
        ({"files": [{"path": "p", "kind": "added"}] * 3000}, "… and 2,500 more files"),
        ({"structured": {"rows": list(range(500))}}, "… and 400 more"),
        ({"structured": [[[[[[["deep"]]]]]]]}, "deep"),
        ({"settings": {"task": "t" * 5000}}, "… (1,000 more characters)"),
    ],
)
def test_what_is_long_is_cut_and_says_so(fields: dict[str, Any], said: str) -> None:
    page = build_page(plain(**{"files": [{"path": "x", "kind": "added"}]} | fields))
    assert said in Reader(page).text
    assert len(page) < 1_000_000


USE = {"tool": "t" * 200, "title": "&" * 300}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": [{"index": i, "text": "&" * 16_000, "uses": [USE] * 200} for i in range(1000)]}, "more steps"),
        (
            {"steps": [{"index": i, "text": "&" * 16_000, "tools": ["&" * 200] * 200} for i in range(1000)]},
            "more steps",
        ),
        ({"structured": {str(i): [{"k" * 400: "&" * 4000}] * 100 for i in range(100)}}, "…"),
        ({"structured": [[["x"] * 100] * 100] * 100}, "…"),
        (
            {"model_calls": [{"index": i, "at": 1, "status": 500, "error": "&" * 400} for i in range(1000)]},
            "more calls",
        ),
    ],
)
def test_a_page_does_not_grow_without_end(fields: dict[str, Any], said: str) -> None:
    page = build_page(plain(**fields))
    assert said in page
    assert len(page) < 4_000_000


def test_a_page_is_written_whole_and_in_utf_8(tmp_path: Path) -> None:
    result = SandboxResult.model_validate(plain(text="naïve \ud800 ☃"))
    target = tmp_path / "report.html"
    target.write_text("old")
    page = result.to_html(target)
    assert target.read_bytes().decode("utf-8") == page == result.to_html()
    assert "naïve \\ud800 ☃" in page
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(OSError, match="nowhere"):
        result.to_html(tmp_path / "nowhere" / "report.html")


def spaced(fields: dict[str, Any]) -> str:
    """A page's words, those of different elements apart."""
    return " ".join(" ".join(Reader(build_page(fields)).words).split())
