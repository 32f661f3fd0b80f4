"""The pages and pictures with figures are what the kept figures give; made-up ones show what each part looks like."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from board.pictures import draw_all, draw_board, draw_throughput
from book import read_book
from page import put_throughput, render_page
from pages import DOCS

LEFT = {"containers": 0, "networks": 0, "volumes": 0}
ABSENT = "Left out: llm-sandbox, since it is not installed."
FIGURES = {"n": 5, "median": 0.3, "p95": 0.41, "p99": 0.42, "min": 0.2, "max": 0.45}
NOTE = {"date": "2026-11-28", "load": 0.25}


def name_row(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **FIGURES, **more}


def a_book() -> dict[str, Any]:
    board = [
        name_row("bare container", part="container", what="A container.", work=0.1, memory=3, ratio=None),
        name_row("ours, pooled", part="task", what="Ours.", work=2.5, memory=None, ratio=1.25, hits=5),
    ]
    bursts = [name_row("ours, pooled", pattern="burst of 2", hits=4)]
    sustained = {
        "every": 10.0,
        "failed": 0,
        "late": 2,
        "rows": [name_row("ours, pooled", hits=5), name_row("hot prompt")],
        "ratios": {"median": 1.2, "p95": 2.1, "seed": 12.5},
        "refill": {**FIGURES, "per_minute": 25.5, "hits": 3},
    }
    points = [
        name_row(name, concurrency=workers, per_minute=20.0 * workers, work=1.5, memory=900)
        for workers in (1, 2, 4)
        for name in ("ours, cold", "ours, session")
    ]
    end = {"missing": {"llm-sandbox": "it is not installed"}, "leftovers": LEFT, **NOTE}
    return {
        "machine": {"cores": "2"},
        "parts": {
            "board": {"rows": board, **end},
            "bursts": {"rows": bursts, **end},
            "sustained": {**sustained, **end},
            "throughput": {"points": points, **end},
        },
    }


def test_the_pages_are_what_the_kept_figures_give() -> None:
    book = read_book(DOCS / "benchmarks.json")
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == render_page(book)
    performance = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert performance == put_throughput(performance, book["parts"])


def test_the_pictures_are_what_the_kept_figures_give() -> None:
    pictures = draw_all(read_book(DOCS / "benchmarks.json")["parts"])
    there = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "pictures").glob("benchmark-*.svg")}
    assert there == pictures


@pytest.mark.parametrize(
    "line",
    [
        "| ours, pooled | 5 | 0.30 s | 0.41 s | 0.42 s | 0.20-0.45 s | 2.50 s | — | 5 of 5 | 1.25 |",
        "| bare container | 5 | 0.30 s | 0.41 s | 0.42 s | 0.20-0.45 s | 0.10 s | 3 MiB | — | — |",
        "| burst of 2 | ours, pooled | 5 | 0.30 s | 0.41 s | 0.45 s | 4 of 5 |",
        "| ours, pooled, to the hot prompt: median | 1.20 | ≤ 1.3 x: met |",
        "| ours, pooled, to the hot prompt: p95 | 2.10 | ≤ 2 x: missed |",
        "| seed to ours, pooled: median | 12.5 | ≥ 12 x: met |",
        "| ours, session | 2 | 5 | 40 | 0.30 s | 0.41 s | 1.50 s | 900 MiB |",
        f"Left on the engine afterwards: 0 containers, 0 networks, 0 volumes. {ABSENT}",
        "0 tasks failed; 2 began more than half a second late.",
        "- **ours, pooled**: Ours.",
        "- cores: 2",
    ],
)
def test_the_page_tells_each_parts_figures(line: str) -> None:
    assert line in render_page(a_book()).splitlines()


def test_a_part_that_was_not_measured_is_not_on_the_page() -> None:
    book = a_book()
    del book["parts"]["sustained"]
    assert "A pool over a long time" in render_page(a_book())
    assert "A pool over a long time" not in render_page(book)


def test_a_sustained_part_without_a_pool_says_why_it_has_no_figures() -> None:
    part = {"every": 10.0, "rows": [], "missing": {"ours, pooled": "there is no pool"}, "leftovers": LEFT, **NOTE}
    page = render_page({"machine": {}, "parts": {"sustained": part}})
    assert "Left out: ours, pooled, since there is no pool." in page


def test_the_page_about_performance_keeps_what_is_around_the_table() -> None:
    page = "Before.\n<!-- throughput -->\nOld.\n<!-- /throughput -->\nBehind.\n"
    new = put_throughput(page, a_book()["parts"])
    assert new.startswith("Before.\n<!-- throughput -->\n![")
    assert new.endswith("#throughput).\n<!-- /throughput -->\nBehind.\n")
    assert "Old." not in new


def test_the_boards_picture_has_a_bar_for_each_whole_task_as_long_as_its_median() -> None:
    rows = [
        name_row("hot prompt", part="task") | {"median": 0.25},
        name_row("seed", part="task") | {"median": 2.5},
        name_row("bare container", part="container"),
    ]
    picture = ET.fromstring(draw_board(rows))
    bars = [element for element in picture.iter() if element.tag.endswith("rect") and element.get("class") is None]
    lengths = [float(bar.get("width", "")) for bar in bars]
    assert lengths[1] == pytest.approx(10 * lengths[0])
    assert read_words(picture) == ["One task, seconds at the median", "hot prompt", "0.25 s", "seed", "2.50 s"]


def test_the_throughputs_picture_has_a_curve_for_each_contestant_that_stays_on_the_card() -> None:
    picture = ET.fromstring(draw_throughput(a_book()["parts"]["throughput"]["points"]))
    curves = [element.get("points", "") for element in picture.iter() if element.tag.endswith("polyline")]
    assert len(curves) == 2
    places = [tuple(map(float, place.split(","))) for curve in curves for place in curve.split()]
    assert len(places) == 6
    width, height = float(picture.get("width", "")), float(picture.get("height", ""))
    assert all(0 < x < width and 0 < y < height for x, y in places)
    assert places[0][1] > places[1][1] > places[2][1]  # more tasks a minute are higher up
    assert {"1", "2", "4", "ours, cold", "ours, session"} <= set(read_words(picture))


def test_a_name_cannot_break_a_picture() -> None:
    assert "<b>&" in read_words(ET.fromstring(draw_board([name_row("<b>&", part="task")])))


def read_words(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter() if element.tag.endswith("text")]
