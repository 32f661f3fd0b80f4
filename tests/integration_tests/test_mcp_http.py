"""The MCP server over HTTP, in a process of its own: who may talk to it, and what becomes of runs without a client."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError
from mcp_sides import ERAS, NEWEST, RUN, TOKEN, http, http_server, words
from support import bash, containers_of, say, wait_until, write

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    import docker

REPAIR = [write("calc.py", "def add(a, b):\n    return a + b\n"), say("Mended.")]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def using(model: ScriptedModel, repository: Path, *more: str) -> list[str]:
    return ["--workspace", str(repository), "--model", model.endpoint.base_url, *more]


async def accept(_: Any, __: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"decision": "accept"})


async def test_both_eras_call_review_and_read(repository: Path, tmp_path: Path) -> None:
    heard: list[str] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        heard.append(message or "")

    with (
        ScriptedModel([*REPAIR, write("new.txt", "x"), say("Written.")]) as model,
        http_server(*using(model, repository, "--changes", "review"), folder=tmp_path) as (address, _),
    ):
        for mode in ERAS:
            heard.clear()
            async with http(address, mode=mode, elicitation_callback=accept) as client:
                result = await client.call_tool(RUN, {"task": "Work."}, progress_callback=hear)
                run_id = result.structured_content["run_id"]
                patch = (await client.read_resource(f"sandbox://runs/{run_id}/patch")).contents[0].text
                prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
                prompt = await client.get_prompt("code-review", {})
            assert result.structured_content["applied"]
            assert patch.startswith("diff --git")
            assert any("write: " in line for line in heard)
            assert "code-review" in prompts
            assert "`code-review`" in prompt.messages[0].content.text
    assert "a + b" in (repository / "calc.py").read_text()
    assert (repository / "new.txt").read_text() == "x"


async def test_other_servers_runs_are_not_to_be_read(repository: Path, tmp_path: Path) -> None:
    with ScriptedModel(REPAIR) as model:
        options = using(model, repository, "--changes", "review")
        with http_server(*options, folder=tmp_path) as (address, _):
            async with http(address) as client:
                run_id = (await client.call_tool(RUN, {"task": "Work."})).structured_content["run_id"]
        with http_server(*options, folder=tmp_path) as (address, _):
            async with http(address) as client:
                for part in ("patch", "report", "result"):
                    with pytest.raises(MCPError, match="no such run"):
                        await client.read_resource(f"sandbox://runs/{run_id}/{part}")
                refused = await client.call_tool("apply_run", {"run_id": run_id})
    assert "no such run" in words(refused)
    assert "a - b" in (repository / "calc.py").read_text()


async def test_clients_elsewhere_do_not_choose_the_folder(repository: Path, tmp_path: Path) -> None:
    async def list_roots(_: Any) -> types.ListRootsResult:
        raise AssertionError

    with (
        ScriptedModel(REPAIR) as model,
        http_server(*using(model, repository), folder=tmp_path) as (address, _),
    ):
        async with http(address, list_roots_callback=list_roots) as client:
            tool = (await client.list_tools()).tools[0]
            refused = await client.call_tool(RUN, {"task": "Work.", "workspace": "/"})
            result = await client.call_tool(RUN, {"task": "Work."})
    assert "workspace" not in tool.input_schema["properties"]
    assert refused.is_error
    assert [file["path"] for file in result.structured_content["files"]] == ["calc.py"]


def test_only_who_has_the_token_and_is_no_web_page(repository: Path, tmp_path: Path) -> None:
    with ScriptedModel([]) as model, http_server(*using(model, repository), folder=tmp_path) as (address, _):
        port = httpx.URL(address).port
        good = {"Authorization": f"Bearer {TOKEN}"}
        greeting = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            },
        }

        def post(**headers: str) -> int:
            accepting = {"Accept": "application/json, text/event-stream", **headers}
            return httpx.post(address, json=greeting, headers=accepting, timeout=20).status_code

        assert post(**good) == 200
        assert post() == 401
        assert post(Authorization="Bearer wrong") == 401
        assert post(Authorization=f"Bearer {TOKEN}x") == 401
        assert post(Authorization=f"Basic {TOKEN}") == 401
        assert post(**good, Origin="http://evil.example") == 403
        assert post(**good, Origin="null") == 403
        assert post(**good, Origin=f"http://127.0.0.1:{port}") == 200
        assert post(**good, Host="evil.example") == 421
        assert post(**good, Host=f"evil.example:{port}") == 421
        assert post(**good, Host=f"localhost:{port}") == 200
        assert httpx.get(address, timeout=20).status_code == 401
        assert httpx.get(address).headers["WWW-Authenticate"] == "Bearer"
        assert httpx.get(address.removesuffix("/mcp"), headers=good).status_code == 404


def test_without_a_token_one_is_made_and_told_once(repository: Path, tmp_path: Path) -> None:
    with (
        ScriptedModel([]) as model,
        http_server(*using(model, repository), folder=tmp_path, token=None) as (address, process),
    ):
        assert httpx.get(address).status_code == 401
        assert process.poll() is None


async def test_a_client_that_closes_its_stream_ends_the_run(
    client: docker.DockerClient, repository: Path, tmp_path: Path, state: Path
) -> None:
    running = asyncio.Event()

    async def hear(_: float, __: float | None, message: str | None) -> None:
        if "bash" in (message or ""):
            running.set()

    with (
        ScriptedModel([bash("sleep 100")]) as model,
        http_server(*using(model, repository), folder=tmp_path) as (address, _),
    ):
        async with http(address, mode=NEWEST) as host:
            call = asyncio.create_task(host.call_tool(RUN, {"task": "Wait."}, progress_callback=hear))
            await asyncio.wait_for(running.wait(), 60)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.to_thread(wait_until, lambda: not containers_of(client, state), 30)


@pytest.mark.parametrize("mode", ERAS)
async def test_sigterm_ends_the_runs_and_answers_for_them(
    client: docker.DockerClient, repository: Path, tmp_path: Path, state: Path, mode: str
) -> None:
    with (
        ScriptedModel([bash("sleep 100")]) as model,
        http_server(*using(model, repository), folder=tmp_path) as (address, process),
    ):
        async with http(address, mode=mode) as host:
            call = asyncio.create_task(host.call_tool(RUN, {"task": "Wait."}))
            await asyncio.to_thread(wait_until, lambda: model.requests and containers_of(client, state), 60)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_until, lambda: not containers_of(client, state), 30)
            result = await call
        assert result.structured_content["status"] == "cancelled"
        assert process.wait(20) == 0
