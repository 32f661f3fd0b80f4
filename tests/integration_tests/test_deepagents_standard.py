"""LangChain's own tests for sandboxes, as they are, on the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain_tests.integration_tests import SandboxIntegrationTests

from langchain_sandbox.integrations.deepagents import SandboxBackend

if TYPE_CHECKING:
    from collections.abc import Iterator


class TestStandard(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[SandboxBackend]:
        with SandboxBackend() as backend:
            yield backend
