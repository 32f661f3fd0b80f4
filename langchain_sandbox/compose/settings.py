"""What the environment and the mounted project say: which model, which task, which of OpenCode's settings. Pure."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Literal, get_args

from langchain_sandbox.config import DEFAULT_TIMEOUT, ModelEndpoint, read_max_concurrency
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WorkspaceMode = Literal["copy", "direct"]
ChangesChoice = Literal["apply", "return", "discard"]

# Where the seed keeps its files, below the folder of the compose file; the first that is there counts.
CONFIG_PLACES = ("config/opencode.json", "config/opencode/opencode.json", "opencode.json")
AUTH_PLACES = ("config/auth.json", "data/opencode/auth.json", "auth.json")

_MAX_FILE = 1024 * 1024

# What a user's configuration may say of OpenCode itself. The rest is ours to say (provider, permissions), would wait
# for a network (plugins, MCP servers, sharing), or would run what a sandbox is there to keep in (formatters).
_KEPT = (
    "agent",
    "mode",
    "instructions",
    "command",
    "tools",
    "username",
    "compaction",
    "tool_output",
    "theme",
    "keybinds",
)
_AGENT_DROPPED = ("model", "permission", "provider")

_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def read_choice(environ: Mapping[str, str], variable: str, choices: Any) -> str:  # noqa: ANN401 - a Literal type
    """One of a few words; the first of them is the default.

    Raises:
        SandboxConfigError: If the variable says something else.
    """
    words: tuple[str, ...] = get_args(choices)
    value = environ.get(variable) or words[0]
    if value not in words:
        msg = f"{variable} is one of {', '.join(words)}, not {value!r}."
        raise SandboxConfigError(msg)
    return value


def read_timeout(environ: Mapping[str, str]) -> float:
    """`SANDBOX_TIMEOUT` in seconds, else 300.

    Raises:
        SandboxConfigError: If it is not a positive number.
    """
    text = environ.get("SANDBOX_TIMEOUT") or str(DEFAULT_TIMEOUT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        msg = f"SANDBOX_TIMEOUT is a positive number of seconds, not {text!r}."
        raise SandboxConfigError(msg)
    return seconds


def find_endpoint(environ: Mapping[str, str], project: Path) -> ModelEndpoint:
    """The model server: `SANDBOX_MODEL_*`, else the provider in the seed's own `opencode.json` and `auth.json`.

    Args:
        environ: The environment.
        project: The folder of the compose file, mounted.

    Raises:
        SandboxConfigError: If neither names one.
    """
    if environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env(environ)
    config = read_json(project, CONFIG_PLACES)
    provider, _, model = str(config.get("model") or "").partition("/")
    options = _get(config, "provider", provider, "options")
    base_url = options.get("baseURL")
    if not isinstance(base_url, str):
        msg = (
            "No model server is named. Set SANDBOX_MODEL_BASE_URL, such as http://127.0.0.1:8000/v1, or put "
            f"a provider with its options.baseURL, and a model, into {CONFIG_PLACES[0]} beside the compose file."
        )
        raise SandboxConfigError(msg)
    key = options.get("apiKey") or _get(read_json(project, AUTH_PLACES), provider).get("key")
    name = _get(config, "provider", provider, "models", model).get("id") or model
    # A key that stands for a variable is not a key.
    usable = isinstance(key, str) and key and not key.startswith("{")
    return ModelEndpoint(
        base_url,
        str(name) or None,
        environ.get("SANDBOX_MODEL_API_KEY") or (key if usable else None),
        read_max_concurrency(environ),
    )


def adapt_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A user's OpenCode configuration with only what has a meaning in a sandbox that nobody watches."""
    kept = {key: config[key] for key in _KEPT if key in config}
    for group in ("agent", "mode"):
        agents = kept.get(group)
        if isinstance(agents, dict):
            kept[group] = {
                name: {key: value for key, value in agent.items() if key not in _AGENT_DROPPED}
                for name, agent in agents.items()
                if isinstance(agent, dict)
            }
    return kept


def print_adapted() -> None:
    """Read a configuration on standard input and write what is kept of it; for the entrypoint."""
    try:
        config = parse_json(sys.stdin.read(_MAX_FILE), CONFIG_PLACES[0])
    except (SandboxConfigError, UnicodeDecodeError) as error:
        sys.exit(f"error: {error}")
    json.dump(adapt_config(config), sys.stdout)


def read_json(project: Path, places: tuple[str, ...]) -> dict[str, Any]:
    """The first of some files that is there; nothing if none is.

    Raises:
        SandboxConfigError: If it is there and is not a JSON object.
    """
    for place in places:
        path = project / place
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:  # the agent may have written it, see OPENCODE_DATA
                text = file.read(_MAX_FILE).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{place} cannot be read: {error}. Make it readable for PUID={os.getuid()}."
            raise SandboxConfigError(msg) from error
        return parse_json(text, place)
    return {}


def parse_json(text: str, name: str) -> dict[str, Any]:
    """JSON as OpenCode takes it, with comments and trailing commas.

    Raises:
        SandboxConfigError: If it is not a JSON object.
    """
    plain = _TRAILING.sub(_keep_string, _COMMENT.sub(_keep_string, text))
    try:
        value = json.loads(plain)
    except (ValueError, RecursionError) as error:
        msg = f"{name} is not JSON: {error}."
        raise SandboxConfigError(msg) from error
    if not isinstance(value, dict):
        msg = f"{name} must hold a JSON object."
        raise SandboxConfigError(msg)
    return value


def _keep_string(match: re.Match[str]) -> str:
    return match[1] or ""


def _get(value: Any, *keys: str) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
