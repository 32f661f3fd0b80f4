"""The doctor on the real engine: each line says what is wrong and what to do, and what can be looked at is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest

from langchain_sandbox.doctor import examine
from langchain_sandbox.doctor.examination import CHECKS
from langchain_sandbox.doctor.finding import Finding
from langchain_sandbox.engine import docker as docker_engine
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.testing import ScriptedModel

ROOT = Path(__file__).parents[2]
CALL = {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}


def look(**options: object) -> dict[str, Finding]:
    found = {finding.check: finding for finding in examine(**options)}
    assert list(found) == [check.name for check in CHECKS]
    return found


def status(found: dict[str, Finding]) -> dict[str, set[str]]:
    """Which checks had which status."""
    return {
        state: {name for name, finding in found.items() if finding.status == state}
        for state in ("ok", "warning", "error", "skipped")
    }


def test_on_a_healthy_machine_everything_is_ok(repository: Path) -> None:
    with ScriptedModel([CALL]) as model:
        found = look(model=model.endpoint.base_url, workspace=repository)
        assert len(model.requests) == 1
    states = status(found)
    assert states["error"] == set(), found
    # The machine that runs this may be short of room, or have its engine elsewhere.
    assert states["warning"] | states["skipped"] <= {"temp", "disk", "clock"}, found
    assert "answers at" in found["engine"].message
    assert image_tag() in found["image"].message
    assert "3 files" in found["workspace"].message
    assert "scripted-model" in found["model-name"].message


def test_without_an_engine_all_else_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with ScriptedModel([CALL]) as model:
        found = look(model=model.endpoint.base_url)
    states = status(found)
    assert states["error"] == {"engine"}
    assert {"clock", "disk", "image", "walls", "limits"} <= states["skipped"]
    assert {"model", "model-name", "context", "tool-calls"} <= states["ok"]
    assert "none.sock" in found["engine"].message
    assert "DOCKER_HOST" in found["engine"].remedy


def test_an_address_that_cannot_be_one_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "http://127.0.0.1")
    assert "unix://, tcp:// or ssh://" in look()["engine"].message


def test_an_engine_behind_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only ssh's encryption is stood in for."""
    stand_in = tmp_path / "bin" / "ssh"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nwhile [ "$1" != docker ]; do shift; done\nunset DOCKER_HOST\nexec "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://ada@engine.example:2222")
    found = look()
    assert "ssh://ada@engine.example:2222" in found["engine"].message
    assert {found[name].status for name in ("engine", "image", "walls", "limits")} == {"ok"}
    assert found["disk"].status == "skipped"
    stand_in.write_text("#!/bin/sh\nexit 255\n")
    assert "`ssh ada@engine.example -p 2222 docker version`" in look()["engine"].remedy


def test_without_the_image_no_container_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(image="nope")
    assert found["image"].status == "error"
    assert "nope" in found["image"].message
    assert found["walls"].status == found["limits"].status == "skipped"
    monkeypatch.setattr("langchain_sandbox.doctor.image.image_tag", lambda: "langchain-opencode-sandbox:none")
    found = look()
    assert "`langchain-sandbox build`" in found["image"].remedy
    assert "belong to other versions" in found["image"].message


@pytest.fixture
def names(client: docker.DockerClient) -> Iterator[list[str]]:
    """Names of images that a test makes."""
    made: list[str] = []
    yield made
    for name in made:
        client.images.remove(name)


def test_an_image_derived_from_the_current_one_is_fine(client: docker.DockerClient, names: list[str]) -> None:
    name = "langchain-sandbox-test-derived:1"
    recipe = f'FROM {image_tag()}\nENV MINE="1"\n'
    client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=name, rm=True)
    names.append(name)
    found = look(image=name)
    assert "built on the current" in found["image"].message
    assert {found["image"].status, found["walls"].status, found["limits"].status} == {"ok"}


