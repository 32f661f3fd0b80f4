"""Every wall is in the body of the create call, whatever the limits; nothing else opens a door."""

import json

import pytest

from langchain_sandbox.config import GIB, MIB, Limits
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.docker import build_container_config
from langchain_sandbox.engine.hardening import build_host_config

CUSTOM = Limits(memory="1g", cpus=0.5, pids=10, workspace="300m", workspace_files=99, home="200m", tmp="100m")
BOTH = pytest.mark.parametrize("limits", [Limits(), CUSTOM], ids=["default", "custom"])


def build_body(limits: Limits) -> dict:
    spec = ContainerSpec(name="name", image="sha256:1", limits=limits, labels={"owner": "o"})
    return build_container_config(spec)


@BOTH
@pytest.mark.parametrize(
    ("wall", "value"),
    [
        ("NetworkMode", "none"),
        ("ReadonlyRootfs", True),
        ("CapDrop", ["ALL"]),
        ("SecurityOpt", ["no-new-privileges"]),
        ("IpcMode", "private"),
        ("AutoRemove", True),
        ("Init", False),
        ("LogConfig", {"Type": "none", "Config": {}}),
        ("RestartPolicy", {"Name": "no", "MaximumRetryCount": 0}),
        ("ShmSize", 64 * MIB),
    ],
)
def test_each_wall_stands_whatever_the_limits(limits: Limits, wall: str, value: object) -> None:
    assert build_host_config(limits)[wall] == value


@BOTH
@pytest.mark.parametrize(
    "door",
    [
        *("Binds", "Mounts", "VolumesFrom", "Devices", "DeviceRequests", "DeviceCgroupRules", "CapAdd", "Privileged"),
        *("PortBindings", "PublishAllPorts", "ExtraHosts", "Links", "Dns", "GroupAdd", "PidMode", "UTSMode"),
        *("UsernsMode", "CgroupParent", "CgroupnsMode", "Runtime", "Sysctls", "OomKillDisable"),
    ],
)
def test_no_door_is_opened(limits: Limits, door: str) -> None:
    body = build_body(limits)
    assert door not in body
    assert door not in body["HostConfig"]


@pytest.mark.parametrize(
    ("limits", "memory", "cpus", "pids"),
    [
        (Limits(), 2 * GIB + GIB + 512 * MIB + 512 * MIB + 64 * MIB, 2_000_000_000, 256),
        (CUSTOM, GIB + (300 + 200 + 100 + 64) * MIB, 500_000_000, 10),
    ],
)
def test_resources_are_bounded_and_memory_holds_the_file_systems_too(
    limits: Limits, memory: int, cpus: int, pids: int
) -> None:
    host = build_host_config(limits)
    assert (host["Memory"], host["MemorySwap"]) == (memory, memory)
    assert (host["NanoCpus"], host["PidsLimit"]) == (cpus, pids)
    ulimits = {item["Name"]: (item["Soft"], item["Hard"]) for item in host["Ulimits"]}
    assert ulimits == {"nofile": (4096, 4096), "core": (0, 0)}


@pytest.mark.parametrize(
    ("limits", "sizes", "files"),
    [(Limits(), (GIB, 512 * MIB, 512 * MIB), 200_000), (CUSTOM, (300 * MIB, 200 * MIB, 100 * MIB), 99)],
)
def test_the_only_writable_places_are_bounded_in_bytes_and_files(
    limits: Limits, sizes: tuple[int, int, int], files: int
) -> None:
    options = {
        path: dict(option.partition("=")[::2] for option in text.split(","))
        for path, text in build_host_config(limits)["Tmpfs"].items()
    }
    assert list(options) == ["/run/ws", "/run/home", "/tmp", "/dev/shm"]
    assert tuple(int(option["size"]) for option in options.values()) == (*sizes, 64 * MIB)
    assert [int(option["nr_inodes"]) for option in options.values()] == [files, 50_000, 50_000, 50_000]
    assert all(option["mode"] == "1777" and {"nosuid", "nodev"} <= set(option) for option in options.values())


@BOTH
def test_the_program_is_unprivileged_and_its_only_way_out_is_the_attached_stream(limits: Limits) -> None:
    body = build_body(limits)
    assert body["User"] == "1000:1000"
    assert (body["OpenStdin"], body["StdinOnce"], body["Tty"]) == (True, True, False)
    assert (body["AttachStdin"], body["AttachStdout"], body["AttachStderr"]) == (True, True, True)
    assert body["StopSignal"] == "SIGKILL"
    assert (body["Image"], body["Labels"]) == ("sha256:1", {"owner": "o"})


@BOTH
def test_no_environment_command_or_name_of_the_host_goes_in(limits: Limits) -> None:
    body = build_body(limits)
    assert body["Hostname"] == "sandbox"
    assert body["Entrypoint"] == ["/usr/bin/python3", "-I", "-S", "/opt/langchain-sandbox"]  # whatever the image says
    assert not {"Volumes", "ExposedPorts"} & set(body)
    assert all(variable.endswith("=") for variable in body["Env"])
    assert body["Cmd"] == []
    assert body["Healthcheck"] == {"Test": ["NONE"]}


@BOTH
def test_the_body_is_plain_json(limits: Limits) -> None:
    body = build_body(limits)
    assert json.loads(json.dumps(body)) == body
