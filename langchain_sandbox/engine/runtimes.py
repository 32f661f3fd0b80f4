"""Which OCI runtime a container runs under: what an engine offers, and what it made of a wish. Pure.

An engine may take a wish for a runtime and not heed it: Podman's service runs everything under its own one. So what
was made is looked at before it is started, and thrown away if it has another wall than the one that was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# A containerd shim goes by its own name, without having been registered.
_SHIM = "io.containerd."


def default_runtime(info: Mapping[str, Any]) -> str:
    """The runtime that containers have where none is asked for; empty where the engine does not say.

    Args:
        info: The engine's words on itself.
    """
    return str(info.get("DefaultRuntime") or "")


def other_runtimes(info: Mapping[str, Any]) -> list[str]:
    """What the engine offers besides, by the names that it knows them by.

    Args:
        info: The engine's words on itself.
    """
    names = {str(name) for name in info.get("Runtimes") or {}}
    return sorted(name for name in names - {default_runtime(info)} if not name.startswith(_SHIM))


def check_runtime(name: str | None, info: Mapping[str, Any]) -> str:
    """The runtime that a container gets.

    Args:
        name: The one that is asked for; `None` for the engine's default.
        info: The engine's words on itself.

    Raises:
        SandboxConfigError: If the engine has none of that name.
    """
    default, others = default_runtime(info), other_runtimes(info)
    if name is None:
        return default
    if name != default and name not in others and not name.startswith(_SHIM):
        has = ", ".join(filter(None, [f"{default} (its default)" if default else "", *others]))
        msg = (
            f"The engine knows no runtime {name!r}; it has: {has or 'none that it names'}. Docker is told of one in "
            f'/etc/docker/daemon.json, `{{"runtimes": {{"{name}": {{"path": "/usr/bin/{name}"}}}}}}`, and restarted. '
            "See docs/stronger-walls.md."
        )
        raise SandboxConfigError(msg)
    return name


def check_made(name: str, container: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Refuse a container that was made under another runtime than the one that was asked for.

    Args:
        name: The one that was asked for.
        container: The engine's words on the container.
        info: The engine's words on itself.

    Raises:
        SandboxConfigError: If it was, or if the engine does not say.
    """
    default = default_runtime(info)
    told = str((container.get("HostConfig") or {}).get("Runtime") or "")
    if name in {told, default}:
        return
    msg = (
        f"The engine was asked for the runtime {name!r} and did not heed it; it runs all containers under "
        f"{default or told!r}. Podman's service has one runtime, that it is started with: "
        f"`podman --runtime {name} system service`. See docs/stronger-walls.md."
    )
    raise SandboxConfigError(msg)