def test_the_image_that_the_workspace_picks_is_looked_at(tmp_path: Path) -> None:
    table = tmp_path / "pyproject.toml"
    table.write_text(f'[tool.langchain-sandbox]\nimage = "{image_tag()}"\n')
    found = look(workspace=tmp_path)
    assert found["image"].status == "ok"
    assert "which the workspace's pyproject.toml picks" in found["image"].message
    table.write_text('[tool.langchain-sandbox]\napt = ["cowsay"]\n')
    found = look(workspace=tmp_path)
    assert found["image"].status == "error"
    assert f"`langchain-sandbox build --workspace {tmp_path}`" in found["image"].message
    table.write_text("[tool.langchain-sandbox]\nimages = 1\n")
    assert "pyproject.toml" in look(workspace=tmp_path)["image"].message


def test_an_image_that_is_not_derived_from_ours_is_refused(client: docker.DockerClient, names: list[str]) -> None:
    name = "langchain-sandbox-test-stranger:1"
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    repository, tag = name.split(":")
    client.api.import_image_from_data(empty.getvalue(), repository=repository, tag=tag)
    names.append(name)
    found = look(image=name)
    assert f"FROM {image_tag()}" in found["image"].remedy
    assert found["walls"].status == "error"


def test_limits_that_an_engine_ignores_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The container is real; that its limits are missing is what an engine does that ignores them."""
    build = docker_engine.build_host_config

    def forget(limits: object, **options: object) -> dict:
        return build(limits, **options) | {"Memory": 0, "MemorySwap": 0, "PidsLimit": 0}

    monkeypatch.setattr(docker_engine, "build_host_config", forget)
    found = look()
    assert found["walls"].status == "ok"
    assert found["limits"].status == "error"
    assert "257 ran where 128 were allowed" in found["limits"].message
    assert "memory" in found["limits"].message


def test_walls_that_are_not_put_up_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    build = docker_engine.build_host_config

    def forget(limits: object, **options: object) -> dict:
        return build(limits, **options) | {
            "NetworkMode": "bridge",
            "CapDrop": [],
            "SecurityOpt": ["seccomp=unconfined"],
        }

    monkeypatch.setattr(docker_engine, "build_host_config", forget)
    message = look()["walls"].message
    assert "network (lo, eth0)" in message
    assert "capabilities" in message
    assert "privileges" in message


def test_a_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedModel([], fault="refused") as model:
        monkeypatch.setenv("SANDBOX_MODEL_BASE_URL", model.endpoint.base_url)
        found = look()
    assert found["model"].status == "error"
    assert "cannot be reached" in found["model"].message
    assert "Start the model server" in found["model"].remedy
    assert {found[name].status for name in ("model-name", "context", "tool-calls")} == {"skipped"}
    monkeypatch.delenv("SANDBOX_MODEL_BASE_URL")
    assert "SANDBOX_MODEL_BASE_URL" in look()["model"].message


def test_a_model_elsewhere_is_refused_before_it_is_asked() -> None:
    found = look(model="http://8.8.8.8:8000")
    assert "SANDBOX_ALLOW_REMOTE_MODEL" in found["model"].message


def test_a_wrong_key_and_a_wrong_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedModel([CALL, CALL], api_key="right") as model:
        url = model.endpoint.base_url
        assert "SANDBOX_MODEL_API_KEY" in look(model=url)["model"].remedy
        monkeypatch.setenv("SANDBOX_MODEL_API_KEY", "right")
        assert look(model=url)["tool-calls"].status == "ok"
        monkeypatch.setenv("SANDBOX_MODEL_NAME", "other")
        found = look(model=url)
    assert found["model"].status == "ok"
    assert "does not have the model other; it has scripted-model" in found["model-name"].message


def test_a_context_that_is_too_short() -> None:
    with ScriptedModel([CALL], context_length=4096) as model:
        found = look(model=model.endpoint.base_url)
    assert found["context"].status == "error"
    assert "4096 tokens" in found["context"].message
    assert "--max-model-len" in found["context"].remedy


def test_a_call_that_comes_as_text_names_the_flags() -> None:
    text = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    with ScriptedModel([{"text": text}]) as model:
        found = look(model=model.endpoint.base_url)
    assert found["tool-calls"].status == "error"
    assert "plain text" in found["tool-calls"].message
    assert "--enable-auto-tool-choice --tool-call-parser" in found["tool-calls"].remedy
    assert "docs/vllm.md" in found["tool-calls"].remedy


REFUSAL = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


@contextmanager
def served(models: list[dict], answer: dict) -> Iterator[str]:
    """A model server as vLLM is without its flags for tools: it lists models, and answers each chat with a 400."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(200, {"object": "list", "data": models})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send(400, answer)

        def send(self, code: int, body: dict) -> None:
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep the output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "answer", [{"error": {"message": REFUSAL, "code": 400}}, {"object": "error", "message": REFUSAL, "code": 400}]
)
def test_a_vllm_without_its_flags_names_the_flags(answer: dict) -> None:
    with served([{"id": "qwen", "max_model_len": 65536}], answer) as url:
        found = look(model=url)
    assert found["tool-calls"].status == "error"
    assert "HTTP 400" in found["tool-calls"].message
    assert "--enable-auto-tool-choice --tool-call-parser PARSER" in found["tool-calls"].remedy


