"""The addresses of what there is to read of a run: `sandbox://runs/<run>/patch`, `/report` and `/result`. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

Part = Literal["patch", "report", "result"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
KINDS: Final[dict[Part, str]] = {"patch": "text/x-diff", "report": "text/html", "result": "application/json"}
"""The parts' media types."""

_ADDRESS = re.compile(r"sandbox://runs/([0-9a-f]{12})/(patch|report|result)")


def run_address(run_id: str, part: Part) -> str:
    """Where a part of a run is.

    Args:
        run_id: The run, or `{run_id}` for the template.
        part: What of it.
    """
    return f"sandbox://runs/{run_id}/{part}"


def parse_address(address: str) -> tuple[str, Part] | None:
    """The run and the part that an address names; `None` for what is none of ours."""
    found = _ADDRESS.fullmatch(address)
    return (found[1], found[2]) if found else None  # type: ignore[return-value]
