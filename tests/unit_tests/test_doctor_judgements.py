"""What each check says of what it was told; that it is told the truth is proved on the real engine."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from langchain_sandbox._version import __version__
from langchain_sandbox.config import ModelEndpoint, TraceLevel
from langchain_sandbox.doctor import canary, examination, host
from langchain_sandbox.doctor.engine import engine_kind, explain_silence, judge_clock, judge_engine
from langchain_sandbox.doctor.examination import CHECKS, Check, examine
from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.doctor.image import judge_derived
from langchain_sandbox.doctor.model import check_name, judge_context
from langchain_sandbox.doctor.probe import Answer, judge_answer, read_answer
from langchain_sandbox.doctor.runtime import judge_runtime
from langchain_sandbox.doctor.tracing import judge_tracing
from langchain_sandbox.engine.address import EngineAddress
from langchain_sandbox.engine.images.package_image import OPENCODE_VERSION, image_tag
from langchain_sandbox.installation import _fits

HERE = EngineAddress("unix:///var/run/docker.sock")
DOCKER = {"Version": "24.0.7", "ApiVersion": "1.43", "Components": [{"Name": "Engine"}]}
LINUX = {
    "OSType": "linux",
    "Architecture": "x86_64",
    "CgroupVersion": "2",
    "SecurityOptions": ["name=seccomp"],
    "KernelVersion": "6.1.0",
}
SHUT_IN = {
    "interfaces": ["lo"],
    "capabilities": 0,
    "no_new_privileges": True,
    "seccomp": True,
    "writable_root": False,
    "uid": 1000,
    "exit_code": 0,
    "oom": True,
    "processes": 128,
    "kernel": "6.1.0",
    "files": 200_000,
    "closed": True,
    "memory_held": True,
}


def words(finding: Finding) -> str:
    return f"{finding.status}: {finding.message} {finding.remedy}"


def test_an_engine_is_told_by_its_own_words() -> None:
    finding = judge_engine(DOCKER, LINUX, HERE)
    assert finding.status == "ok"
    assert "Docker 24.0.7 (API 1.43, cgroup v2, with root, linux x86_64)" in finding.message
    assert "rootless" in judge_engine(DOCKER, LINUX | {"SecurityOptions": ["name=rootless"]}, HERE).message
    assert engine_kind({"Components": [{"Name": "Podman Engine"}]}, {}) == "Podman"
    assert engine_kind(DOCKER, {"OperatingSystem": "Docker Desktop"}) == "Docker Desktop"


def test_an_engine_that_is_too_old_or_of_another_kind_is_named() -> None:
    assert judge_engine(DOCKER | {"ApiVersion": "1.40"}, LINUX, HERE).status == "warning"
    finding = judge_engine(DOCKER, LINUX | {"OSType": "windows"}, HERE)
    assert (finding.status, finding.remedy) == ("error", "Switch it to Linux containers.")
    assert judge_engine({}, {}, HERE).status == "warning"


def test_a_silent_engine_is_explained_by_its_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    gone = EngineAddress(f"unix://{tmp_path}/none.sock")
    message, remedy = explain_silence(gone, "FileNotFoundError")
    assert "no engine" in message
    assert "systemctl start docker" in remedy
    (tmp_path / "docker.sock").touch()
    assert f"DOCKER_HOST=unix://{tmp_path}/docker.sock" in explain_silence(gone, "")[1]
    monkeypatch.setattr(os, "access", lambda *_: False)
    there = EngineAddress(f"unix://{tmp_path}/docker.sock")
    assert "usermod -aG docker" in explain_silence(there, "")[1]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("Error while fetching server API version: (Caused by NewConnectionError: Connection refused)", "refused"),
        ("HTTPConnectionPool(host='10.0.0.9'): Read timed out.", "silent"),
        ("404 Client Error for http://x/version: Not Found", "no container engine"),
        ("Error while fetching server API version: something new.", ": something new."),
    ],
)
def test_the_library_s_words_are_put_plainly(error: str, said: str) -> None:
    message, _ = explain_silence(EngineAddress("tcp://10.0.0.9:2375"), error)
    assert said in message
    assert "Error while" not in message


def test_an_engine_behind_ssh_is_asked_for_by_hand() -> None:
    _, remedy = explain_silence(EngineAddress("ssh://ada@engine:2222"), "Connection aborted")
    assert "`ssh ada@engine -p 2222 docker version`" in remedy


def test_clocks_may_differ_a_little() -> None:
    assert judge_clock(3).status == "ok"
    assert "300 s ahead of" in judge_clock(300).message
    assert "45 s behind" in judge_clock(-45).message


def image(*layers: str, **labels: str) -> dict:
    marks = {f"io.langchain-sandbox.{name}": value for name, value in labels.items()}
    return {"Config": {"Labels": marks}, "RootFS": {"Layers": list(layers)}}


OURS = {"image": "1", "version": __version__, "opencode": OPENCODE_VERSION}


def test_a_derived_image_is_judged_by_its_layers_or_else_by_its_labels() -> None:
    current = image("a", "b", **OURS)
    assert judge_derived("mine", image("a", "b", "c", **OURS), current).status == "ok"
    assert f"again on {image_tag()}" in words(judge_derived("mine", image("a", "old", "c", **OURS), current))
    assert judge_derived("mine", image("c", **OURS), None).status == "ok"
    outdated = judge_derived("mine", image("c", **OURS | {"version": "0.0.1"}), None)
    assert outdated.status == "error"
    assert "version 0.0.1" in outdated.message
    made = OURS | {"derived-from": image_tag()}
    assert judge_derived("mine", image("their", "base", **made), current).status == "ok"
    before = judge_derived("mine", image("a", "b", "c", **made | {"derived-from": "ours:before"}), current)
    assert "made from ours:before" in words(before)
    for stranger in (image("a"), {"Config": {"Labels": None}}, {}):
        assert f"FROM {image_tag()}" in words(judge_derived("mine", stranger, current))


def test_walls_that_hold_are_ok() -> None:
    assert canary.judge_walls(SHUT_IN, LINUX).status == "ok"
    assert canary.judge_limits(SHUT_IN, LINUX).status == "ok"


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"interfaces": ["lo", "eth0"]}, "network (lo, eth0)"),
        ({"capabilities": 0xC3}, "has capabilities"),
        ({"no_new_privileges": False}, "gain privileges"),
        ({"writable_root": True}, "write to its root"),
        ({"uid": 0}, "runs as root"),
    ],
)
def test_each_hole_in_the_walls_is_named(report: dict, said: str) -> None:
    finding = canary.judge_walls(SHUT_IN | report, LINUX)
    assert finding.status == "error"
    assert said in finding.message


def test_a_missing_filter_of_system_calls_is_a_warning() -> None:
    assert canary.judge_walls(SHUT_IN | {"seccomp": False}, LINUX).status == "warning"


def test_a_container_that_said_nothing_is_shown_with_its_last_words() -> None:
    finding = canary.judge_walls({"exit_code": 127, "oom": False, "stderr": "no such file"}, LINUX)
    assert "127" in finding.message
    assert "no such file" in finding.message
    assert canary.judge_limits({"exit_code": 127, "oom": False}, LINUX).status == "skipped"


@pytest.mark.parametrize(
    ("options", "cgroup", "remedy"),
    [
        (["name=rootless"], "1", "unified_cgroup_hierarchy"),
        (["name=rootless"], "2", "Delegate="),
        (["name=seccomp"], "1", "docker info"),
    ],
)
def test_limits_that_are_ignored_are_an_error_with_a_remedy(options: list[str], cgroup: str, remedy: str) -> None:
    info = {"SecurityOptions": options, "CgroupVersion": cgroup}
    finding = canary.judge_limits(SHUT_IN | {"processes": 257, "memory_held": False}, info)
    assert finding.status == "error"
    assert "257 ran where 128" in finding.message
    assert "memory" in finding.message
    assert remedy in finding.remedy


def test_a_kernel_of_its_own_is_told_and_stands_for_the_engines_filter() -> None:
    gvisor = SHUT_IN | {"seccomp": False, "kernel": "4.4.0", "closed": False}
    finding = canary.judge_walls(gvisor, LINUX)
    assert finding.status == "ok"
    assert "a kernel of its own, too: 4.4.0, not the machine's 6.1.0" in finding.message
    assert "the link to the host" in finding.message
    assert "the link to the host" not in canary.judge_walls(gvisor | {"closed": True}, LINUX).message


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({}, "ok", "memory and processes"),
        ({"processes": None}, "ok", "takes the container whole"),
        ({"files": 0}, "warning", "does not count files"),
    ],
)
def test_what_of_the_limits_is_weaker_is_said(change: dict, status: str, said: str) -> None:
    finding = canary.judge_limits(SHUT_IN | change, LINUX)
    assert finding.status == status
    assert said in finding.message


RUNTIMES = {"DefaultRuntime": "runc", "Runtimes": {"runc": {}, "runsc": {}, "io.containerd.runc.v2": {}}}
PODMAN = {"Components": [{"Name": "Podman Engine"}]}


@pytest.mark.parametrize(
    ("name", "version", "status", "said"),
    [
        (None, DOCKER, "ok", "under runc, the engine's default. The engine also has runsc."),
        ("runsc", DOCKER, "ok", "under runsc, as it was asked for. The engine also has runc."),
        ("kata", DOCKER, "error", "knows no runtime 'kata'; it has: runc (its default), runsc."),
        (None, PODMAN, "ok", "one runtime for all"),
        ("runc", PODMAN, "ok", "one runtime for all"),
        ("runsc", PODMAN, "error", "podman --runtime runsc system service"),
    ],
)
def test_the_runtime_is_told(name: str | None, version: dict, status: str, said: str) -> None:
    finding = judge_runtime(name, version, RUNTIMES)
    assert finding.status == status
    assert said in words(finding)


def test_an_engine_without_runtimes_of_a_name_is_told_as_that() -> None:
    assert "has no other" in judge_runtime(None, DOCKER, {}).message
    assert "has no other" in judge_runtime(None, DOCKER, {"DefaultRuntime": "runc"}).message


def test_a_container_that_the_kernel_took_whole_has_held_its_limit() -> None:
    report = {name: value for name, value in SHUT_IN.items() if name != "memory_held"}
    assert canary.judge_limits(report | {"exit_code": 137}, LINUX).status == "ok"
    assert canary.judge_limits(report | {"exit_code": 1, "oom": False}, LINUX).status == "error"


@pytest.mark.parametrize(
    ("context", "status"),
    [(None, "warning"), (4096, "error"), (16384, "warning"), (32767, "warning"), (32768, "ok"), (131072, "ok")],
)
def test_a_context_is_long_enough_or_not(context: int | None, status: str) -> None:
    finding = judge_context(context)
    assert finding.status == status
    assert ("--max-model-len" in finding.remedy) == (status != "ok")


def test_a_choice_of_models_is_left_to_the_user() -> None:
    url = "http://127.0.0.1:8000/v1"
    several = check_name(Known(endpoint=ModelEndpoint(url), served=["a", "b"]))
    assert "SANDBOX_MODEL_NAME=a" in several.remedy
    assert "a, b" in several.message
    wrong = check_name(Known(endpoint=ModelEndpoint(url, "c"), served=["a", "b"]))
    assert "does not have the model c; it has a, b" in wrong.message


def chunk(**delta: object) -> str:
    return "data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": None}]})


def call(name: str | None, arguments: str) -> dict:
    return {"index": 0, "function": {"name": name, "arguments": arguments}}


def test_a_streamed_call_is_put_together() -> None:
    lines = [
        chunk(role="assistant", content=None),
        chunk(tool_calls=[call("get_weather", "")]),
        chunk(tool_calls=[call(None, '{"city": ')]),
        chunk(tool_calls=[call(None, '"Paris"}')]),
        'data: {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}',
        'data: {"choices": [], "usage": {"prompt_tokens": 1}}',
        "",
        "data: [DONE]",
    ]
    answer = read_answer(lines)
    assert answer == Answer(status=200, tool="get_weather", arguments='{"city": "Paris"}', finish="tool_calls")
    assert judge_answer(answer).status == "ok"


@pytest.mark.parametrize("line", ["data: {", "data: []", 'data: {"choices": 3}', 'data: {"choices": [7]}'])
def test_what_is_no_chat_completion_is_said_to_be_none(line: str) -> None:
    assert "no chat completion" in judge_answer(read_answer([line])).message


PARSER = "--enable-auto-tool-choice --tool-call-parser"


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (Answer(status=400, words='"auto" tool choice requires --enable-auto-tool-choice'), "error", PARSER),
        (Answer(status=200, words='<tool_call>{"name": "get_weather"}</tool_call>'), "error", PARSER),
        (Answer(status=200, words="It is sunny.", finish="stop"), "error", "can call tools"),
        (Answer(status=200, words="Hm, let me think", finish="length"), "warning", "cut at"),
        (Answer(status=200, tool="get_weather", arguments='{"city": '), "error", "broken arguments"),
        (Answer(status=200, tool="get_weather", arguments="[]"), "error", "broken arguments"),
        (Answer(status=200, tool="weather", arguments='{"city": "Paris"}'), "error", "'weather'"),
        (Answer(status=500, words="out of memory"), "error", "HTTP 500"),
        (Answer(status=None, words="it was not done within 40 s"), "warning", "not done"),
    ],
)
def test_each_way_of_not_calling_a_tool_has_its_remedy(answer: Answer, status: str, said: str) -> None:
    finding = judge_answer(answer)
    assert finding.status == status
    assert said in words(finding)


def test_a_container_is_told_by_its_marks(tmp_path: Path) -> None:
    assert not host.in_container(tmp_path)
    (tmp_path / "proc/1").mkdir(parents=True)
    groups = tmp_path / "proc/1/cgroup"
    groups.write_text("0::/init.scope\n")
    assert not host.in_container(tmp_path)
    groups.write_text("0::/kubepods/burstable/pod1\n")
    assert host.in_container(tmp_path)
    groups.unlink()
    (tmp_path / ".dockerenv").touch()
    assert host.in_container(tmp_path)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.1:8000", "warning"),
        ("http://localhost:8000", "warning"),
        ("http://[::1]:8000", "warning"),
        ("http://vllm:8000", "ok"),
        ("http://host.docker.internal:8000", "ok"),
    ],
)
def test_inside_a_container_loopback_is_the_wrong_place(monkeypatch: pytest.MonkeyPatch, url: str, status: str) -> None:
    monkeypatch.setattr(host, "in_container", lambda: True)
    finding = host.check_container(Known(endpoint=ModelEndpoint(url)))
    assert finding.status == status
    assert ("host.docker.internal" in finding.remedy) == (status == "warning")
    monkeypatch.setattr(host, "in_container", lambda: False)
    assert host.check_container(Known(endpoint=ModelEndpoint(url))).status == "ok"


@pytest.mark.parametrize(("free", "status"), [(10, "error"), (100, "warning"), (1000, "ok")])
def test_room_is_judged_by_two_thresholds(free: int, status: str) -> None:
    assert host.judge_room("temp", free, "/tmp", needed=50, wanted=500).status == status


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("1.6.0", "<2,>=1.6", True),
        ("1.10", "<2,>=1.6", True),
        ("0.3.86", "<2,>=1.6", False),
        ("2.0.0", "<2,>=1.6", False),
        ("2.0.0rc1", "<2,>=1.6", False),
        ("3", "", True),
    ],
)
def test_a_version_is_in_a_range_or_not(version: str, wanted: str, *, fits: bool) -> None:
    assert _fits(version, wanted) is fits


def test_every_check_has_a_limit_and_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(set(check.needs) <= set(Known.__dataclass_fields__) for check in CHECKS)


def test_a_check_that_hangs_or_breaks_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    checks = (
        Check(name="hangs", look=lambda _: Finding("hangs", "ok", str(release.wait())), limit=0.05),
        Check(name="breaks", look=lambda _: Finding("breaks", "ok", str(1 / 0))),
        Check(name="waits", look=lambda _: Finding("waits", "ok", ""), needs=("client",)),
        Check(name="works", look=lambda _: Finding("works", "ok", "")),
    )
    monkeypatch.setattr(examination, "CHECKS", checks)
    found = {finding.check: finding for finding in examine()}
    release.set()
    assert {name: finding.status for name, finding in found.items()} == {
        "hangs": "error",
        "breaks": "error",
        "waits": "skipped",
        "works": "ok",
    }
    assert "0.05 s" in found["hangs"].message
    assert "ZeroDivisionError" in found["breaks"].message
    assert "No engine" in found["waits"].message


ON = {"LANGSMITH_TRACING": "true"}
HIDING = {"LANGSMITH_HIDE_INPUTS": "true", "LANGSMITH_HIDE_OUTPUTS": "true"}


@pytest.mark.parametrize(
    ("environ", "level", "status", "words"),
    [
        ({}, "metadata", "ok", "is off"),
        ({"LANGSMITH_TRACING": "false", "LANGSMITH_ENDPOINT": "https://192.0.2.1"}, "full", "ok", "is off"),
        (
            {**ON, "LANGSMITH_ENDPOINT": "http://127.0.0.1:1984"},
            "metadata",
            "ok",
            "of what happens inside a sandbox, no",
        ),
        ({**ON, "LANGCHAIN_ENDPOINT": "http://10.0.0.7"}, "full", "ok", "what is said and done there, too"),
        ({**ON, "LANGSMITH_ENDPOINT": "https://192.0.2.1"}, "metadata", "warning", "tasks, answers and patches"),
        ({"LANGCHAIN_TRACING_V2": "true", "LANGSMITH_ENDPOINT": "https://192.0.2.1"}, "off", "warning", "nothing"),
        ({**ON, **HIDING, "LANGSMITH_ENDPOINT": "https://192.0.2.1"}, "metadata", "ok", "without inputs and outputs"),
        ({**ON, "LANGSMITH_ENDPOINT": "not an address"}, "metadata", "warning", "not an address"),
    ],
)
def test_tracing(environ: dict[str, str], level: TraceLevel, status: str, words: str) -> None:
    finding = judge_tracing(environ, level)
    assert (finding.status, words in finding.message) == (status, True)
    assert bool(finding.remedy) is (status == "warning")
