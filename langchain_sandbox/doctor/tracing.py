"""The check of tracing: where LangSmith's client sends what tools and nodes are given and give back, if it does."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.gateway.rules import check_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.config import TraceLevel

_ENDPOINT = "https://api.smith.langchain.com"  # LangSmith's client's own default
_REMEDY = (
    "If they are not to leave this network, unset LANGSMITH_TRACING, set LANGSMITH_HIDE_INPUTS=true and "
    "LANGSMITH_HIDE_OUTPUTS=true, or give the client hide_content: docs/tracing.md."
)


def check_tracing(known: Known) -> Finding:
    """Whether LangSmith's tracing is switched on, and where traces go then."""
    return judge_tracing(os.environ, known.trace)


def judge_tracing(environ: Mapping[str, str], level: TraceLevel) -> Finding:
    """Say where traces go and what they hold.

    Args:
        environ: The environment, as LangSmith's client reads it.
        level: What tracers are told of what happens in a sandbox.
    """
    if (_read(environ, "TRACING_V2") or _read(environ, "TRACING")) != "true":
        return Finding("tracing", "ok", "LangSmith's tracing is off.")
    endpoint = _read(environ, "ENDPOINT") or _ENDPOINT
    hidden = all(_read(environ, name) == "true" for name in ("HIDE_INPUTS", "HIDE_OUTPUTS"))
    inside = {"off": "nothing", "metadata": "no content", "full": "what is said and done there, too"}[level]
    held = (
        "without inputs and outputs"
        if hidden
        else f"with tasks, answers and patches; of what happens inside a sandbox, {inside}"
    )
    message = f"LangSmith's tracing is on: traces go to {endpoint}, {held}."
    if hidden or not _is_remote(endpoint):
        return Finding("tracing", "ok", message)
    return Finding("tracing", "warning", message, _REMEDY)


def _read(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"LANGSMITH_{name}", "").strip() or environ.get(f"LANGCHAIN_{name}", "").strip()


def _is_remote(endpoint: str) -> bool:
    """Whether an address is outside loopback and private networks; so is one that cannot be found."""
    try:
        host = urlsplit(endpoint).hostname or ""
        check_addresses(host, {str(found[4][0]) for found in socket.getaddrinfo(host, None)})
    except (SandboxConfigError, OSError, ValueError):
        return True
    return False
