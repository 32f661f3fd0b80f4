"""The page that tells what came of it. Pure."""

from __future__ import annotations

from typing import Any


def render(told: dict[str, Any]) -> str:
    """docs/soak.md.

    Args:
        told: What `soak` gave back.
    """
    left = ", ".join(f"{count} {what}" for what, count in told["left"].items())
    rows = "\n".join(
        f"| {row['fault']} | {row['what']} | {_count(row['endings'])} | {row['longest']:.1f} s |"
        for row in told["rows"]
    )
    wrong = "".join(
        f"\n- run {each['number']}, {each['fault']} at {each['at']} s: {each['status']} after {each['seconds']} s "
        f"({each['words']})"
        for each in told["wrong"]
    )
    machine = "\n".join(f"- {name}: {words}" for name, words in told["machine"].items())
    return f"""# Soak

Written by `make soak ARGS="--write"`: {told["runs"]} runs, of which a tenth had their host
killed, then {told["faults"]} to each of which something happened at a moment of chance (seed {told["seed"]}).
There were {told["at_once"]} at a time, in {told["seconds"] / 60:.0f} minutes. Each may take 40 seconds from its
container's start, and 10 more until there is a result.

| what happened | how | how the runs ended | the longest |
|---|---|---|---|
{rows}

A run to which something happens when it is over ends as if nothing had. Ended otherwise than what happened leads to, or
late: {len(told["wrong"]) or "none"}.
{wrong}{_tell_load(told["load"])}
More than before, afterwards: {left}.

## The machine

{machine}
"""


def _tell_load(load: dict[str, Any] | None) -> str:
    if load is None:
        return ""
    return f"""
## All at once

Then {load["runs"]} tasks of one step began at once, on a workspace of 4 MiB:

- {_count(load["statuses"])}, in {load["seconds"]:.0f} s; each boot of OpenCode takes a core more than a second
- the first result after {load["first"]:.0f} s, the tenth after {load["tenth"]:.0f} s
- no result more than {load["displaced"]} places from where its task stood in the queue
- at most {load["containers"]} containers at once
- at most {load["threads"]} threads in their host, and {load["memory"]} MiB more memory
- {load["left"]} containers left
"""


def _count(endings: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(endings.items(), key=lambda item: -item[1]))
