"""One row of the table, one test; then the order of neighbours, which is the table's argument."""

from dataclasses import replace
from typing import get_args

import pytest

from langchain_sandbox.agent.main import EXIT_HOST_GONE
from langchain_sandbox.outcome import LINK_GONE, RULES, Facts, decide
from langchain_sandbox.result import Status

DONE = Facts(reported=True, exit_code=0, finish="stop", answered_calls=1, model_finish="stop")
SAID = Facts(reported=True)

# Facts that only this row fits, the status, the ending's code, and a word that its message has to hold.
ROWS: list[tuple[Facts, str, str, str]] = [
    (Facts(cancelled=True, begun=False), "cancelled", "not_begun", "before it had begun"),
    (replace(DONE, cancelled=True), "cancelled", "cancelled", "cancelled"),
    (Facts(failure=("model_unreachable", "no route")), "model_unreachable", "model_unreachable", "No route."),
    (Facts(failure=("budget_exceeded", "200 calls")), "budget_exceeded", "budget_exceeded", "200 calls"),
    (Facts(failure=("loop", "in a circle")), "loop", "loop", "In a circle."),
    (Facts(failure=("context_overflow", "too long")), "context_overflow", "context_overflow", "Too long."),
    (Facts(failure=("answer_not_taken", "not taken")), "stalled", "answer_not_taken", "Not taken."),
    (Facts(failure=("model_exception", "it raised")), "model_error", "model_exception", "It raised."),
    (Facts(failure=("answer_cut", "in the middle")), "model_error", "answer_cut", "In the middle."),
    (replace(DONE, timed_out=2.5), "timeout", "timeout", "2.5 s"),
    (Facts(stalled="nothing came"), "stalled", "stalled", "nothing came"),
    (Facts(engine_lost=True), "engine_error", "engine_lost", "engine"),
    (Facts(link_broken="a frame too long"), "protocol_error", "link_broken", "a frame too long"),
    (Facts(oom=True, exit_code=137), "oom", "oom", "memory"),
    (replace(SAID, error=("workspace", "tar"), full=["/run/ws"]), "out_of_space", "out_of_space", "/run/ws"),
    (Facts(exit_code=LINK_GONE), "protocol_error", "link_broken", "got no more of it"),
    (Facts(exit_code=3), "crashed", "no_result", "3"),
    (replace(SAID, error=("UnknownError", "ENOSPC"), full=["/tmp"]), "out_of_space", "out_of_space", "/tmp"),
    (replace(SAID, oom=True, error=("opencode_gone", "killed")), "oom", "oom", "OpenCode"),
    (replace(SAID, error=("opencode_start", "no port")), "crashed", "opencode_start", "No port."),
    (replace(SAID, error=("ContextOverflowError", "long")), "context_overflow", "ContextOverflowError", "long"),
    (replace(SAID, answer="n: no number"), "incomplete", "invalid_output", "n: no number"),
    (replace(SAID, error=("StructuredOutputError", "bad")), "incomplete", "StructuredOutputError", "bad"),
    (replace(SAID, error=("MessageAbortedError", "Aborted")), "incomplete", "MessageAbortedError", "Aborted"),
    (replace(SAID, error=("APIError", "refused")), "model_error", "APIError", "refused"),
    (Facts(reported=True, finished=True, exit_code=0), "completed", "finished", "its caller"),
    (DONE, "completed", "completed", "done"),
    (replace(DONE, finish="tool-calls", model_finish="tool_calls", answer=""), "completed", "completed", "answer"),
    (replace(DONE, finish="length", model_finish="length"), "incomplete", "finish_length", "length"),
]


@pytest.mark.parametrize("index", range(len(RULES)))
def test_each_rule_is_the_first_that_fits_its_own_facts(index: int) -> None:
    facts, status, code, word = ROWS[index]
    assert next(number for number, rule in enumerate(RULES) if rule[1](facts)) == index
    assert RULES[index][0] == status
    decided, ending = decide(facts)
    assert (decided, ending.code) == (status, code)
    assert word in ending.message


