"""The checklist's walls (facts on security, section 7), each tried from inside a container and seen from outside.

A `Shell` has the walls of a run and no agent; what only an agent's run has is in the other files.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker_bench import read_section_5
from support import say, wait_until

from langchain_sandbox import Limits, Sandbox, SandboxUnavailableError
from langchain_sandbox.engine import docker as engine
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.shell import Shell
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

MIB = 1024 * 1024
WRITABLE = {"/tmp", "/run/home", "/run/ws", "/dev/shm"}
SMALL = Limits(workspace="8m", home="8m", tmp="8m", workspace_files=2_000)

# Tries everything on its line of arguments that could be heard by somebody, and tells what came of it.
CALLER = r"""
import errno, json, socket, sys
port, names, places = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3].split(",")
def attempt(function):
    try:
        function()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno)) if error.errno and error.errno > 0 else "no name"
    return "ok"
def send(family, place, to):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.sendto(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06canary\x00\x00\x01\x00\x01", (place, to))
        sock.recv(100)
def connect(place, to):
    socket.create_connection((place, to), 1).close()
with open("/proc/net/route") as file:
    routes = len(file.read().splitlines()) - 1
with open("/proc/net/ipv6_route") as file:
    beyond = [line for line in file if line.split()[-1] != "lo"]
with open("/proc/net/dev") as file:
    interfaces = [line.split(":")[0].strip() for line in file if ":" in line]
with open("/etc/resolv.conf") as file:
    servers = [line.split()[1] for line in file if line.startswith("nameserver")]
print(json.dumps({
    "interfaces": interfaces, "routes": routes, "routes6": len(beyond),
    "tcp": {place: attempt(lambda: connect(place, port)) for place in places},
    "udp": {place: attempt(lambda: send(socket.AF_INET, place, 53)) for place in places},
    "udp6": attempt(lambda: send(socket.AF_INET6, "2001:4860:4860::8888", 53)),
    "names": {name: attempt(lambda: socket.getaddrinfo(name, 80)) for name in names},
    "servers": {place: attempt(lambda: send(socket.AF_INET, place, 53)) for place in servers if ":" not in place},
}))
"""

# Fills a folder with one big file, then with many small ones.
FILLER = r"""
import errno, json, os, sys
told = {}
for folder in sys.argv[1:]:
    size, files, said = 0, 0, {}
    try:
        with open(folder + "/big", "wb", buffering=0) as file:
            while True:
                size += file.write(b"x" * 65536)
    except OSError as error:
        said["bytes"] = errno.errorcode[error.errno]
    os.unlink(folder + "/big")
    os.mkdir(folder + "/many")
    try:
        while True:
            open(f"{folder}/many/{files}", "w").close()
            files += 1
    except OSError as error:
        said["files"] = errno.errorcode[error.errno]
    for name in os.listdir(folder + "/many"):
        os.unlink(f"{folder}/many/{name}")
    told[folder] = {**said, "size": size, "count": files}
print(json.dumps(told))
"""

MOUNTS = r"""
import json, os
rows = [line.split() for line in open("/proc/self/mounts")]
print(json.dumps({row[1]: row[2] for row in rows if "rw" in row[3].split(",") and os.access(row[1], os.W_OK)}))
"""


class Ears:
    """Hears connections and datagrams on ports of this machine, until it is closed.

    Args:
        places: Addresses of this machine.
        port: Where connections are waited for; datagrams are waited for where names are asked for.
    """

    def __init__(self, places: list[str], *, port: int) -> None:
        self.heard: list[str] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        for place in places:
            listener = socket.create_server((place, port))
            self._begin(listener, lambda sock: sock.accept()[0].close(), f"tcp {place}")
            resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with suppress(OSError):  # somebody else's resolver: then that one would hear it
                resolver.bind((place, 53))
                self._begin(resolver, lambda sock: sock.recvfrom(512), f"udp {place}")

    def close(self) -> None:
        """Hear no more."""
        self._over.set()
        for thread in self._threads:
            thread.join(5)

    def _begin(self, sock: socket.socket, take: Any, word: str) -> None:
        sock.settimeout(0.1)
        thread = threading.Thread(target=self._listen, args=(sock, take, word), name="ears")
        self._threads.append(thread)
        thread.start()

    def _listen(self, sock: socket.socket, take: Any, word: str) -> None:
        with sock:
            while not self._over.is_set():
                with suppress(TimeoutError):
                    take(sock)
                    self.heard.append(word)


def tell(shell: Shell, program: str, *arguments: object) -> Any:
    """Have a program run in a shell, and return what it tells."""
    result = shell.execute(["python3", "-c", program, *map(str, arguments)])
    assert result.ok, result.text
    return json.loads(result.text)


@contextmanager
def bridge(client: docker.DockerClient) -> Iterator[Any]:
    """A network as most containers have one, in which this machine has an address."""
    network = client.networks.create(f"walls-{os.getpid()}", driver="bridge")
    try:
        network.reload()
        yield network
    finally:
        network.remove()


@contextmanager
def neighbour(client: docker.DockerClient, command: list[str], **options: Any) -> Iterator[Any]:
    """A container in a network."""
    container = client.containers.run(
        image_tag(),
        command,
        entrypoint=["/usr/bin/python3"],
        labels={labels.OWNER: current_owner()},
        detach=True,
        **options,
    )
    try:
        yield container
    finally:
        container.remove(force=True)


@pytest.fixture
def shell() -> Iterator[Shell]:
    with Shell(limits=SMALL) as shell:
        yield shell


def test_n1_n2_nothing_and_nobody_can_be_reached(
    client: docker.DockerClient, record_property: Callable[[str, object], None]
) -> None:
    serve = "import socket; s = socket.create_server(('0.0.0.0', 8000))\nwhile True: s.accept()[0].close()"
    with ExitStack() as stack:
        network = stack.enter_context(bridge(client))
        gateway = str(network.attrs["IPAM"]["Config"][0]["Gateway"])
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        ears = stack.enter_context(closing(Ears(["127.0.0.1", gateway], port=port)))
        other = stack.enter_context(neighbour(client, ["-c", serve], network=network.name))
        other.reload()
        beside = str(other.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"])
        places = f"{gateway},{beside},169.254.169.254,1.1.1.1,10.0.0.1,192.168.0.1"
        names = "canary-one.example.com,canary-two.internal,host.docker.internal"
        with Shell() as shell:
            seen = tell(shell, CALLER, port, names, places)
        assert seen["interfaces"] == ["lo"]
        assert seen["routes"] == seen["routes6"] == 0
        assert set(seen["tcp"].values()) == set(seen["udp"].values()) == {"ENETUNREACH"}
        assert seen["udp6"] in {"ENETUNREACH", "EADDRNOTAVAIL"}
        assert set(seen["names"].values()) == {"no name"}
        assert set(seen["servers"].values()) <= {"ENETUNREACH", "ECONNREFUSED"}  # its own loopback, where nobody is
        assert ears.heard == []
        # The same from a container that has a network is heard, so that the silence means something.
        with neighbour(client, ["-c", CALLER, str(port), names, gateway], network=network.name) as control:
            control.wait(timeout=60)
            heard = json.loads(control.logs(stdout=True, stderr=False))
        assert heard["tcp"] == {gateway: "ok"}
        wait_until(lambda: {f"tcp {gateway}", f"udp {gateway}"} <= set(ears.heard), 5)
    record_property("N2", f"{len(seen['names'])} lookups fail, 0 queries heard")
    record_property("N1", f"{len(seen['tcp']) + len(seen['udp'])} of as many attempts: ENETUNREACH")


def test_h3_only_four_places_can_be_written_and_each_is_memory(
    shell: Shell, record_property: Callable[[str, object], None]
) -> None:
    mounts = tell(shell, MOUNTS)
    places = {place: kind for place, kind in mounts.items() if not place.startswith(("/dev/pts", "/proc/"))}
    devices = {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom"}
    assert set(places) - devices - {"/dev/mqueue", "/proc"} == WRITABLE
    assert {places[place] for place in WRITABLE} == {"tmpfs"}
    tries = ["/", "/usr", "/etc", "/opt", "/var", "/run", "/dev", "/proc", "/sys", "/sys/fs/cgroup"]
    for place in tries:
        assert not shell.execute(f"touch {place}/probe").ok, place
    record_property("H3", f"{len(tries)} other places refuse; can be written: {', '.join(sorted(WRITABLE))}")


def test_h4_a_fork_bomb_stays_below_its_limit_and_ends_at_once(
    client: docker.DockerClient, record_property: Callable[[str, object], None]
) -> None:
    with Shell(limits=Limits(pids=64)) as shell:
        assert shell.execute("true").ok
        (container,) = client.containers.list(filters={"name": f"langchain-sandbox-{shell.run_id}"})
        most: list[int] = []
        over = threading.Event()

        def count() -> None:
            while not over.is_set():
                with suppress(Exception):
                    most.append(len(client.api.top(container.id)["Processes"]))

        counting = threading.Thread(target=count, name="counting")
        counting.start()
        began = time.monotonic()
        result = shell.execute(":(){ :|:& };:; sleep 600", timeout=3)
        took = time.monotonic() - began
        over.set()
        counting.join()
        assert not result.ok
        assert 30 < max(most) <= 64
        assert took < 3 + 5
        assert shell.execute("echo alive").text == "alive\n"
    record_property("H4", f"at most {max(most)} processes of 64, ended {took - 3:.1f} s after its time was up")


def test_h6_every_place_is_full_at_its_limit_by_bytes_and_by_files(
    shell: Shell, record_property: Callable[[str, object], None]
) -> None:
    before = os.statvfs("/").f_bavail
    seen = tell(shell, FILLER, "/tmp", "/run/home", "/run/ws/repo", "/dev/shm")
    limits = {"/tmp": 8 * MIB, "/run/home": 8 * MIB, "/run/ws/repo": 8 * MIB, "/dev/shm": 64 * MIB}
    for folder, limit in limits.items():
        assert seen[folder]["bytes"] == "ENOSPC", folder
        assert limit / 2 < seen[folder]["size"] <= limit, folder
    for folder, count in (("/tmp", 50_000), ("/run/home", 50_000), ("/run/ws/repo", 2_000), ("/dev/shm", 50_000)):
        assert seen[folder]["files"] == "ENOSPC", folder
        assert seen[folder]["count"] <= count, folder
    assert before - os.statvfs("/").f_bavail < 128 * MIB / os.statvfs("/").f_frsize
    record_property(
        "H6",
        "; ".join(
            f"{folder}: ENOSPC after {told['size'] / MIB:.0f} MiB, {told['count']} files"
            for folder, told in seen.items()
        ),
    )


def test_h7_a_flood_of_words_takes_no_disk_and_little_memory(
    client: docker.DockerClient, record_property: Callable[[str, object], None]
) -> None:
    with Shell() as shell:
        assert shell.execute("true").ok
        (container,) = client.containers.list(filters={"name": f"langchain-sandbox-{shell.run_id}"})
        before = resident()
        result = shell.execute("yes", timeout=4)
        assert not result.ok
        assert len(result.text) <= 2 * MIB
        grown = resident() - before
        assert grown < 32 * MIB
        assert container.attrs["LogPath"] == ""
        assert shell.execute("echo first after it").text == "first after it\n"
    record_property("H7", f"{max(0, grown) / MIB:.0f} MiB of memory, no log file")


def test_h9_what_docker_bench_asks_of_a_container(
    client: docker.DockerClient, record_property: Callable[[str, object], None]
) -> None:
    with Shell() as shell:
        assert shell.execute("true").ok
        inspected = client.api.inspect_container(f"langchain-sandbox-{shell.run_id}")
        verdicts = read_section_5(
            inspected,
            info=client.info(),
            processes=client.api.top(inspected["Id"])["Processes"],
            bridged=set(client.networks.get("bridge").attrs["Containers"]),
        )
    warned = {check for check, verdict in verdicts.items() if verdict == "warn"}
    # A container that lives for one task needs no check of its health; AppArmor is the machine's to have.
    assert warned <= {"5.2 an AppArmor profile is on", "5.27 health is checked"}
    passed = list(verdicts.values()).count("pass")
    assert passed >= 26
    record_property("H9", f"{passed} of {len(verdicts)} pass, {len(warned)} warn: {', '.join(sorted(warned))}")


def resident() -> int:
    """Bytes that this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_h8_an_engine_that_ignores_limits_is_refused_unless_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, repository: Path, record_property: Callable[[str, object], None]
) -> None:
    """The containers are real; that their limits are missing is what an engine does that ignores them."""
    build = engine.build_host_config

    def forget(limits: Limits, **options: Any) -> dict[str, Any]:
        return build(limits, **options) | {"Memory": 0, "MemorySwap": 0, "PidsLimit": 0}

    monkeypatch.setattr(engine, "build_host_config", forget)
    with ScriptedModel([say("Done.")]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        with pytest.raises(
            SandboxUnavailableError, match=r"takes limits and ignores them: processes .* memory"
        ) as caught:
            sandbox.run("Work.")
        assert model.requests == []
        result = Sandbox(model=model.endpoint, workspace=repository, allow_ignored_limits=True).run("Work.")
    assert "SANDBOX_ALLOW_IGNORED_LIMITS=1" in str(caught.value)
    assert result.ok
    assert any("One run could take the machine down" in warning for warning in result.warnings)
    monkeypatch.setenv("SANDBOX_ALLOW_IGNORED_LIMITS", "")
    with Shell() as shell, pytest.raises(SandboxUnavailableError, match="ignores them"):
        shell.execute("true")
    record_property("H8", "refused, and the message names processes and memory; with a warning where it is allowed")
