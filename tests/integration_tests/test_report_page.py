"""The report pages of real runs, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser import Look, open_browser
from support import bash, make_repository, say

from langchain_sandbox import Sandbox, SandboxResult
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

EVIL = (
    '</title></style></pre></div><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
    "<svg onload=\"document.title='owned'\"><base href=//x><meta http-equiv=refresh content=0;url=//x>\u202e"
)
LONG = "unbroken" * 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def run(folder: Path, *commands: str, last: str, task: str = "Do it.") -> SandboxResult:
    repository = make_repository(folder / "repository", {"a.py": "x = 1\n" * 30, "b.md": "# b\n"})
    with ScriptedModel([*(bash(command, last) for command in commands), say(last)]) as model:
        return Sandbox(model=model.endpoint, workspace=repository).run(task)


def test_a_hostile_run_is_only_words(browser: Browser, tmp_path: Path) -> None:
    plant = f"mkdir -p .github; tee .github/ci.yml > 'a<img src=x onerror=alert(1)>' <<'E'\n{EVIL}\nE"
    result = run(tmp_path, plant, "exit 3", last=EVIL, task=EVIL)
    assert len(result.files) == 2
    file = tmp_path / "report.html"
    result.to_html(file)
    look = Look(browser, file)
    assert look.page.title() == f"Completed · run {result.run_id}"
    assert look.page.locator("script, img, svg[onload], base").count() == 0
    assert "<script>document.title=" in look.page.locator(".said").inner_text()
    assert (look.complaints, look.requests) == ([], [file.as_uri()])
    look.close()


def test_nothing_is_wider_than_the_window(browser: Browser, tmp_path: Path) -> None:
    name = "n" * 120
    result = run(tmp_path, f"echo {LONG} > {name}.py; rm b.md; echo {LONG} 1>&2; false", last=LONG, task=LONG)
    file = tmp_path / "report.html"
    result.to_html(file)
    for width in (320, 360, 768, 1280):
        look = Look(browser, file, width=width)
        look.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert look.width() == width
        look.close()


@pytest.mark.parametrize("word", [LONG, "W" * 3000, "\u05d0" * 800, "<&>" * 300, "a\u0301\u0302" * 300])
def test_no_word_and_no_number_makes_it_wider_than_a_phone(browser: Browser, tmp_path: Path, word: str) -> None:
    huge = 10**60
    step = {"index": huge, "at": 1.0, "uses": [{"tool": word, "title": word}]}
    call = {"index": huge, "at": 1.0, "status": huge, "prompt_tokens": huge, "completion_tokens": huge}
    file = {"path": word, "kind": "added", "insertions": huge, "deletions": huge, "risks": [word]}
    commit = dict.fromkeys(("id", "subject", "author", "email", "date"), word) | {"risks": [word]}
    fields = {
        "run_id": word,
        "status": "crashed",
        "ok": False,
        "ending": dict.fromkeys(("code", "message", "hint"), word),
        "text": word,
        "structured": {word: [word, huge]},
        "patch": f"diff --git a/{word} b/{word}\n@@ -1 +1 @@ {word}\n-{word}\n+{word}\n",
        "files": [file],
        "commits": [commit],
        "steps": [step],
        "model_calls": [call, call | {"error": word}],
        "warnings": [word],
        "evidence": {"exit_code": huge, "claimed_files": [word], "unclaimed_files": [word], "stderr": word},
        "settings": {"task": word, "changes": word, "limits": {word: huge}},
        "timings": {"total": 1e17},
        "receipt": dict.fromkeys(("package", "image", "model", "command"), word),
    }
    file_name = tmp_path / "report.html"
    SandboxResult.model_validate(fields).to_html(file_name)
    look = Look(browser, file_name, width=320)
    look.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert look.width() == 320
    look.close()


def test_a_run_that_was_stopped_says_so_and_shows_what_never_ended(browser: Browser, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"a.py": "x = 1\n"})
    with (
        ScriptedModel([bash("sleep 600", "It takes a while.")]) as model,
        Sandbox(model=model.endpoint, workspace=repository).start("Do it.") as handle,
    ):
        next(event for event in handle.events() if event.type == "tool_started")
        handle.cancel()
        result = handle.result()
    file = tmp_path / "report.html"
    result.to_html(file)
    look = Look(browser, file)
    assert look.page.locator("h1").inner_text() == "Cancelled"
    assert look.page.locator("rect.open").count() == 2  # the step and its tool
    assert "never ended" in look.page.locator(".use").inner_text()
    look.close()


def test_a_link_in_the_list_opens_the_diff_that_it_names(browser: Browser, tmp_path: Path) -> None:
    result = run(tmp_path, "sed -i s/1/2/ a.py; for i in $(seq 400); do echo $i; done > z.txt", last="Done.")
    file = tmp_path / "report.html"
    result.to_html(file)
    look = Look(browser, file)
    last = look.page.locator("details.file").last
    assert last.get_attribute("open") is None
    look.page.get_by_role("link", name="z.txt").click()
    assert last.get_attribute("open") is not None
    assert last.locator(".line.add").last.inner_text().split() == ["400", "+400"]
    assert look.page.get_by_role("table").count() >= 2
    assert look.page.get_by_role("heading", level=1).count() == 1
    look.close()


def test_it_is_dark_where_the_screen_is_and_light_on_paper(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    run(tmp_path, "true", last="Done.").to_html(file)
    light, dark = (Look(browser, file, scheme=scheme) for scheme in ("light", "dark"))
    colors = [light.color("body", name) for name in ("backgroundColor", "color")]
    assert [dark.color("body", name) for name in ("backgroundColor", "color")] != colors
    dark.page.emulate_media(media="print")
    assert [dark.color("body", name) for name in ("backgroundColor", "color")] == colors
    assert dark.color("nav", "display") == "none"
    calls = dark.page.locator("table.calls")
    assert calls.evaluate("table => table.closest('details').open") is False
    assert calls.evaluate("table => table.checkVisibility({contentVisibilityAuto: true})")  # what is folded is printed
    light.close()
    dark.close()
