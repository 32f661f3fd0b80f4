"""The rows of the checklist: what each asks for, and the tests that show it. Pure.

A test whose name begins with a row's id, such as `test_n1_...`, belongs to it without being listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMED = re.compile(r"test_((?:[nhcwr]\d+_)+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Args:
        id: Such as `N1`.
        property: What is asked for.
        expected: The figure.
        tests: Tests with other names that show it, each as `file::test` below `tests/`.
        word: What has to be said besides.
    """

    id: str
    property: str
    expected: str
    tests: tuple[str, ...] = ()
    word: str = ""


def _row(name: str, what: str, expected: str, *tests: str, word: str = "") -> Row:
    return Row(id=name, property=what, expected=expected, tests=tests, word=word)


_I, _U = "integration_tests/test_", "unit_tests/test_"
ROWS = [
    _row(
        "N1", "no network", "only lo, no route, every connection refused", _I + "isolation.py::test_there_is_no_network"
    ),
    _row("N2", "no DNS", "no query is heard"),
    _row(
        "N3",
        "the model is reachable",
        "a run completes",
        _I + "thread.py::test_red_to_green_and_the_patch_fits_a_fresh_clone",
    ),
    _row(
        "N4",
        "the gateway's two doors",
        "9 probes refused, none reaches the server",
        _I + "model_faults.py::test_requests_that_are_none_of_the_agents_business_are_refused",
        _U + "rules.py::test_every_other_door_and_every_other_spelling_is_refused",
    ),
    _row(
        "N5",
        "the gateway's cost",
        "at most 3 ms at the median",
        word="By `make bench`: [Benchmarks](benchmarks.md).",
    ),
    _row("N6", "the key stays outside", "found nowhere", _I + "isolation.py::test_the_key_is_nowhere"),
    _row(
        "H1",
        "privileges",
        "not root, no capability, no new ones, filtered",
        _I + "isolation.py::test_there_is_no_privilege",
    ),
    _row(
        "H2",
        "system calls",
        "all denied, on any engine",
        _I + "isolation.py::test_sockets_and_system_calls_are_filtered",
        _I + "isolation.py::test_the_filter_is_our_own_where_the_engine_has_none",
    ),
    _row(
        "H3",
        "read-only",
        "four places can be written, each in memory",
        _I + "isolation.py::test_nothing_is_writable_but_the_limited_places",
    ),
    _row(
        "H4",
        "fork bomb",
        "at most the limit, ended within 5 s",
        _I + "isolation.py::test_a_fork_bomb_and_a_memory_hog_stay_inside",
    ),
    _row(
        "H5",
        "memory",
        "`oom`; of a child only, no end",
        _I + "endings.py::test_a_container_that_is_killed_for_memory_says_so",
        _I + "endings.py::test_an_opencode_that_is_killed_for_memory_says_so_and_keeps_what_was_done",
        _I + "endings.py::test_a_tool_that_is_killed_for_memory_is_no_end",
    ),
    _row("H6", "disk", "ENOSPC at the limit, by bytes and by files"),
    _row("H7", "log flood", "no disk, at most 32 MiB of the host's memory"),
    _row(
        "H8",
        "limits are real",
        "an engine that ignores them is refused",
        _I + "doctor.py::test_limits_that_an_engine_ignores_are_found_out",
    ),
    _row(
        "H9",
        "docker-bench, section 5",
        "at least 26 pass, at most 2 warn",
        word="The script's 32 questions, put to the engine's answers: AppArmor is the machine's to have, and a "
        "container that lives for one task has no check of its health.",
    ),
    _row(
        "H10",
        "mounts",
        "refused before anything is made",
        _I + "bind.py::test_what_holds_more_than_a_project_is_refused",
    ),
    _row(
        "H11",
        "gVisor, Podman",
        "a run completes where they are",
        word="By `make walls`, which installs both: [Stronger walls](stronger-walls.md).",
    ),
    _row(
        "C1",
        "hostile opencode.json",
        "no marker, no request at the decoy",
        _I + "thread.py::test_instructions_are_obeyed_and_configuration_is_left_out",
    ),
    _row(
        "C2",
        "hostile plugins and tools",
        "no marker, at most 5 s more",
        _I + "bind.py::test_a_repositorys_own_plugins_are_covered",
    ),
    _row(
        "C3",
        "the task as data",
        "byte for byte",
        _I + "concurrency.py::test_eight_at_once_from_one_loop_and_every_prompt_arrives_byte_identical",
    ),
    _row(
        "C4",
        "a long task",
        "1 MiB arrives",
        _I + "concurrency.py::test_eight_at_once_from_one_loop_and_every_prompt_arrives_byte_identical",
    ),
    _row(
        "C5",
        "NUL, half a character, nothing",
        "refused, nothing made",
        _I + "concurrency.py::test_a_task_that_could_not_arrive_is_refused_first",
    ),
    _row(
        "C6",
        "names of commands",
        "`../x`, `/x` and none refused",
        _U + "commands_files.py::test_a_name_that_is_no_tools_is_refused",
        word="`a/b` is a name: a command in a folder.",
    ),
    _row(
        "C7",
        "YAML and JSON bombs",
        "an error within 2 s",
        _U + "commands_files.py::test_a_head_that_was_made_to_hold_us_up_is_refused_in_time",
    ),
    _row(
        "C8",
        "words from inside",
        "steer nothing, have an end",
        _I + "tool.py::test_in_a_graph_the_message_is_for_the_model_and_the_artifact_for_the_program",
        _I + "mcp_stdio.py::test_words_from_inside_steer_nothing",
        word="`result.text` is as it was said, 4 MiB at most (a warning tells what was cut); what shows it takes out "
        "what steers a terminal.",
    ),
    _row(
        "C9",
        "forged success",
        "no success",
        _U + "outcome.py::test_a_forged_stop_that_the_gateway_did_not_see_is_not_completed",
    ),
    _row(
        "W1",
        "the host's git",
        "nothing springs",
        _I + "workspace_hostile.py::test_what_an_agent_lays_does_not_spring_on_the_host",
    ),
    _row("W2", "the user's tree", "as it was until applied", _I + "workspace_untouched.py::test_the_tree_is_as_it_was"),
    _row(
        "W3",
        "the patch is exact",
        "both trees are equal",
        _I + "round_trip.py::test_what_was_done_inside_is_what_the_patch_does_outside",
        word="200 generated cases, each applied by git and by us",
    ),
    _row(
        "W4",
        "sensitive paths",
        "told, and refused by default",
        _I + "workspace.py::test_what_reaches_further_than_the_project_is_flagged_and_has_to_be_allowed",
    ),
    _row(
        "W5",
        "links, pipes, sparse files, odd names",
        "nothing outside is read, the run ends",
        _I + "workspace_hostile.py::test_a_link_in_the_users_tree_is_never_written_through",
    ),
    _row(
        "W6",
        "the patch survives",
        "also a time-out and a signal",
        _I + "cancel.py::test_a_time_out_keeps_what_was_done",
        _I + "cli.py::test_ctrl_c_ends_it_within_five_seconds_and_keeps_what_was_done",
    ),
    _row(
        "W7",
        "the cost of in and out",
        "1,000 files 1.5 s, 20,000 files 8 s",
        word="By `make bench`: [Benchmarks](benchmarks.md).",
    ),
    _row(
        "R1",
        "`kill -9` of the host",
        "gone within 2 s",
        _I + "death.py::test_kill_9_of_the_host_takes_the_container_along",
        _I + "death.py::test_a_container_that_was_never_started_is_removed_by_the_next_run",
    ),
    _row(
        "R2", "an agent against PID 1", "gone within 2 s", _I + "isolation.py::test_pid_1_can_neither_be_read_nor_ended"
    ),
    _row("R3", "deadline", "ended within 10 s after it", _I + "cancel.py::test_a_time_out_keeps_what_was_done"),
    _row(
        "R4",
        "cancelled",
        "gone within 5 s",
        _I + "cancel.py::test_a_cancelled_task_is_cancelled_and_its_container_gone",
    ),
    _row("R5", "the engine is killed", "`engine_error`, and nothing is left after its restart"),
    _row(
        "R6",
        "a container that cannot be made or started",
        "nothing is left",
        _I + "tool.py::test_a_missing_image_says_how_to_get_it",
        word="NUL in an environment cannot be: a container's is constant.",
    ),
    _row(
        "R7",
        "100 runs at once",
        "100 complete in turn, within bounds; nothing is left",
        _I + "load.py::test_a_model_server_is_never_asked_by_more_at_once_than_it_takes",
        _I + "load.py::test_sigterm_drains_a_process_with_many_tasks",
        word="A hundred: [Soak](soak.md#all-at-once).",
    ),
    _row(
        "R8",
        "the model is down, refuses, hangs",
        "down: 5 s; else 60 s",
        _I + "model_faults.py::test_a_model_that_fails_for_good",
        _I + "model_faults.py::test_a_server_that_is_down_costs_no_container",
        word="A model that hangs is waited for as long as `Limits.first_byte` says, by default 120 s:"
        " a long prompt takes its time.",
    ),
    _row(
        "R9", "exit codes", "none is a success by itself", _I + "endings.py::test_no_exit_code_is_a_success_by_itself"
    ),
    _row("R10", "soak", "nothing is left", word="The whole one: [Soak](soak.md)."),
]


def find_rows(node: str) -> list[str]:
    """The ids of the rows that a test belongs to.

    Args:
        node: The test, as pytest names it.
    """
    place, _, rest = node.removeprefix("tests/").partition("::")
    name = rest.partition("[")[0].rpartition("::")[2]
    listed = [row.id for row in ROWS if f"{place}::{name}" in row.tests]
    named = _NAMED.match(name)
    return [*listed, *(part.upper() for part in named.group(1).split("_") if part)] if named else listed
