"""From threads, from one loop, from loops one after the other, and inside a running loop; prompts arrive as written."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blockbuster import blockbuster_ctx
from support import bash, say, write

from langchain_sandbox import Sandbox, SandboxConfigError
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPTS = {
    "an option": "--help",
    "a dash": "-",
    "quotes": 'say "hi" and \'bye\' and `this` \\ "',
    "a substitution": "$(id) ${HOME} $HOME !ls @README.md /init",
    "newlines": "\n\none\r\ntwo\ttabs\n\n",
    "emoji": "naïve 👩‍👩‍👧‍👦 مرحبا \u202e 漢字 🏴‍☠️",
    "JSON": '{"type": "text"}\\n\\u0000',
    "a megabyte": "All work and no play. " * 50_000,
}


def user_text(model: ScriptedModel, prompt: str) -> bool:
    """Whether a prompt reached the model exactly as it was written."""
    for request in model.requests:
        for message in request.messages:
            content = message["content"]
            parts = [content] if isinstance(content, str) else [part.get("text") for part in content]
            if message["role"] == "user" and prompt in parts:
                return True
    return False


def test_eight_at_once_from_one_loop_and_every_prompt_arrives_byte_identical(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    async def scenario(sandbox: Sandbox) -> list:
        with blockbuster_ctx():
            return await asyncio.gather(*(sandbox.arun(prompt) for prompt in PROMPTS.values()))

    with ScriptedModel(lambda _messages: say("Read."), context_length=1_000_000) as model:
        results = asyncio.run(scenario(Sandbox(model=model.endpoint, workspace=repository)))
        arrived = {name: user_text(model, prompt) for name, prompt in PROMPTS.items()}
    assert arrived == dict.fromkeys(PROMPTS, True)
    assert [result.status for result in results] == ["completed"] * len(PROMPTS)
    assert len({result.run_id for result in results}) == len(PROMPTS)
    longest = max(len(prompt.encode("utf-8", "surrogatepass")) for prompt in PROMPTS.values())
    for row in ("C3", "C4"):
        record_property(row, f"{len(PROMPTS)} of {len(PROMPTS)} identical, the longest of {longest:,} bytes")


def test_several_at_once_from_threads_do_not_mix(repository: Path) -> None:
    def answer(messages: list) -> dict:
        number = next(m["content"] for m in messages if m["role"] == "user")
        text = number if isinstance(number, str) else number[0]["text"]
        name = text.split()[-1]
        return say(f"wrote {name}") if messages[-1]["role"] == "tool" else write(f"{name}.txt", f"{name}\n")

    with ScriptedModel(answer) as model, ThreadPoolExecutor(5) as threads:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        results = list(threads.map(lambda number: sandbox.run(f"Write number{number}"), range(5)))
    for number, result in enumerate(results):
        assert result.ok, result.ending
        assert result.text == f"wrote number{number}"
        assert [file.path for file in result.files] == [f"number{number}.txt"]


def test_a_notebook_cell_may_run_it_either_way_and_the_loop_is_never_blocked(repository: Path) -> None:
    async def cell(sandbox: Sandbox) -> None:
        first = sandbox.run("From a running loop.")  # blocks the cell, as any function does, but works
        assert first.ok, first.ending
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        began = time.monotonic()
        with blockbuster_ctx():
            events = [event async for event in sandbox.astream("Awaited.")]
            applied = await sandbox.aapply(await sandbox.arun("Awaited."))
        ticking.cancel()
        assert events[-1].type == "finished"
        assert applied.paths == []
        assert ticks > (time.monotonic() - began) / 0.01 / 20  # a loop that is held up has a few, if any

    with ScriptedModel(lambda _messages: say()) as model:
        asyncio.run(cell(Sandbox(model=model.endpoint, workspace=repository)))


def test_two_loops_one_after_the_other_share_a_sandbox(repository: Path) -> None:
    with ScriptedModel(lambda _messages: say()) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        for _ in range(2):
            assert asyncio.run(sandbox.arun("Again.")).ok


def test_no_thread_is_left_by_a_run(repository: Path) -> None:
    with ScriptedModel(lambda _messages: say()) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        sandbox.run("Once.")
        before = threading.active_count()
        sandbox.run("Twice.")
        assert threading.active_count() <= before


def test_waiting_for_a_place_has_a_limit_of_its_own(repository: Path) -> None:
    with ScriptedModel(lambda _messages: say()) as model, ThreadPoolExecutor(8) as threads:
        sandbox = Sandbox(model=model.endpoint, workspace=repository, queue_timeout=0.2)
        runs = [threads.submit(sandbox.run, "Wait.") for _ in range(8)]
        outcomes = [type(run.exception()).__name__ for run in runs]
    assert set(outcomes) == {"NoneType", "SandboxUnavailableError"}


@pytest.mark.parametrize("task", ["", "  \n", "a\0b", "half \ud83d"], ids=["empty", "blank", "NUL", "surrogate"])
def test_a_task_that_could_not_arrive_is_refused_first(task: str) -> None:
    with ScriptedModel([]) as model, pytest.raises(SandboxConfigError, match="task"):
        Sandbox(model=model.endpoint).run(task)


def test_a_workspace_that_does_not_fit_is_refused_with_names(tmp_path: Path) -> None:
    (tmp_path / "huge.bin").write_bytes(bytes(3_000_000))
    with ScriptedModel([bash("true")]) as model:
        from langchain_sandbox import Limits  # noqa: PLC0415

        sandbox = Sandbox(model=model.endpoint, workspace=tmp_path, limits=Limits(workspace="1m"))
        with pytest.raises(SandboxConfigError, match=r"huge\.bin"):
            sandbox.run("Work.")
