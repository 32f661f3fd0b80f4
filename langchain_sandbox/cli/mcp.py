"""`langchain-sandbox mcp`: the tools for Claude Code, Codex and other hosts of the Model Context Protocol."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.cli.options import add_command, add_common_options
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import COMPLETED

if TYPE_CHECKING:
    import argparse

    from langchain_sandbox.config import ModelEndpoint
    from langchain_sandbox.integrations.mcp.settings import ServerSettings

_HOST = "127.0.0.1"
_PORT = 8765
_DESCRIPTION = """\
Serve the sandbox's tools by the Model Context Protocol, on standard input and output for a host that starts this
command, or over HTTP. The page docs/mcp.md says how each host is told of it, and what the policies mean.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "mcp",
        summary="serve the tools to an MCP host such as Claude Code or Codex",
        description=_DESCRIPTION,
        examples="""
            claude mcp add sandbox -- langchain-sandbox mcp --workspace .   # Claude Code starts it then
            langchain-sandbox mcp --workspace . --changes review            # asks before it changes the folder
            langchain-sandbox mcp --http --workspace . --token-file FILE    # for Open WebUI, and for other machines
        """,
    )
    add_common_options(parser)
    parser.add_argument("--timeout", metavar="SECONDS", help="how long a run may take (SANDBOX_TIMEOUT, else 300)")
    parser.add_argument(
        "--changes",
        choices=("return", "review", "apply", "discard"),
        help="what becomes of a completed run's changes: given back as a patch, applied after the user has agreed, "
        "applied, or dropped (SANDBOX_CHANGES, else return)",
    )
    for name, meaning in (("include", "offer only the tools of these names"), ("exclude", "leave these tools out")):
        parser.add_argument(
            f"--{name}", metavar="PATTERN", action="append", help=f"{meaning}, such as 'team/*'; may be repeated"
        )
    http = parser.add_argument_group("over HTTP")
    http.add_argument("--http", action="store_true", help="serve streamable HTTP; needs --workspace")
    http.add_argument("--host", default=_HOST, help=f"where to listen; others than loopback need a token ({_HOST})")
    http.add_argument("--port", type=int, default=_PORT, help=f"where to listen; 0 for any free port ({_PORT})")
    http.add_argument(
        "--token-file", metavar="FILE", type=Path, help="holds the token that clients need (else SANDBOX_MCP_TOKEN)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until the host goes, or until a signal comes."""
    from langchain_sandbox.integrations.mcp import require_mcp  # noqa: PLC0415 - loads LangChain

    require_mcp()
    settings = _read_settings(options)
    if options.http:
        _serve_http(options, settings)
    else:
        from langchain_sandbox.integrations.mcp.stdio import serve_stdio  # noqa: PLC0415 - loads the SDK

        serve_stdio(settings)
    return COMPLETED


def _read_settings(options: argparse.Namespace) -> ServerSettings:
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - loads LangChain
    from langchain_sandbox.integrations.mcp.settings import ServerSettings  # noqa: PLC0415 - as above
    from langchain_sandbox.workspace_config import Workspace  # noqa: PLC0415 - as above

    chosen = options.workspace or os.environ.get("SANDBOX_WORKSPACE") or None
    if chosen is None and options.http:
        msg = "--http needs --workspace: clients elsewhere may not choose a folder of this machine."
        raise SandboxConfigError(msg)
    folder = Workspace.of(chosen if chosen is not None else Path.cwd())
    return ServerSettings(
        workspace=folder if chosen is not None else None,
        fallback=folder,
        model=_find_model(options.model),
        image=options.image,
        runtime=options.runtime,
        timeout=options.timeout,
        changes=options.changes,
        include=options.include,
        exclude=options.exclude,
    )


def _find_model(address: str | None) -> ModelEndpoint | None:
    """The model server; `None` if none is configured: then the server starts, and each call says so."""
    from langchain_sandbox.config import ModelEndpoint  # noqa: PLC0415 - loads LangChain

    environ = dict(os.environ)
    if address is not None:
        environ["SANDBOX_MODEL_BASE_URL"] = address
    return ModelEndpoint.from_env(environ) if environ.get("SANDBOX_MODEL_BASE_URL") else None


def _serve_http(options: argparse.Namespace, settings: ServerSettings) -> None:
    from langchain_sandbox.integrations.mcp.http import serve_http  # noqa: PLC0415 - loads the SDK
    from langchain_sandbox.integrations.mcp.token import find_token, make_token  # noqa: PLC0415 - as above

    token = find_token(options.token_file, os.environ)
    if token is None:
        token = make_token(options.host)
        say(f"Clients need this token, which is good until the server stops: {token}")
    serve_http(settings, host=options.host, port=options.port, token=token)