def test_every_rule_has_a_row() -> None:
    assert len(ROWS) == len(RULES)


@pytest.mark.parametrize("status", [row[0] for row in RULES])
def test_every_status_is_one_that_the_result_documents(status: str) -> None:
    assert status in get_args(Status)


@pytest.mark.parametrize("name", ["opencode_gone", "opencode_start", "opencode_version", "opencode_api", "workspace"])
def test_what_breaks_inside_is_a_crash_that_names_it(name: str) -> None:
    status, ending = decide(replace(SAID, error=(name, "")))
    assert (status, ending.code, ending.message) == ("crashed", name, name)


@pytest.mark.parametrize(
    ("stronger", "weaker", "status"),
    [
        ({"cancelled": True}, {"failure": ("model_unreachable", "")}, "cancelled"),
        ({"cancelled": True}, {"timed_out": 1.0}, "cancelled"),
        ({"failure": ("budget_exceeded", "")}, {"timed_out": 1.0}, "budget_exceeded"),
        ({"failure": ("http_500", "")}, {"error": ("APIError", "")}, "model_error"),
        ({"timed_out": 1.0}, {"stalled": "x"}, "timeout"),
        ({"stalled": "x"}, {"engine_lost": True}, "stalled"),
        ({"engine_lost": True}, {"link_broken": "x"}, "engine_error"),
        ({"link_broken": "x"}, {"oom": True}, "protocol_error"),
        ({"oom": True}, {"exit_code": 137}, "oom"),
        ({"oom": True}, {"exit_code": LINK_GONE}, "oom"),
        ({"exit_code": LINK_GONE}, {}, "protocol_error"),
        ({"reported": True, "full": ["/tmp"]}, {"error": ("opencode_gone", "")}, "out_of_space"),
        ({"reported": True, "oom": True}, {"error": ("opencode_gone", "")}, "oom"),
        ({"reported": True, "error": ("ContextOverflowError", "")}, {"finish": "stop"}, "context_overflow"),
        ({"reported": True, "error": ("MessageOutputLengthError", "")}, {"finish": "stop"}, "incomplete"),
        ({"reported": True, "error": ("APIError", "")}, {"finish": "stop"}, "model_error"),
    ],
)
def test_where_two_rules_fit_the_cause_wins_over_what_follows_from_it(
    stronger: dict, weaker: dict, status: str
) -> None:
    assert decide(Facts(**{**stronger, **weaker}))[0] == status


@pytest.mark.parametrize(
    "seen",
    [
        {"answered_calls": 0, "model_finish": None},
        {"answered_calls": 0, "model_finish": "stop"},
        {"answered_calls": 3, "model_finish": "tool_calls"},
        {"answered_calls": 3, "model_finish": "length"},
        {"answered_calls": 3, "model_finish": None},
    ],
)
def test_a_forged_stop_that_the_gateway_did_not_see_is_not_completed(seen: dict) -> None:
    assert decide(replace(DONE, **seen))[0] == "incomplete"


def test_memory_that_only_a_child_ran_out_of_does_not_spoil_a_completed_run() -> None:
    assert decide(replace(DONE, oom=True))[0] == "completed"


def test_a_full_disk_alone_does_not_spoil_a_completed_run() -> None:
    assert decide(replace(DONE, full=["/tmp"]))[0] == "completed"


def test_nothing_known_at_all_is_a_crash() -> None:
    status, ending = decide(Facts())
    assert (status, ending.code) == ("crashed", "no_result")
    assert ending.hint


def test_a_typed_answer_that_is_missing_is_never_a_success() -> None:
    assert decide(replace(DONE, answer="there was none"))[0] == "incomplete"
    assert decide(replace(DONE, answer="", answered_calls=0))[0] == "incomplete"
    assert decide(replace(DONE, answer="", error=("APIError", "refused")))[0] == "model_error"
    assert decide(replace(DONE, answer="x", error=("ContextOverflowError", "long")))[0] == "context_overflow"


def test_the_container_says_in_the_same_number_that_its_end_of_the_link_is_gone() -> None:
    assert LINK_GONE == EXIT_HOST_GONE
