"""What holds for all tests, and which may run beside which where pytest-xdist has two processes (`make test`)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from checklist.recorder import Recorder
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

# That a machine is busy is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Files whose tests look at nothing on the engine but their own runs.
_FACES = {
    "chat_model",
    "chat_model_integrations",
    "chat_model_thoughts",
    "cli",
    "cli_terminal",
    "deepagents",
    "deepagents_standard",
    "docs_programs",
    "endings",
    "hooks",
    "hostile",
    "hosts",
    "langgraph_dev",
    "mcp_http",
    "mcp_stdio",
    "model_down",
    "notebook",
    "notebook_live",
    "open_webui",
    "open_webui_tool",
    "output",
    "pool_faces",
    "readme",
    "recipes",
    "report_page",
    "review",
    "review_once",
    "revision",
    "session",
    "session_threads",
    "trace",
    "way_out",
    "way_out_busy",
    "wheel",
}

# Unit tests that start hundreds of processes, most of them git's, fill sockets or tell hundreds of made-up stories;
# `make test-unit` is for while one writes.
_SLOW = {
    "bound_harvest",
    "chat_model_caller",
    "cli_completion",
    "commits",
    "delivery",
    "docs_site",
    "egress",
    "following",
    "history",
    "inside",
    "loops_traces",
    "merge",
    "package",
    "revert",
    "standing_still",
    "syscall_filter",
    "transaction",
}

# Tests in those files that kill the owner of a container, which counts as everybody's then, or collect garbage.
_ENGINE = {
    "test_gc_says_what_it_removed",
    "test_a_host_that_is_killed_takes_the_containers_with_it",
    "test_nothing_is_left_of_a_process_that_ends",
    "test_r2_the_host_dies_while_an_agent_attacks_pid_1",
}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "unit_tests" and item.path.stem.removeprefix("test_") in _SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Two groups, each in one process, and all unit tests wherever there is room. Other modes are xdist's own."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - where there is no xdist, nobody asks

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return find_group(nodeid)

    return Groups(config, log)


def find_group(nodeid: str) -> str:
    """The group that a test belongs to; for one that belongs to none, its own name."""
    file, _, name = nodeid.partition("::")
    path = PurePosixPath(file)
    if path.parent.name != "integration_tests":
        return nodeid
    if name.partition("[")[0] in _ENGINE:
        return "engine"
    return "faces" if path.stem.removeprefix("test_") in _FACES else "engine"
