"""The walls, looked at from inside: by a program that a tool call of the agent runs, as hostile code would."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import bash, make_repository, outputs, say

from langchain_sandbox import Limits, ModelEndpoint, Sandbox
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.docker import build_container_config
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable

    import docker

KEY = "sk-canary-4be1f0c2d7"

PROBE = r"""
import ctypes, errno, json, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return 0 if result >= 0 else ctypes.get_errno()
def sock(family, kind=socket.SOCK_STREAM):
    return call(41, family, int(kind), 0)
def in_child(number, *arguments):
    # What works there changes nothing for the rest of the probe.
    child = os.fork()
    if child == 0:
        os._exit(call(number, *arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
def clone_user():
    # A child in a user namespace of its own, which ends at once.
    ctypes.set_errno(0)
    child = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
    return 0 if child >= 0 else ctypes.get_errno()
def attempt(function):
    try:
        function()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
def read(path):
    with open(path) as file:
        return file.read()
status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines())
print("PROBE" + json.dumps({
    "interfaces": [line.split(":")[0].strip() for line in read("/proc/net/dev").splitlines()[2:]],
    "routes": len(read("/proc/net/route").splitlines()) - 1,
    "status": {name: status.get(name, "").split() for name in
               ("Uid", "CapEff", "CapBnd", "CapPrm", "NoNewPrivs", "Seccomp")},
    "sockets": {"vsock": sock(40), "alg": sock(38, socket.SOCK_SEQPACKET), "packet": sock(17, socket.SOCK_RAW),
                "unix": sock(1), "inet": sock(2), "inet6": sock(10)},
    "syscalls": {"io_uring_setup": call(425, 1, 0), "ptrace": call(101, 16, 2**22 + 1, 0, 0), "bpf": call(321, 0, 0, 0),
                 "keyctl": call(250, 0, 0, 0), "userfaultfd": call(323, 0), "perf": call(298, 0, 0, -1, -1, 0),
                 "mount": in_child(165, b"none", b"/tmp", b"tmpfs", 0, 0),
                 "pivot_root": in_child(155, b"/tmp", b"/tmp"), "fsopen": in_child(430, b"tmpfs", 0),
                 "unshare_user": in_child(272, 0x10000000), "unshare_mounts": in_child(272, 0x20000),
                 "setns": in_child(308, -1, 0), "clone_user": clone_user(), "clone3": call(435, 0, 0),
                 "x32": call(0x40000000 + 39)},
    "writes": {path: attempt(lambda: open(path + "/probe", "w")) for path in
               ("/", "/usr", "/etc", "/opt", "/var", "/run", "/tmp", "/run/home", "/run/ws/repo")},
    "mount": attempt(lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) and (_ for _ in ()).throw(
                     OSError(ctypes.get_errno(), ""))),
    "connect": attempt(lambda: socket.create_connection(("1.1.1.1", 443), 2)),
    "metadata": attempt(lambda: socket.create_connection(("169.254.169.254", 80), 2)),
    "pid1": {name: attempt(lambda: open("/proc/1/" + name, "rb").read(1)) for name in ("environ", "maps", "mem")},
    "pid1_fd": attempt(lambda: os.listdir("/proc/1/fd")),
    "kill": [attempt(lambda: os.kill(1, number)) for number in (2, 15, 10, 19, 9) if os.getpid() != 1],
    "exec_tmp": attempt(lambda: subprocess.run(["/bin/sh", "-c", "cp /bin/true /tmp/t && /tmp/t"], check=True)),
    "setuid": subprocess.run(["find", "/", "-xdev", "-perm", "/6000", "-type", "f"], capture_output=True,
                             text=True).stdout.split(),
}))
"""

HUNT = (
    "for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr '\\0' '\\n' < $f; done 2>/dev/null; env; "
    "grep -rsIl canary /run /tmp /etc /opt 2>/dev/null | grep -v notes.txt; echo hunted"
)


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run that probes, and everything that was seen of it from outside."""
    repository = make_repository(tmp_path_factory.mktemp("probe") / "repository", {"probe.py": PROBE})
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        with ScriptedModel([bash("python3 probe.py"), bash(HUNT), say()], api_key=KEY) as model:
            sandbox = Sandbox(model=ModelEndpoint(model.endpoint.base_url, api_key=KEY), workspace=repository)
            with sandbox.start("Probe.") as handle:
                inspected = ""
                events = []
                for event in handle.events():
                    events.append(event)
                    if event.type == "tool_started":
                        command = ["docker", "inspect", f"langchain-sandbox-{handle.run_id}"]
                        inspected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                result = handle.result()
            assert model.requests[0].headers["authorization"] == f"Bearer {KEY}"
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    probe, hunt = outputs(events)
    return {
        "probe": json.loads(probe[probe.index("PROBE") + 5 :].splitlines()[0]),
        "hunt": hunt,
        "inspect": inspected,
        "result": result,
        "events": events,
        "logs": records,
        "sandbox": sandbox,
    }


def test_there_is_no_network(inside: dict[str, Any], record_property: Callable[[str, object], None]) -> None:
    probe = inside["probe"]
    assert probe["interfaces"] == ["lo"]
    assert probe["routes"] == 0
    assert probe["connect"] == probe["metadata"] == "ENETUNREACH"
    record_property("N1", "lo alone, 0 routes")


def test_there_is_no_privilege(inside: dict[str, Any], record_property: Callable[[str, object], None]) -> None:
    status = inside["probe"]["status"]
    assert status["Uid"] == ["1000"] * 4
    for name in ("CapEff", "CapBnd", "CapPrm"):
        assert int(status[name][0], 16) == 0
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    assert inside["probe"]["setuid"] == []
    assert inside["probe"]["mount"] == "EPERM"
    record_property("H1", "uid 1000, CapEff = CapBnd = CapPrm = 0, NoNewPrivs 1, Seccomp 2")


