"""The check of the OCI runtime: which one runs are under, and which others there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.engine.docker import find_dialect
from langchain_sandbox.engine.runtimes import check_runtime, default_runtime, other_runtimes
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


def look_at_runtime(known: Known) -> Finding:
    """Whether the engine has the runtime that runs ask for."""
    return judge_runtime(known.runtime, known.version, known.info)


def judge_runtime(name: str | None, version: Mapping[str, Any], info: Mapping[str, Any]) -> Finding:
    """Say which runtime containers run under.

    Args:
        name: The one that is asked for; `None` for the engine's default.
        version: The engine's answer to `/version`.
        info: The engine's words on itself.
    """
    default = default_runtime(info)
    if find_dialect(version) == "podman":
        message = f"Containers run under {default}: Podman's service has one runtime for all."
        if name in {None, default}:
            return Finding("runtime", "ok", message)
        remedy = f"Unset SANDBOX_RUNTIME, or start the service with it: `podman --runtime {name} system service`."
        return Finding("runtime", "error", f"{message} It cannot be asked for {name!r}.", remedy)
    try:
        runtime = check_runtime(name, info)
    except SandboxConfigError as error:
        return Finding("runtime", "error", str(error))
    others = [each for each in (default, *other_runtimes(info)) if each and each != runtime]
    offers = f"The engine also has {', '.join(others)}." if others else "The engine has no other."
    chosen = "the engine's default" if runtime == default else "as it was asked for"
    return Finding("runtime", "ok", f"Containers run under {runtime or 'a runtime without a name'}, {chosen}. {offers}")
