"""Plain, typed options: which model, which limits. Imports nothing of ours but the errors."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

ChangesPolicy = Literal["return", "review", "apply", "discard"]
"""What becomes of a run's changes: given back as a patch, given back for someone to decide, put into the workspace
too if the run completed, or dropped."""

TraceLevel = Literal["off", "metadata", "full"]
"""What tracers are told of a run: nothing; that there were calls, by which tools and models, how long and how they
ended; or what was said in them, too."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

MAX_TASK = 4 * MIB
"""Bytes that a task may have."""
DEFAULT_TIMEOUT = 300.0
"""Seconds that a run may take, where nobody says otherwise."""

_RUNTIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_KEY = re.compile(r"[!-~]+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgt]?)i?b?")
_SIZES = ("memory", "workspace", "workspace_file", "home", "tmp", "changes")
_WHOLE = {"pids", "workspace_files", "model_calls", "tokens", "repeats"}

_UNITS = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1024 * GIB}


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """An OpenAI-compatible model server, as vLLM serves it.

    Args:
        base_url: Address of the server, with or without the trailing `/v1`.
        name: Model to ask for. `None` takes the one that `/v1/models` serves.
        api_key: Sent by the host as a bearer token. It never enters the container.
        max_concurrency: Requests that it is sent at once at most, by all runs of this process with the same `base_url`
            together; others wait, and get their turn in the order in which they came. `None` for no limit.

    Raises:
        SandboxConfigError: If `base_url` is not an http or https address, or another value cannot work.

    Example:
        ```python
        ModelEndpoint("http://127.0.0.1:8000/v1", name="Qwen/Qwen3-Coder-30B-A3B-Instruct")
        ```
    """

    base_url: str
    name: str | None = None
    api_key: str | None = field(default=None, repr=False)
    max_concurrency: int | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            msg = f"The model's base_url {self.base_url!r} is not an address: {error}."
            raise SandboxConfigError(msg) from error
        if parts.scheme not in {"http", "https"} or not host:
            msg = (
                f"The model's base_url must look like http://127.0.0.1:8000/v1, not {self.base_url!r}. "
                "It is the address of an OpenAI-compatible server such as vLLM."
            )
            raise SandboxConfigError(msg)
        if not _HOST.fullmatch(host):
            msg = f"The model's base_url {self.base_url!r} names no host; write international names as xn--…."
            raise SandboxConfigError(msg)
        if self.api_key is not None and not _KEY.fullmatch(self.api_key):
            msg = "The model's api_key must be printable ASCII without spaces; look for a line break at its end."
            raise SandboxConfigError(msg)
        if parts.username or parts.password:
            msg = "Give the model's key as api_key (or SANDBOX_MODEL_API_KEY), not inside base_url."
            raise SandboxConfigError(msg)
        most = self.max_concurrency
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            msg = f"The model's max_concurrency is a positive number of requests, or None for no limit, not {most!r}."
            raise SandboxConfigError(msg)
        path = parts.path.rstrip("/") or "/v1"
        object.__setattr__(self, "base_url", f"{parts.scheme}://{parts.netloc}{path}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read `SANDBOX_MODEL_BASE_URL`, `SANDBOX_MODEL_NAME`, `_API_KEY` and `_MAX_CONCURRENCY`.

        Args:
            environ: Where to read; the process environment by default.

        Raises:
            SandboxConfigError: If `SANDBOX_MODEL_BASE_URL` is not set, or a value cannot work.
        """
        environ = os.environ if environ is None else environ
        base_url = environ.get("SANDBOX_MODEL_BASE_URL")
        if not base_url:
            msg = (
                "No model endpoint is configured. Set SANDBOX_MODEL_BASE_URL, for example to "
                "http://127.0.0.1:8000/v1, or pass Sandbox(model=ModelEndpoint(...))."
            )
            raise SandboxConfigError(msg)
        return cls(
            base_url,
            environ.get("SANDBOX_MODEL_NAME") or None,
            environ.get("SANDBOX_MODEL_API_KEY") or None,
            read_max_concurrency(environ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use. Sizes are bytes, or text such as `"2g"` and `"512m"`.

    The three tmpfs sizes count as memory in the kernel, so the container's memory limit is `memory` plus
    their sum: a big repository must not look like a process out of memory.

    Args:
        memory: For the processes in the container; there is no swap.
        cpus: Cores, as a share of time.
        pids: Processes and threads.
        workspace: Size of the repository's copy in the container, history included.
        workspace_files: Files and folders in that copy.
        workspace_file: Size of a single file in it.
        home: Size of the home folder (OpenCode's database and logs).
        tmp: Size of `/tmp`.
        changes: Bytes of changed files that are taken out of the container.
        model_calls: Model calls in one run; more ends it as `budget_exceeded`. `None` for no limit.
        tokens: Prompt and completion tokens in one run, as the server counts them. `None` for no limit.
        repeats: How often the agent may do the same with the same result, one after the other (one step, or a circle of
            up to four), before the run ends as `loop`. `None` for as often as it likes.
        first_byte: Seconds that the model may take before a call's first byte.
        idle: Seconds that the model may pause inside an answer.

    Raises:
        SandboxConfigError: If a value is not positive or cannot be read.

    Example:
        ```python
        Limits(memory="4g", cpus=4, model_calls=50)
        ```
    """

    memory: int | str = 2 * GIB
    cpus: float = 2.0
    pids: int = 256
    workspace: int | str = GIB
    workspace_files: int = 200_000
    workspace_file: int | str = 512 * MIB
    home: int | str = 512 * MIB
    tmp: int | str = 512 * MIB
    changes: int | str = 256 * MIB
    model_calls: int | None = 200
    tokens: int | None = None
    repeats: int | None = 12
    first_byte: float = 120.0
    idle: float = 60.0

    def __post_init__(self) -> None:
        for name in _SIZES:
            object.__setattr__(self, name, parse_bytes(name, getattr(self, name)))
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None and item.name in {"model_calls", "tokens", "repeats"}:
                continue
            whole = isinstance(value, int) or item.name not in _WHOLE
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf or not whole:
                kind = "positive whole number" if item.name in _WHOLE else "positive number"
                msg = f"Limits.{item.name} must be a {kind}, not {value!r}."
                raise SandboxConfigError(msg)

    def size(self, name: Literal["memory", "workspace", "workspace_file", "home", "tmp", "changes"]) -> int:
        """One of the sizes in bytes, whichever way it was written.

        Args:
            name: Which one.
        """
        return int(getattr(self, name))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read `SANDBOX_LIMIT_MEMORY`, `SANDBOX_LIMIT_CPUS` and so on, one per field.

        Args:
            environ: Where to read; the process environment by default.

        Raises:
            SandboxConfigError: If a value cannot be read; the message names the variable.
        """
        names = [item.name for item in fields(cls)]
        return cls(**read_values("SANDBOX_LIMIT", names, os.environ if environ is None else environ, sizes=_SIZES))


def read_max_concurrency(environ: Mapping[str, str]) -> int | None:
    """How many requests a model server is sent at once at most, as `SANDBOX_MODEL_MAX_CONCURRENCY` says it.

    Args:
        environ: Where to read.

    Raises:
        SandboxConfigError: If it is no whole number, nor `none`.
    """
    name = "SANDBOX_MODEL_MAX_CONCURRENCY"
    text = environ.get(name, "").strip()
    most = parse_number(name, text) if text else None
    if most is not None and (isinstance(most, float) or most < 1):
        msg = f"{name} is a positive number of requests, or none for no limit, not {text!r}."
        raise SandboxConfigError(msg)
    return most


def may_be_remote(environ: Mapping[str, str]) -> bool:
    """Whether `SANDBOX_ALLOW_REMOTE_MODEL` lets the model server be outside the user's network."""
    return _says_yes(environ, "SANDBOX_ALLOW_REMOTE_MODEL")


def may_ignore_limits(environ: Mapping[str, str]) -> bool:
    """Whether `SANDBOX_ALLOW_IGNORED_LIMITS` lets runs take place where the engine holds nobody to limits."""
    return _says_yes(environ, "SANDBOX_ALLOW_IGNORED_LIMITS")


def _says_yes(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() in {"1", "true", "yes"}


def choose_runtime(chosen: str | None, environ: Mapping[str, str]) -> str | None:
    """The name of the OCI runtime that containers are to run under, `None` for the engine's default.

    Args:
        chosen: What the caller says, which counts.
        environ: May say it with `SANDBOX_RUNTIME`.

    Raises:
        SandboxConfigError: If that is no name.
    """
    runtime = chosen or environ.get("SANDBOX_RUNTIME") or None
    if runtime is not None and not (isinstance(runtime, str) and _RUNTIME.fullmatch(runtime)):
        msg = f"runtime is the name of a runtime of the engine's, such as 'runsc', not {runtime!r:.100}."
        raise SandboxConfigError(msg)
    return runtime


def read_values(
    prefix: str, names: Iterable[str], environ: Mapping[str, str], *, sizes: Container[str]
) -> dict[str, Any]:
    """The options that environment variables set, one variable for each.

    Args:
        prefix: What the variables' names begin with.
        names: The options.
        environ: Where to read.
        sizes: Those among them that are sizes; the others are numbers.

    Raises:
        SandboxConfigError: If a value cannot be read; the message names the variable.
    """
    values: dict[str, Any] = {}
    for name in names:
        variable = f"{prefix}_{name.upper()}"
        text = environ.get(variable, "").strip()
        if text:
            values[name] = parse_bytes(variable, text) if name in sizes else parse_number(variable, text)
    return values


def parse_number(variable: str, text: str) -> int | float | None:
    """A number, or no limit, as an environment variable says it.

    Args:
        variable: Its name, for the message.
        text: Its value.

    Raises:
        SandboxConfigError: If it is neither.
    """
    if text.lower() == "none":
        return None
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        msg = f"{variable} must be a number, or none for no limit; it is {text!r}."
        raise SandboxConfigError(msg) from error


def parse_bytes(name: str, value: int | str) -> int:
    """A size in bytes, whichever way it is written.

    Args:
        name: What it is of, for the message.
        value: Bytes, or text such as `"512m"`.

    Raises:
        SandboxConfigError: If it cannot be read.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        msg = f"{name} must be a size in bytes or text such as '512m' or '2g', not {value!r}."
        raise SandboxConfigError(msg)
    return int(float(found[1]) * _UNITS[found[2]])
