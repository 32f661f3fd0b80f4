"""Everything here runs on the real engine with the real OpenCode; only the model is scripted."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest
from compose_checkout import Checkout, Open
from support import LABELLED, containers, make_repository, wait_until

from langchain_sandbox import spare
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.images.package_image import require_image
from langchain_sandbox.engine.owner import current_owner, is_dead

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "integration_tests" in str(item.path):
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    client = find_engine().connect()
    require_image(client)
    yield client
    client.close()


@pytest.fixture(scope="session", autouse=True)
def state_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of fixtures that several tests share are not kept among the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDBOX_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def hangups_heard() -> Iterator[None]:
    """Programs that tests start end with their terminal, though `nohup` has had this one ignore that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(client: docker.DockerClient) -> Iterator[None]:
    """At the end of the suite there is nothing of ours that was not there before."""
    before = _leftovers(client)
    yield
    with suppress(AssertionError):  # a workspace that nobody waited for is let go of in a thread
        wait_until(lambda: _leftovers(client) <= before, 5)
    assert _leftovers(client) - before == set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scripted")]


@pytest.fixture(autouse=True)
def no_container_left(client: docker.DockerClient) -> Iterator[None]:
    """Each test cleans up its own containers, so that the one that does not is found."""
    yield
    assert containers(client, dead=False) == []
    wait_until(lambda: not containers(client), 5)  # a killed process may be one of another test, and its link ends soon


@pytest.fixture(scope="module")
def hasty_spares() -> Iterator[None]:
    """Spares sleep as soon as they are warm, as they do while tasks are under way: most tests need no better ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spare, "_MORE_ROUNDS", 0)
        patch.setattr(spare, "_SETTLING", 0.0)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SANDBOX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(
        tmp_path / "repository",
        {"calc.py": "def add(a, b):\n    return a - b\n", "README.md": "# calc\n", "data/notes.txt": "one\ntwo\n"},
    )


@pytest.fixture
def checkout(tmp_path: Path, client: docker.DockerClient) -> Iterator[Open]:
    """Makes blank checkouts; when the test is over nothing of them is left on the engine."""
    made: list[Checkout] = []

    def make(model: str | None = None) -> Checkout:
        made.append(Checkout(tmp_path / f"checkout-{len(made)}", model=model))
        return made[-1]

    yield make
    for each in made:
        each.down()
        assert each.remains(client) == {}


def _leftovers(client: docker.DockerClient) -> set[str]:
    found = {f"container {name}" for name in containers(client)}
    found |= {f"network {item['Name']}" for item in client.api.networks(filters=LABELLED)}
    found |= {f"volume {item['Name']}" for item in client.api.volumes(filters=LABELLED)["Volumes"] or []}
    found |= {f"folder {path}" for path in Path(tempfile.gettempdir()).glob("langchain-sandbox-*") if _is_left(path)}
    found |= {f"run {path}" for path in (Path.home() / ".local/state/langchain-sandbox/runs").glob("*")}
    return found


def _is_left(folder: Path) -> bool:
    try:
        owner = (folder / ".owner").read_text()
    except OSError:
        return False
    # The way to an engine behind ssh stays open for as long as the process lives, which is this one; so do its packs.
    stays = any((folder / name).exists() for name in ("engine.sock", "packs"))
    return (owner == current_owner() and not stays) or is_dead(owner)