def test_sockets_and_system_calls_are_filtered(
    inside: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    _assert_filtered(inside["probe"])
    record_property("H2", f"{len(inside['probe']['syscalls'])} calls and 3 kinds of sockets denied")


def test_nothing_is_writable_but_the_limited_places(inside: dict[str, Any]) -> None:
    writes = inside["probe"]["writes"]
    assert {path for path, outcome in writes.items() if outcome == "ok"} == {"/tmp", "/run/home", "/run/ws/repo"}
    assert {outcome for outcome in writes.values() if outcome != "ok"} <= {"EROFS", "EACCES"}
    assert inside["probe"]["exec_tmp"] == "ok"


def test_pid_1_can_neither_be_read_nor_ended(inside: dict[str, Any]) -> None:
    probe = inside["probe"]
    assert set(probe["pid1"].values()) <= {"EACCES", "EPERM"}
    assert probe["pid1_fd"] == "EACCES"
    assert probe["kill"] == ["EPERM"] * 5  # the run went on, as it shows by having a result
    assert inside["result"].ok


def test_the_key_is_nowhere(inside: dict[str, Any], record_property: Callable[[str, object], None]) -> None:
    assert inside["hunt"].endswith("hunted\n")
    assert "OPENCODE_SERVER_PASSWORD" in inside["hunt"]  # the hunt did see other processes' environment
    for place in ("hunt", "inspect", "result", "events", "logs", "sandbox", "probe"):
        thing = inside[place]
        assert KEY not in (thing.model_dump_json() if place == "result" else str(thing)), place
    assert len(inside["inspect"]) > 1000
    assert len(inside["logs"]) > 3
    record_property("N6", "0 hits in processes, files, the engine's words, events, result and log")


def test_the_engine_was_told_of_every_wall(inside: dict[str, Any]) -> None:
    (container,) = json.loads(inside["inspect"])
    config = container["HostConfig"]
    assert config["NetworkMode"] == "none"
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]
    assert config["PidsLimit"] == 256
    assert config["Memory"] == config["MemorySwap"] > 0
    assert config["LogConfig"]["Type"] == "none"
    assert config["AutoRemove"] is True
    assert container["Config"]["StdinOnce"] is True
    assert not container["Mounts"] or all(mount["Type"] == "tmpfs" for mount in container["Mounts"])


def test_the_filter_is_our_own_where_the_engine_has_none(
    client: docker.DockerClient, record_property: Callable[[str, object], None]
) -> None:
    spec = ContainerSpec(
        name=f"langchain-sandbox-test-{os.getpid()}",
        image=image_tag(),
        limits=Limits(),
        labels={labels.OWNER: current_owner(), labels.RUN: "test"},
    )
    config = build_container_config(spec)
    config["HostConfig"]["SecurityOpt"] = ["no-new-privileges", "seccomp=unconfined"]
    config["HostConfig"] |= {"AutoRemove": False, "LogConfig": {"Type": "json-file", "Config": {}}}
    head = "import sys; sys.path.insert(0, '/opt/langchain-sandbox')\n"
    harden = "from langchain_sandbox.agent.harden import harden; harden()\n"
    config["Entrypoint"] = ["python3", "-I", "-S", "-c"]
    seen = {}
    for name, program in (("bare", head + PROBE), ("filtered", head + harden + PROBE)):
        made = client.api.create_container_from_config(config | {"Cmd": [program]}, name=spec.name)
        try:
            client.api.start(made["Id"])
            client.api.wait(made["Id"])
            output = client.api.logs(made["Id"]).decode()
        finally:
            client.api.remove_container(made["Id"], force=True)
        assert "PROBE" in output, output
        seen[name] = json.loads(output[output.index("PROBE") + 5 :].splitlines()[0])
    _assert_filtered(seen["filtered"])
    # Without our filter this engine lets at least one of them through, so the test does show something.
    assert 0 in seen["bare"]["sockets"].values()
    assert seen["bare"]["syscalls"]["io_uring_setup"] != 1
    assert seen["bare"]["syscalls"]["clone_user"] == 0
    record_property("H2", "the same without the engine's filter")


def test_a_fork_bomb_and_a_memory_hog_stay_inside(repository: Any) -> None:
    bomb = "bash -c ':(){ :|:& };:' 2>/dev/null; python3 -c 'x = bytearray(10**10)'; sleep 1; echo survived"
    with ScriptedModel([bash(bomb), say()]) as model:
        began = time.monotonic()
        limits = Limits(memory="1g", workspace="64m", home="128m", tmp="64m", pids=128)
        result = Sandbox(model=model.endpoint, workspace=repository, limits=limits).run("Explode.", timeout=20)
    assert time.monotonic() - began < 35
    assert result.evidence.cleanup_confirmed
    assert result.status in {"completed", "timeout", "oom", "crashed"}


def test_the_container_is_gone_when_the_result_is_there(repository: Any, client: docker.DockerClient) -> None:
    with ScriptedModel([say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Nothing.")
    names = [name for item in client.api.containers(all=True) for name in item["Names"]]
    assert f"/langchain-sandbox-{result.run_id}" not in names


def _assert_filtered(probe: dict[str, Any]) -> None:
    no_family, not_permitted, no_call = 97, 1, 38
    assert probe["sockets"] == {
        "vsock": no_family,
        "alg": no_family,
        "packet": no_family,
        "unix": 0,
        "inet": 0,
        "inet6": 0,
    }
    absent = {name: probe["syscalls"].pop(name) for name in ("x32", "clone3")}
    assert set(absent.values()) == {no_call}
    assert set(probe["syscalls"].values()) == {not_permitted}
