"""OpenCode's own screen, on a terminal, in the same container without network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from langchain_sandbox.agent import children
from langchain_sandbox.agent.endpoint import Endpoint
from langchain_sandbox.agent.opencode import BINARY, REPOSITORY, build_config, build_environment, write_config
from langchain_sandbox.compose.line import Lifeline
from langchain_sandbox.compose.mount import close_gate
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.compose.line import Failure

_TERMINAL = ("TERM", "COLORTERM", "LANG", "LC_ALL")


def run(environ: Mapping[str, str]) -> int:
    """Hold the terminal until the user leaves; returns OpenCode's exit code.

    Raises:
        SandboxConfigError: If there is no terminal, no gateway, or no model.
    """
    if not (os.isatty(0) and os.isatty(1)):
        msg = (
            "There is no TASK and no terminal. Set TASK, or start it with a terminal: docker compose run --rm opencode"
        )
        raise SandboxConfigError(msg)
    failures: list[Failure] = []
    lifeline = Lifeline(on_failure=failures.append, on_call=_ignore, on_end=_ignore)
    if not lifeline.open(None):
        msg = f"The model cannot be used: {failures[0].message if failures else 'the gateway does not say why'}."
        raise SandboxConfigError(msg)
    close_gate(environ, "direct")
    children.start_reaper()
    endpoint = Endpoint(lifeline.wire)
    lifeline.on_model = endpoint.on_event
    endpoint.start()
    model = lifeline.model or {}
    config = build_config(context=int(model["context"]), output=int(model["output"]))
    del config["permission"]  # somebody is there to be asked
    environment = build_environment(config=write_config(config), password="")
    del environment["OPENCODE_SERVER_PASSWORD"]
    environment |= {name: environ[name] for name in _TERMINAL if environ.get(name)}
    screen = children.spawn([BINARY], cwd=REPOSITORY, env=environment, stdin=0, stdout=1, stderr=2, session="ours")
    code = children.wait(screen)
    children.kill_all()
    return code if code is not None and code >= 0 else 1


def _ignore(_: object) -> None:
    """Nobody watches: the user sees for themselves."""
