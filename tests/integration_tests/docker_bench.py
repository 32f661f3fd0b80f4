"""Section 5 of docker-bench-security (CIS Docker Benchmark, "Container Runtime"), read over one container.

The script itself is a shell program that asks the docker command; these are its questions, put to the same answers.
"""

from __future__ import annotations

from typing import Any

_SENSITIVE = {"/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"}


def read_section_5(inspected: dict[str, Any], *, processes: list[list[str]]) -> dict[str, bool]:
    """Every question, and whether the container passes.

    Args:
        inspected: What the engine says of it.
        processes: What runs in it, as the engine's `top` lists it.
    """
    host, config, networks = inspected["HostConfig"], inspected["Config"], inspected["NetworkSettings"]
    options = host.get("SecurityOpt") or []
    published = [each for each in (networks.get("Ports") or {}).values() if each]
    sources = [mount.get("Source", "") for mount in inspected["Mounts"]]
    words = [" ".join(row) for row in processes]
    ulimits = {each["Name"] for each in host.get("Ulimits") or []}
    return {
        "5.1 AppArmor": bool(inspected.get("AppArmorProfile")) and "apparmor=unconfined" not in options,
        "5.2 SELinux": any(option.startswith("label") for option in options),
        "5.3 no capability is added": not host.get("CapAdd"),
        "5.4 it is not privileged": not host["Privileged"],
        "5.5 no sensitive folder of the host": not _SENSITIVE & set(sources),
        "5.6 no sshd": not any("sshd" in word for word in words),
        "5.7 no privileged port": not any(int(each[0]["HostPort"]) < 1024 for each in published),
        "5.8 only needed ports": not published,
        "5.9 not the host's network": host["NetworkMode"] != "host",
        "5.10 memory is limited": host["Memory"] > 0,
        "5.11 processor time is limited": host.get("NanoCpus", 0) > 0 or host.get("CpuShares", 0) > 0,
        "5.12 the root file system is read-only": host["ReadonlyRootfs"],
        "5.13 ports are bound to one interface": not any(each[0]["HostIp"] == "0.0.0.0" for each in published),
        "5.14 it is restarted five times at most": host["RestartPolicy"]["Name"] != "always",
        "5.15 not the host's processes": host.get("PidMode") != "host",
        "5.16 not the host's IPC": host.get("IpcMode") != "host",
        "5.17 no device of the host": not host.get("Devices"),
        "5.18 its ulimits are its own": bool(ulimits),
        "5.19 mounts are not shared": not any(mount.get("Propagation") == "shared" for mount in inspected["Mounts"]),
        "5.20 not the host's UTS": host.get("UTSMode") != "host",
        "5.21 seccomp is not off": "seccomp=unconfined" not in options,
        "5.24 its cgroup is the usual one": not host.get("CgroupParent"),
        "5.25 no new privileges": any(option.startswith("no-new-privileges") for option in options),
        "5.26 health is checked": (config.get("Healthcheck") or {}).get("Test", ["NONE"]) != ["NONE"],
        "5.28 processes are limited": (host.get("PidsLimit") or 0) > 0,
        "5.29 not the default bridge": host["NetworkMode"] not in {"bridge", "default"},
        "5.30 not the host's users": host.get("UsernsMode") != "host",
        "5.31 no engine's socket": not any(source.endswith("docker.sock") for source in sources),
    }