def test_several_models_and_none_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with served([{"id": "qwen"}, {"id": "llama"}], {}) as url:
        found = look(model=url)
        assert found["model"].status == "ok"
        assert "qwen, llama" in found["model-name"].message
        assert "SANDBOX_MODEL_NAME=qwen" in found["model-name"].remedy
        assert found["tool-calls"].status == "skipped"
        monkeypatch.setenv("SANDBOX_MODEL_NAME", "llama")
        context = look(model=url)["context"]
    assert context.status == "warning"
    assert "does not say" in context.message


def test_settings_and_workspaces_that_cannot_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SANDBOX_LIMIT_MEMORY", "much")
    found = look(workspace=tmp_path / "nowhere")
    assert "SANDBOX_LIMIT_MEMORY" in found["settings"].message
    assert "not a folder" in found["workspace"].message
    assert found["engine"].status == "ok"


def test_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = look(workspace=tmp_path)
    assert found["git"].status == "error"
    assert found["workspace"].status == "skipped"
    assert found["walls"].status == "ok"


ARCHIVED = {
    "langchain_sandbox/__init__.py": "from langchain_sandbox.pyodide import PyodideSandbox\n",
    "langchain_sandbox/pyodide.py": "class PyodideSandbox: ...\n",
    "langchain_sandbox/py.typed": "",
    "langchain_sandbox-0.0.6.dist-info/METADATA": "Metadata-Version: 2.4\nName: langchain_sandbox\nVersion: 0.0.6\n",
    "langchain_sandbox-0.0.6.dist-info/RECORD": "langchain_sandbox/__init__.py,,\n",
}


@pytest.mark.parametrize("last", ["archived", "ours"])
def test_it_works_where_the_archived_package_is_installed(tmp_path: Path, last: str) -> None:
    """Installed as pip does: the files of one wheel over those of the other."""
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    (wheel,) = hatchling.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    site = tmp_path / "site"
    for package in ("ours", "archived") if last == "archived" else ("archived", "ours"):
        if package == "ours":
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
            continue
        for name, text in ARCHIVED.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
    command = [sys.executable, "-m", "langchain_sandbox", "doctor", "--json"]
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["package"]["status"] == ("error" if last == "archived" else "warning")
    assert ("langchain_sandbox/__init__.py" in found["package"]["message"]) is (last == "archived")
    assert "pip uninstall langchain-sandbox" in found["package"]["remedy"]
    assert found["walls"]["status"] == "ok"
