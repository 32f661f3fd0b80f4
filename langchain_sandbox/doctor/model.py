"""Checks of the model: that it answers, that it is clear which one is meant, its context, and its calls of tools."""

from __future__ import annotations

import os

import anyio

from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.doctor.probe import ask_for_a_call, judge_answer
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.gateway.rules import LEAST_CONTEXT
from langchain_sandbox.gateway.upstream import ModelNameError, UpstreamError, find_upstream

_CONTEXT_WANTED = 32 * 1024
_REMEDIES = {
    "model_unreachable": "Start the model server, or correct SANDBOX_MODEL_BASE_URL.",
    "http_401": "Set SANDBOX_MODEL_API_KEY to the key that the server was started with.",
    "http_403": "Set SANDBOX_MODEL_API_KEY to a key that may use the model.",
    "http_404": "Correct the path of SANDBOX_MODEL_BASE_URL: vLLM's ends with /v1.",
    "malformed_answer": "Set SANDBOX_MODEL_BASE_URL to a model server's OpenAI-compatible address, such as vLLM's /v1.",
}


def check_model(known: Known) -> Finding:
    """Whether a model server is configured and answers."""
    environ = dict(os.environ)
    if known.model is not None:
        environ["SANDBOX_MODEL_BASE_URL"] = known.model
    try:
        known.endpoint = endpoint = ModelEndpoint.from_env(environ)
        known.upstream = anyio.run(lambda: find_upstream(endpoint, allow_remote=known.allow_remote_model))
    except ModelNameError as error:
        known.served = error.served
    except SandboxConfigError as error:
        return Finding("model", "error", str(error))
    except UpstreamError as error:
        known.reached = error.code != "model_unreachable"
        remedy = _REMEDIES.get(error.code, "Look at the model server's log.")
        message = str(error)
        return Finding("model", "error", f"{message[:1].upper()}{message[1:]}.", remedy)
    known.reached = True
    return Finding("model", "ok", f"{endpoint.base_url} answers.")


def check_name(known: Known) -> Finding:
    """Whether it is clear which of the served models is meant."""
    if known.upstream is not None:
        return Finding("model-name", "ok", f"Runs use the model {known.upstream.model}.")
    if known.endpoint is None or not known.served:
        return Finding("model-name", "skipped", "No model server answers.")
    names = ", ".join(known.served)
    if known.endpoint.name is None:
        message = f"The server has {len(known.served)} models, and none is named: {names}."
        return Finding(
            "model-name", "error", message, f"Name one: `export SANDBOX_MODEL_NAME={known.served[0]}`, for example."
        )
    message = f"The server does not have the model {known.endpoint.name}; it has {names}."
    return Finding("model-name", "error", message, "Set SANDBOX_MODEL_NAME to one of these, or unset it.")


def check_context(known: Known) -> Finding:
    """Whether the model's context is long enough: OpenCode's own instructions take about 8k tokens of it."""
    assert known.upstream is not None  # noqa: S101 - the table says that it is needed
    return judge_context(known.upstream.context if known.upstream.context_told else None)


def judge_context(context: int | None) -> Finding:
    """Say whether a context is long enough.

    Args:
        context: In tokens, as the server says; `None` if it does not.
    """
    remedy = f"Serve the model with a longer context (vLLM: `--max-model-len {_CONTEXT_WANTED}` or more)."
    if context is None:
        message = f"The server does not say how long its context is; runs take it to be {_CONTEXT_WANTED} tokens."
        return Finding("context", "warning", message, f"See that it is at least that. {remedy}")
    message = f"The model takes {context} tokens."
    if context >= _CONTEXT_WANTED:
        return Finding("context", "ok", message)
    if context >= LEAST_CONTEXT:
        message += f" Longer tasks will not fit; {_CONTEXT_WANTED} is the least that works well."
        return Finding("context", "warning", message, remedy)
    message += f" OpenCode's first request alone is about 8000; {_CONTEXT_WANTED} is the least that works well."
    return Finding("context", "error", message, remedy)


def check_tools(known: Known) -> Finding:
    """Whether the model calls tools in a way that OpenCode can read; one small question to the model."""
    assert known.upstream is not None  # noqa: S101 - the table says that it is needed
    return judge_answer(anyio.run(ask_for_a_call, known.upstream))
