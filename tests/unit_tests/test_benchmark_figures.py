"""The leaderboard's pure parts: what figures amount to, who is asked when, what is kept."""

from __future__ import annotations

import pytest
from board import plan
from board.arena import Ready
from board.contestant import Attempt, Entrant
from board.figures import find_percentile, find_ratio, summarize
from board.sustained import compare, follow
from board.watching import parse_work
from book import merge
from coding_task import MODULE, TASK, answer, build_task, is_patch
from pairs import BenchmarkError


def test_a_summary_tells_the_spread_and_how_many_came_from_a_spare() -> None:
    attempts = [Attempt(seconds, from_spare=seconds < 3) for seconds in (1.0, 2.0, 3.0, 4.00049, 5.0)]
    assert summarize(attempts) == {
        "n": 5,
        "median": 3.0,
        "p95": 4.8,
        "p99": 4.96,
        "min": 1.0,
        "max": 5.0,
        "hits": 2,
    }


def test_where_there_is_no_pool_no_hits_are_told() -> None:
    assert "hits" not in summarize([Attempt(1.0), Attempt(2.0)])


def test_a_percentile_lies_between_the_figures() -> None:
    assert find_percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert find_percentile([0.0, 10.0], 95) == pytest.approx(9.5)
    assert find_percentile([7.0], 99) == 7.0


def test_every_round_has_everybody_and_begins_with_another() -> None:
    names = ["a", "b", "c"]
    rounds = [plan.order_round(names, number) for number in range(4)]
    assert [order[0] for order in rounds] == ["a", "b", "c", "a"]
    assert all(sorted(order) == names for order in rounds)


def test_the_sustained_plan_keeps_its_distances_and_gives_the_seed_an_interval_of_its_own() -> None:
    steps = plan.plan_sustained(tasks=4, every=10, ours="ours", hot="hot", seldom="seed", seldom_each=2)
    assert [(step.at, step.name) for step in steps] == [
        (0, "ours"),
        (8, "hot"),
        (10, "ours"),
        (18, "hot"),
        (20, "seed"),
        (30, "ours"),
        (38, "hot"),
        (40, "ours"),
        (48, "hot"),
        (50, "seed"),
    ]


def test_every_worker_of_the_throughput_curve_has_a_task() -> None:
    assert [plan.count_tasks(workers) for workers in plan.CONCURRENCY] == [6, 6, 6, 12, 24]


def test_the_ratios_are_those_that_have_goals() -> None:
    rows = {
        "ours, pooled": {"median": 0.3, "p95": 0.5},
        "hot prompt": {"median": 0.25, "p95": 0.25},
        "seed": {"median": 3.6, "p95": 4.0},
    }
    assert compare(rows) == {"median": 1.2, "p95": 2.0, "seed": 12.0}
    assert find_ratio(1.0, 3.0) == 0.33


def test_a_task_that_fails_is_counted_and_the_others_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    coming = iter([Attempt(1.0), None, Attempt(2.0)])

    def attempt(_: int) -> Attempt:
        if (next_one := next(coming)) is None:
            msg = "It was not done."
            raise BenchmarkError(msg)
        return next_one

    log = follow([plan.Step(0, "a")] * 3, {"a": Ready(Entrant(attempt=attempt), set())})
    assert (log.done, log.failed) == ({"a": [Attempt(1.0), Attempt(2.0)]}, 1)
    assert "It was not done." in capsys.readouterr().err


def test_a_plan_of_which_nothing_was_done_has_no_figures() -> None:
    def attempt(_: int) -> Attempt:
        msg = "It was not done."
        raise BenchmarkError(msg)

    with pytest.raises(BenchmarkError, match="all tasks failed"):
        follow([plan.Step(0, "a")], {"a": Ready(Entrant(attempt=attempt), set())})


def test_work_is_all_but_idling_and_counts_nothing_twice() -> None:
    #                     user nice system idle iowait irq softirq steal guest guest_nice
    assert parse_work("cpu  10  1    5      100  50     2   3       4     9     1") == 25


def test_new_parts_take_the_places_of_old_ones_on_the_same_machine_only() -> None:
    book = {"machine": {"cores": "2"}, "parts": {"pairs": 1, "board": 2}}
    assert merge(book, {"cores": "2"}, {"board": 3})["parts"] == {"pairs": 1, "board": 3}
    assert merge(book, {"cores": "4"}, {"board": 3}) == {"machine": {"cores": "4"}, "parts": {"board": 3}}


def test_a_session_is_asked_for_another_module_each_time_and_answered_about_that_one() -> None:
    assert build_task(MODULE) == TASK
    earlier = [{"role": "user", "content": TASK}, *[{"role": "tool", "content": ""}] * 3]
    messages = [*earlier, {"role": "user", "content": [{"type": "text", "text": build_task(8)}]}]
    assert answer([*messages, {"role": "tool", "content": ""}])["tool_calls"][0]["arguments"] == {
        "filePath": "package_3/module_08.py",
        "oldString": "return 8",
        "newString": "return 43",
    }
    assert answer([*messages, *[{"role": "tool", "content": ""}] * 3])["text"].startswith("Module 8 ")


def test_a_patch_is_the_tasks_if_it_does_that_and_nothing_else() -> None:
    patch = "diff --git a/package_3/module_08.py b/package_3/module_08.py\n+    return 43\n"
    assert is_patch(patch, 8)
    assert not is_patch(patch, 9)
    assert not is_patch(patch + "diff --git a/other b/other\n", 8)
    assert not is_patch(None, 8)
