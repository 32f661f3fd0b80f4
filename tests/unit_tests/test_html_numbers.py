"""Numbers that nobody has measured: a result that other hands wrote is drawn all the same, in its lanes."""

from __future__ import annotations

import math
import re
from typing import Any

from html_reader import make
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_sandbox.html.amounts import NOTHING, format_bytes, format_seconds
from langchain_sandbox.html.card import build_card
from langchain_sandbox.html.page import build_page
from langchain_sandbox.html.timeline import draw_timeline

whole = st.integers() | st.sampled_from([-1, 2**63, 10**400, -(10**400)])
real = st.floats() | st.sampled_from([1e308, -1e308])
maybe = st.none() | real

uses = st.fixed_dictionaries({"tool": st.just("bash"), "at": real, "seconds": maybe})
results = st.fixed_dictionaries(
    {
        "structured": whole | real,
        "steps": st.lists(
            st.fixed_dictionaries({"index": whole, "at": maybe, "seconds": maybe, "uses": st.lists(uses, max_size=2)}),
            max_size=2,
        ),
        "model_calls": st.lists(
            st.fixed_dictionaries(
                {"index": whole, "at": real, "first_byte": maybe, "duration": real, "status": st.none() | whole}
                | {"prompt_tokens": whole, "completion_tokens": whole}
            ),
            max_size=2,
        ),
        "files": st.lists(
            st.fixed_dictionaries(
                {"path": st.just("a"), "kind": st.just("added"), "binary": st.booleans()}
                | {"size": whole, "insertions": whole, "deletions": whole}
            ),
            max_size=2,
        ),
        "patch_reference": st.none()
        | st.fixed_dictionaries({"path": st.just("p"), "sha256": st.just(""), "size": whole}),
        "usage": st.fixed_dictionaries({"model_calls": whole, "prompt_tokens": whole, "completion_tokens": whole}),
        "timings": st.fixed_dictionaries({"created": maybe, "worked": maybe, "total": real}),
        "settings": st.fixed_dictionaries(
            {"timeout": maybe, "limits": st.dictionaries(st.sampled_from(["memory", "idle", "x"]), whole | real)}
        ),
    }
)


@given(results)
@settings(max_examples=300, deadline=None)
def test_any_number_is_drawn(fields: dict[str, Any]) -> None:
    made = make(**fields)
    assert build_page(made).endswith("</html>\n")
    assert build_card(made).endswith("</div>")


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=4))
def test_tokens_stay_in_their_lane_whatever_a_server_counts(counts: list[tuple[int, int]]) -> None:
    calls = [{"index": 0, "at": 1, "prompt_tokens": read, "completion_tokens": wrote} for read, wrote in counts]
    drawn = "".join(draw_timeline(make(model_calls=calls, timings={"total": 3.0}))).partition("Tokens")[2]
    bars = re.findall(r'class="(?:in|out)" x="[^"]+" y="([^"]+)" width="[^"]+" height="(\d+)"', drawn)
    for top, tall in bars:
        assert 0 <= int(top) <= int(top) + int(tall) <= 52


def test_what_cannot_have_been_measured_is_no_figure() -> None:
    assert {format_seconds(each) for each in (math.nan, math.inf, -math.inf, 10**400)} == {NOTHING}
    assert {format_bytes(each) for each in (math.nan, math.inf, 10**400)} == {NOTHING}
