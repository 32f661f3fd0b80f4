"""The way out that a caller opens: by name, as far as the list goes, and every attempt is in the result."""

from __future__ import annotations

import ensurepip
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from package_index import make_wheel
from support import bash, outputs, say, told

from langchain_sandbox import Egress, Pool, Sandbox
from langchain_sandbox.shell import Shell
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

# An address of this machine's loopback that programs ask their proxy for: 127.0.0.1 they take for the container's own.
PLACE = "127.0.0.2"
LOOPBACK = ["127.0.0.0/8"]
MIB = 1024 * 1024
# The image has no pip; as a file it works, too.
INSTALL = "python3 pip.whl/pip install -q --target /tmp/t --index-url {url}/simple --trusted-host {place} tiny"
FETCH = """
import http.client, sys, urllib.request, urllib.error
for url in sys.argv[1:]:
    try:
        print(len(urllib.request.urlopen(url, timeout=20).read()))
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode().strip())
    except (OSError, http.client.HTTPException) as error:
        print("broken", type(error).__name__)
"""


class Index:
    """A package index, and 5 MiB of something else."""

    def __init__(self) -> None:
        self.served: list[str] = []
        index, files = (
            self,
            {
                "/simple/tiny/": b'<a href="/files/tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>',
                "/files/tiny-1.0-py3-none-any.whl": make_wheel("tiny", "1.0", "print('tiny it is')\n"),
                "/big": b"x" * 5 * MIB,
            },
        )

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.served.append(self.path)
                content = files.get(self.path, b"")
                self.send_response(200 if content else 404)
                self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer((PLACE, 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://{PLACE}:{self.port}"


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    thread = threading.Thread(target=index.server.serve_forever, name="index")
    thread.start()
    yield index
    index.server.shutdown()
    index.server.server_close()
    thread.join()


def test_pip_installs_from_an_index_that_is_on_the_list(repository: Path, index: Index) -> None:
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(pip, repository / "pip.whl")
    turns = [bash(f"{INSTALL.format(url=index.url, place=PLACE)} && PYTHONPATH=/tmp/t python3 -m tiny"), say()]
    egress = Egress([f"{PLACE}:{index.port}"], networks=LOOPBACK)
    with ScriptedModel(turns) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository, egress=egress)
        with sandbox.start("Install it.") as handle:
            events = list(handle.events())
            result = handle.result()
        told_before = str(model.requests[0].messages[-1]["content"])
    assert result.ok, result.ending
    assert f"these places, by HTTP and HTTPS: {PLACE}:{index.port}. They go there through the proxy" in told_before
    assert result.settings.egress is not None
    assert (result.settings.egress.allow, result.settings.egress.networks) == ([f"{PLACE}:{index.port}"], LOOPBACK)
    assert "tiny it is" in outputs(events)[0].splitlines()
    assert "/files/tiny-1.0-py3-none-any.whl" in index.served
    assert {(each.host, each.port, each.address, each.refused) for each in result.connections} == {
        (PLACE, index.port, PLACE, None)
    }
    assert all(each.sent and each.received for each in result.connections)
    seen = [event for event in events if event.type == "connection"]
    assert [event.received for event in seen] == [each.received for each in result.connections]


def test_what_is_not_on_the_list_is_refused_and_told(index: Index) -> None:
    with Shell(egress=Egress([f"{PLACE}:{index.port}"], networks=LOOPBACK)) as shell:
        places = [f"{index.url}/big", f"http://{PLACE}:1/", "http://example.com/", "http://169.254.169.254/latest/"]
        said = shell.execute(["python3", "-c", FETCH, *places]).text.splitlines()
        direct = shell.execute(["python3", "-c", "import socket; socket.create_connection(('1.1.1.1', 443), 2)"])
        result = shell.finish()
    assert said[0] == str(5 * MIB)
    for line, place in zip(said[1:], [f"{PLACE}:1", "example.com:80", "169.254.169.254:80"], strict=True):
        assert line == f"403 The sandbox does not let this through: {place} is not on the list (egress)."
    assert "Network is unreachable" in direct.text  # nothing but the proxy leads out
    asked = sorted(result.connections, key=lambda each: each.at)  # they come in the order in which they ended
    assert asked[0].refused is None
    assert [each.host for each in asked] == [PLACE, PLACE, "example.com", "169.254.169.254"]
    assert all(each.address is None for each in asked[1:])


def test_a_name_that_leads_into_a_private_network_is_refused_after_it_was_looked_up() -> None:
    name = socket.gethostname().lower()
    address = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)[0][4][0]
    with Shell(egress=[name]) as shell:
        said = shell.execute(["python3", "-c", FETCH, f"http://{name}/"]).text
        result = shell.finish()
    assert said.startswith("403 The sandbox does not let this through: ")
    assert f"it leads to {address}" in said
    assert "(Egress.networks)" in said
    assert result.connections[0].address is None


def test_a_budget_ends_what_would_pass_it(index: Index) -> None:
    egress = Egress([f"{PLACE}:{index.port}"], networks=LOOPBACK, traffic="1m", connections=2)
    with Shell(egress=egress) as shell:
        said = shell.execute(["python3", "-c", FETCH, f"{index.url}/big", f"{index.url}/big", f"{index.url}/big"]).text
        result = shell.finish()
    first, second, third = said.splitlines()
    assert first.startswith("broken")
    assert "more than 1048576 bytes in and out (Egress.traffic)" in second
    assert "more than 2 connections (Egress.connections)" in third
    cut = min(result.connections, key=lambda each: each.at)
    assert cut.received <= MIB
    assert "Egress.traffic" in (cut.refused or "")


def test_by_default_there_is_no_way_out(index: Index) -> None:
    with Shell() as shell:
        assert shell.execute("env | grep -i proxy; echo none").text == "none\n"
        assert not shell.execute(
            ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 4001), 2)"]
        ).ok
        assert shell.finish().connections == []
    assert index.served == []


@pytest.mark.usefixtures("hasty_spares")
def test_a_spare_has_it_too_and_only_for_tasks_that_may(repository: Path, index: Index) -> None:
    fetch = bash(f"python3 -c \"import urllib.request as u; print(len(u.urlopen('{index.url}/big').read()))\"")
    egress = Egress([f"{PLACE}:{index.port}"], networks=LOOPBACK)
    with (
        ScriptedModel([fetch, say()]) as model,
        Sandbox(model=model.endpoint, workspace=repository, egress=egress, pool=Pool(size=1)) as sandbox,
    ):
        sandbox.warm()
        result = sandbox.run("Fetch it.")
        assert "handed_over" in result.timings.model_dump(exclude_none=True)
        assert told(model)[0].strip().startswith(str(5 * MIB))
        assert [each.refused for each in result.connections] == [None]
