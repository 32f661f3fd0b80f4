"""Seconds and bytes, as people read them."""

from __future__ import annotations

from typing import Final

NOTHING: Final = "\u2013"
"""Stands where there is no figure: a dash."""

MOST: Final = 1e18
"""Whoever says more than that has not measured it: a result that other hands wrote may hold any number."""

_MINUTE: Final = 60
_UNIT: Final = 1024


def format_seconds(seconds: float | None) -> str:
    """A duration in words, such as `0.29 s`, `13.8 s` and `2 min 5 s`; a dash if there is none.

    Args:
        seconds: How long.
    """
    if seconds is None or not abs(seconds) <= MOST:
        return NOTHING
    if 0 < seconds < 1:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:g} s" if float(seconds).is_integer() else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes:,} min {rest} s" if rest else f"{minutes:,} min"


def format_moment(seconds: float) -> str:
    """A moment on a clock that began with the run: `5 s`, `1:30`."""
    if seconds < _MINUTE:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes}:{rest:02d}"


def format_bytes(size: float) -> str:
    """A size such as `512 MiB`, `1.5 GiB`, `91 bytes`; a dash for what is none."""
    if not abs(size) <= MOST:
        return NOTHING
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _UNIT:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:g} {'byte' if size == 1 else unit}"
        size /= _UNIT
    return f"{size:,.3g} TiB"
