"""The engine somewhere else: over TCP, over TLS, and through ssh (whose encryption alone is stood in for)."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import bash, say

from langchain_sandbox import Sandbox, SandboxUnavailableError
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.testing import ScriptedModel


@contextmanager
def forwarder(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A TCP port in front of the engine's unix socket."""
    path = find_engine().socket
    loop = asyncio.new_event_loop()
    ready: list[int] = []
    started, stop = threading.Event(), asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(pump(reader, engine_writer), pump(engine_reader, writer), return_exceptions=True)

    async def serve() -> None:
        async with await asyncio.start_server(connect, "127.0.0.1", 0, ssl=tls) as server:
            ready.append(server.sockets[0].getsockname()[1])
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


def run_a_task(repository: Path) -> None:
    with ScriptedModel([bash("echo over > there.txt"), say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Work.")
    assert result.ok, result.ending
    assert [file.path for file in result.files] == ["there.txt"]
    assert result.evidence.cleanup_confirmed
    assert result.evidence.exit_code == 0


def test_over_tcp(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with forwarder() as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        run_a_task(repository)


def test_over_tls(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
        "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem && cp cert.pem ca.pem"
    )
    subprocess.run(["sh", "-c", command], cwd=certificates, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with forwarder(context) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
        run_a_task(repository)


def test_through_ssh(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = tmp_path / "bin" / "ssh"
    stand_in.parent.mkdir()
    log = tmp_path / "ssh.log"
    stand_in.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\nwhile [ "$1" != docker ]; do shift; done\nunset DOCKER_HOST\nexec "$@"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://ada@engine.example:2222")
    run_a_task(repository)
    assert "-l ada -p 2222 -- engine.example docker system dial-stdio" in log.read_text()


def test_an_ssh_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = tmp_path / "bin" / "ssh"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\nexit 255\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://nowhere.example")
    with ScriptedModel([]) as model, pytest.raises(SandboxUnavailableError, match=r"ssh://nowhere\.example"):
        Sandbox(model=model.endpoint).run("Work.")
