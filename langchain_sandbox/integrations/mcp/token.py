"""The token that clients of the HTTP server need."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.integrations.mcp.guard import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "SANDBOX_MCP_TOKEN"

_TOKEN = re.compile(r"[!-~]{16,4096}")


def find_token(file: Path | None, environ: Mapping[str, str]) -> str | None:
    """The token that was given, in a file or else in `SANDBOX_MCP_TOKEN`; `None` if none was.

    Args:
        file: The file that holds it and nothing else.
        environ: Where to look for the variable.

    Raises:
        SandboxConfigError: If it cannot be read, or will not do.
    """
    if file is not None:
        try:
            given, place = file.read_text(encoding="utf-8").strip(), str(file)
        except (OSError, ValueError) as error:
            msg = f"The token file {file} cannot be read: {error}."
            raise SandboxConfigError(msg) from error
    else:
        given, place = environ.get(VARIABLE, "").strip(), VARIABLE
        if not given:
            return None
    if not _TOKEN.fullmatch(given):
        msg = f"The token in {place} has to have 16 or more printable ASCII characters and no spaces."
        raise SandboxConfigError(msg)
    return given


def make_token(host: str) -> str:
    """A token for a server that was given none.

    Args:
        host: Where it listens.

    Raises:
        SandboxConfigError: If others than this machine can reach it: then its operator has to choose who may.
    """
    if not is_loopback(host):
        msg = f"--host {host} can be reached from other machines; give a token with --token-file or {VARIABLE}."
        raise SandboxConfigError(msg)
    return secrets.token_urlsafe(32)
