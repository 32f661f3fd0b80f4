"""LangChain's own tests for sandboxes, as they are, on the real engine: 79 of 86.

The other seven ask for what deepagents 0.7 does not do any more, whoever provides the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from langchain_tests.integration_tests import SandboxIntegrationTests
from support import containers

from langchain_sandbox.integrations.deepagents import SandboxBackend

# What a fixture of the suite's own has to become before pytest 10.
pytestmark = pytest.mark.filterwarnings("ignore:Class-scoped fixture")

overwrites = pytest.mark.xfail(strict=True, reason="langchain-ai/langchain#40283: deepagents 0.7 overwrites files")
globs = pytest.mark.xfail(strict=True, reason="langchain-ai/langchain#40283: deepagents 0.7 globs otherwise")


@pytest.fixture(autouse=True)
def no_container_left() -> None:
    """One container serves all tests here; `sandbox` looks at the end."""


class TestStandard(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self, client: docker.DockerClient) -> Iterator[SandboxBackend]:
        with SandboxBackend() as backend:
            yield backend
        assert containers(client, run_id=backend.id) == []

    @overwrites
    def test_write_existing_file_fails(self, sandbox_backend: SandboxBackend, sandbox_test_root: str) -> None:
        super().test_write_existing_file_fails(sandbox_backend, sandbox_test_root)

    @globs
    def test_glob(self, sandbox_backend: SandboxBackend, sandbox_test_root: str) -> None:
        super().test_glob(sandbox_backend, sandbox_test_root)

    @globs
    def test_glob_basic_pattern(self, sandbox_backend: SandboxBackend, sandbox_test_root: str) -> None:
        super().test_glob_basic_pattern(sandbox_backend, sandbox_test_root)

    @globs
    def test_glob_with_directories(self, sandbox_backend: SandboxBackend, sandbox_test_root: str) -> None:
        super().test_glob_with_directories(sandbox_backend, sandbox_test_root)

    @globs
    def test_glob_hidden_files_explicitly(self, sandbox_backend: SandboxBackend, sandbox_test_root: str) -> None:
        super().test_glob_hidden_files_explicitly(sandbox_backend, sandbox_test_root)

    @globs
    def test_glob_with_character_class(self, sandbox_backend: SandboxBackend, sandbox_test_root: str) -> None:
        super().test_glob_with_character_class(sandbox_backend, sandbox_test_root)

    @globs
    def test_glob_with_question_mark(self, sandbox_backend: SandboxBackend, sandbox_test_root: str) -> None:
        super().test_glob_with_question_mark(sandbox_backend, sandbox_test_root)
