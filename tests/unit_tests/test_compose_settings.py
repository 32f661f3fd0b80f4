"""The seed's files: which model they name, and what of OpenCode's configuration is kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from langchain_sandbox.compose.memory import count_kills
from langchain_sandbox.compose.settings import (
    ChangesChoice,
    adapt_config,
    find_endpoint,
    parse_json,
    read_choice,
    read_json,
    read_timeout,
)
from langchain_sandbox.errors import SandboxConfigError

CONFIG = {
    "$schema": "https://opencode.ai/config.json",
    "provider": {
        "vllm": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": "http://10.0.0.13:8000/v1"},
            "models": {"qwen": {"limit": {"context": 131072}}},
        }
    },
    "model": "vllm/qwen",
    "plugin": ["evil"],
    "mcp": {"x": {"type": "local", "command": ["x"]}},
    "agent": {"build": {"prompt": "Keep a log.", "permission": {"webfetch": "ask"}, "model": "vllm/qwen"}},
    "instructions": ["more.md"],
}


def write(project: Path, name: str, value: Any) -> None:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def test_the_environment_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "config/opencode.json", CONFIG)
    environ = {
        "SANDBOX_MODEL_BASE_URL": "http://127.0.0.1:1/v1",
        "SANDBOX_MODEL_NAME": "m",
        "SANDBOX_MODEL_API_KEY": "k",
    }
    endpoint = find_endpoint(environ, tmp_path)
    assert (endpoint.base_url, endpoint.name, endpoint.api_key) == ("http://127.0.0.1:1/v1", "m", "k")


@pytest.mark.parametrize("place", ["config/opencode.json", "config/opencode/opencode.json", "opencode.json"])
def test_else_the_seeds_own_configuration_names_the_model(tmp_path: Path, place: str) -> None:
    write(tmp_path, place, CONFIG)
    write(tmp_path, "config/auth.json", {"vllm": {"type": "api", "key": "secret"}})
    endpoint = find_endpoint({"SANDBOX_MODEL_MAX_CONCURRENCY": "3"}, tmp_path)
    assert (endpoint.base_url, endpoint.name, endpoint.api_key) == ("http://10.0.0.13:8000/v1", "qwen", "secret")
    assert endpoint.max_concurrency == 3


def test_a_key_that_stands_for_a_variable_is_none(tmp_path: Path) -> None:
    options = {"baseURL": "http://10.0.0.13:8000/v1", "apiKey": "{env:VLLM_KEY}"}
    write(tmp_path, "config/opencode.json", {"model": "a/b", "provider": {"a": {"options": options}}})
    assert find_endpoint({}, tmp_path).api_key is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No model server is named"),
        ({}, "No model server is named"),
        ({"model": "a/b", "provider": {"a": []}}, "No model server is named"),
        ("{", "config/opencode.json is not JSON"),
        ("[]", "must hold a JSON object"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_without_a_model_it_is_said_what_to_do(tmp_path: Path, content: Any, words: str) -> None:
    if content is not None:
        write(tmp_path, "config/opencode.json", content)
    with pytest.raises(SandboxConfigError, match=words):
        find_endpoint({}, tmp_path)


def test_no_more_of_a_file_is_read_than_one_may_have(tmp_path: Path) -> None:
    """`data/opencode/auth.json` may be the agent's; the gateway has half a gigabyte for all runs."""
    write(tmp_path, "data/opencode/auth.json", "{")
    os.truncate(tmp_path / "data/opencode/auth.json", 2**40)
    with pytest.raises(SandboxConfigError, match="is not JSON"):
        read_json(tmp_path, ("data/opencode/auth.json",))


def test_of_a_configuration_only_what_means_something_here_is_kept() -> None:
    assert adapt_config(CONFIG) == {"agent": {"build": {"prompt": "Keep a log."}}, "instructions": ["more.md"]}
    assert adapt_config({"agent": ["nonsense"], "permission": "ask"}) == {"agent": ["nonsense"]}


def test_json_may_have_comments_and_trailing_commas() -> None:
    text = '{\n// one\n"a": "http://x", /* two\n */ "b": ["c,]", "d",],\n}'
    assert parse_json(text, "x") == {"a": "http://x", "b": ["c,]", "d"]}


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_is_a_positive_number(text: str) -> None:
    with pytest.raises(SandboxConfigError, match="SANDBOX_TIMEOUT"):
        read_timeout({"SANDBOX_TIMEOUT": text})
    assert read_timeout({}) == 300.0
    assert read_timeout({"SANDBOX_TIMEOUT": "1.5"}) == 1.5


def test_a_choice_is_one_of_its_words() -> None:
    assert read_choice({}, "SANDBOX_CHANGES", ChangesChoice) == "apply"
    assert read_choice({"SANDBOX_CHANGES": "return"}, "SANDBOX_CHANGES", ChangesChoice) == "return"
    with pytest.raises(SandboxConfigError, match="SANDBOX_CHANGES is one of apply, return, discard, not 'Apply'"):
        read_choice({"SANDBOX_CHANGES": "Apply"}, "SANDBOX_CHANGES", ChangesChoice)


@pytest.mark.parametrize(
    ("place", "content", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", 0),
        ("memory.events", "oom_kill many\n", 0),
        ("elsewhere", "oom_kill 1\n", 0),
    ],
)
def test_kills_for_memory_are_counted_with_either_kind_of_control_groups(
    tmp_path: Path, place: str, content: str, kills: int
) -> None:
    write(tmp_path, place, content)
    assert count_kills(tmp_path) == kills
