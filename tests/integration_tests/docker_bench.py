"""Section 5 of docker-bench-security (CIS Docker Benchmark 1.6, "Container Runtime"), read over one container.

The script is a shell program that asks the docker command. These are its 32 questions in its order and by its rules,
put to the same answers of the engine. It passes, warns, or only notes what nobody can tell from outside.
"""

from __future__ import annotations

import re
from typing import Any, Literal

Verdict = Literal["pass", "warn", "note"]

_SENSITIVE = {"/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"}
# Those that the engine gives to every container anyway.
_USUAL_CAPABILITIES = re.compile(
    r"(?:CAP_)?(?:AUDIT_WRITE|CHOWN|DAC_OVERRIDE|FOWNER|FSETID|KILL|MKNOD|NET_BIND_SERVICE|NET_RAW|SETFCAP|SETGID"
    r"|SETPCAP|SETUID|SYS_CHROOT)"
)
_LAST_PRIVILEGED_PORT = 1024
_MOST_RESTARTS = 5


def read_section_5(
    inspected: dict[str, Any], *, info: dict[str, Any], processes: list[list[str]], bridged: set[str]
) -> dict[str, Verdict]:
    """Every question, and what becomes of it.

    Args:
        inspected: What the engine says of the container.
        info: What the engine says of itself.
        processes: What runs in it, as the engine's `top` lists it.
        bridged: The containers in the network of `docker0`.
    """
    host = inspected["HostConfig"]
    options = host.get("SecurityOpt") or []
    ports = [each for found in (inspected["NetworkSettings"].get("Ports") or {}).values() for each in found or []]
    mounts = inspected.get("Mounts") or []
    added = [each for each in host.get("CapAdd") or [] if not _USUAL_CAPABILITIES.fullmatch(each.upper())]
    return {
        "5.1 swarm mode is not on": _judge(info["Swarm"]["LocalNodeState"] == "inactive"),
        "5.2 an AppArmor profile is on": _judge(inspected.get("AppArmorProfile") not in {None, "", "unconfined"}),
        # The script asks for any security option here, of SELinux or not.
        "5.3 SELinux options are set": _judge(bool(options)),
        "5.4 capabilities are restricted": _judge(not added),
        "5.5 it is not privileged": _judge(not host["Privileged"]),
        "5.6 no sensitive folder of the host": _judge(
            not any(each.get("RW") and {each.get("Source"), each.get("Destination")} & _SENSITIVE for each in mounts)
        ),
        "5.7 no sshd": _judge(not any("sshd" in word for row in processes for word in row)),
        "5.8 no privileged port": _judge(not any(int(each["HostPort"]) <= _LAST_PRIVILEGED_PORT for each in ports)),
        "5.9 only needed ports": _judge(not ports),
        "5.10 not the host's network": _judge(host["NetworkMode"] != "host"),
        "5.11 memory is limited": _judge(host["Memory"] != 0),
        "5.12 processor time is limited": _judge(host["CpuShares"] != 0 or host["NanoCpus"] != 0),
        "5.13 the root file system is read-only": _judge(host["ReadonlyRootfs"]),
        "5.14 ports are bound to one interface": _judge(not any(each["HostIp"] == "0.0.0.0" for each in ports)),
        "5.15 it is restarted five times at most": _judge(host["RestartPolicy"]["MaximumRetryCount"] <= _MOST_RESTARTS),
        "5.16 not the host's processes": _judge(host["PidMode"] != "host"),
        "5.17 not the host's IPC": _judge(host["IpcMode"] != "host"),
        "5.18 no device of the host": _judge(not host.get("Devices")),
        "5.19 its ulimits are its own": _judge(bool(host.get("Ulimits"))),
        "5.20 mounts are not shared": _judge(not any("shared" in each.get("Propagation", "") for each in mounts)),
        "5.21 not the host's UTS": _judge(host["UTSMode"] != "host"),
        "5.22 seccomp is not off": _judge(not any(re.search("seccomp[:=]unconfined", option) for option in options)),
        "5.23 no privileged exec": "note",
        "5.24 no exec as root": "note",
        "5.25 its cgroup is the usual one": _judge(not host["CgroupParent"]),
        "5.26 no new privileges": _judge(any("no-new-privileges" in option for option in options)),
        "5.27 health is checked": _judge("Health" in inspected["State"]),
        "5.28 the image is the latest": "note",
        "5.29 processes are limited": _judge(host["PidsLimit"] not in {None, 0, -1}),
        "5.30 not the default bridge": _judge(inspected["Id"] not in bridged),
        "5.31 not the host's users": _judge("host" not in host["UsernsMode"]),
        "5.32 no engine's socket": _judge("docker.sock" not in str(mounts)),
    }


def _judge(passed: bool) -> Verdict:  # noqa: FBT001 - what is judged
    return "pass" if passed else "warn"
