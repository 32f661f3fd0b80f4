"""Which OCI runtime a container gets: what is asked for, what there is, and what the engine made of it."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_sandbox import Limits, ModelEndpoint, Sandbox, SandboxConfigError
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.docker import build_container_config, find_dialect
from langchain_sandbox.engine.runtimes import check_made, check_runtime, other_runtimes
from langchain_sandbox.shell import Shell

INFO = {"DefaultRuntime": "runc", "Runtimes": {"runc": {}, "runsc": {}, "io.containerd.runc.v2": {}}}
MODEL = ModelEndpoint("http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(
    ("name", "runtime"), [(None, "runc"), ("runc", "runc"), ("runsc", "runsc"), ("io.containerd.kata.v2",) * 2]
)
def test_the_runtime_that_a_container_gets(name: str | None, runtime: str) -> None:
    assert check_runtime(name, INFO) == runtime


def test_one_that_the_engine_does_not_know_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(SandboxConfigError, match=r"no runtime 'kata'; it has: runc \(its default\), runsc\.") as caught:
        check_runtime("kata", INFO)
    assert '{"runtimes": {"kata": {"path": "/usr/bin/kata"}}}' in str(caught.value)
    with pytest.raises(SandboxConfigError, match="none that it names"):
        check_runtime("kata", {})
    assert other_runtimes({}) == []


@pytest.mark.parametrize("told", [{"HostConfig": {"Runtime": "runsc"}}, {"HostConfig": {"Runtime": "runsc"}, "x": 1}])
def test_a_container_that_has_it_is_taken(told: dict[str, Any]) -> None:
    check_made("runsc", told, INFO)


@pytest.mark.parametrize("told", [{"HostConfig": {"Runtime": "runc"}}, {"HostConfig": {"Runtime": "oci"}}, {}])
def test_one_that_was_made_under_another_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(SandboxConfigError, match="did not heed it; it runs all containers under 'runc'"):
        check_made("runsc", told, INFO)


def test_it_is_asked_for_in_the_create_call_and_only_then() -> None:
    spec = {"name": "n", "image": "i", "limits": Limits(), "labels": {}}
    assert "Runtime" not in build_container_config(ContainerSpec(**spec))["HostConfig"]  # type: ignore[arg-type]
    config = build_container_config(ContainerSpec(**spec, runtime="runsc"))  # type: ignore[arg-type]
    assert config["HostConfig"]["Runtime"] == "runsc"


def test_podman_is_told_what_it_takes_and_no_more() -> None:
    spec = ContainerSpec(name="n", image="i", limits=Limits(), labels={})
    docker, podman = (build_container_config(spec, dialect=dialect)["HostConfig"] for dialect in ("docker", "podman"))
    assert {name for name in docker if docker[name] != podman[name]} == {"Tmpfs", "Ulimits"}
    assert docker.keys() == podman.keys()
    for place, options in podman["Tmpfs"].items():
        assert docker["Tmpfs"][place].startswith(f"{options},nr_inodes=")
    assert [limit["Name"] for limit in podman["Ulimits"]] == ["nofile", "core", "nproc"]


def test_which_engine_it_is_is_in_its_version() -> None:
    assert find_dialect({"Components": [{"Name": "Podman Engine"}]}) == "podman"
    assert find_dialect({"Components": [{"Name": "Engine"}]}) == find_dialect({}) == "docker"


@pytest.mark.parametrize("runtime", ["", "runsc --debug", "../runsc", "a\nb", "-x", 7])
def test_what_is_no_name_is_refused(monkeypatch: pytest.MonkeyPatch, runtime: Any) -> None:
    monkeypatch.delenv("SANDBOX_RUNTIME", raising=False)
    if runtime == "":
        assert Sandbox(model=MODEL, runtime=runtime).runtime is None
        return
    for make in (lambda: Sandbox(model=MODEL, runtime=runtime), lambda: Shell(runtime=runtime)):
        with pytest.raises(SandboxConfigError, match="name of a runtime"):
            make()


def test_the_environment_may_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_RUNTIME", "runsc")
    assert Sandbox(model=MODEL).runtime == "runsc"
    assert Sandbox(model=MODEL, runtime="kata").runtime == "kata"
