"""The checks in their order, each with a time limit, and what each of them needs from the others."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.doctor import canary, engine, host, image, model, tracing
from langchain_sandbox.doctor.finding import Finding, Known
from langchain_sandbox.doctor.runtime import look_at_runtime

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

_REASONS = {
    "client": "No engine answers.",
    "image_id": "There is no image to start a container from.",
    "canary": "No container could be tried.",
    "endpoint": "No model server is configured.",
    "upstream": "No model answers, or none is chosen.",
}
_LATE = "It may be busy, or a firewall swallows the connection. Try again; if it stays so, look at its log."
_SLOW = "It may be very big, or on a slow disk: have git ignore what tasks do not need."


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Args:
        name: As in its findings.
        look: Finds out; it may block, and adds what it learnt to what is known.
        limit: Seconds that it may take.
        late: What to do if it takes longer.
        needs: The fields of `Known` that have to be filled before.
    """

    name: str
    look: Callable[[Known], Finding]
    limit: float = 5.0
    late: str = _LATE
    needs: tuple[str, ...] = ()


CHECKS = (
    Check(name="python", look=host.check_python),
    Check(name="package", look=host.check_package, limit=20.0),
    Check(name="settings", look=host.check_settings),
    Check(name="git", look=host.check_git),
    Check(name="workspace", look=host.check_workspace, limit=10.0, late=_SLOW),
    Check(name="temp", look=host.check_temp),
    Check(name="engine", look=engine.check_engine, limit=8.0),
    Check(name="clock", look=engine.check_clock, needs=("client",)),
    Check(name="disk", look=engine.check_disk, needs=("client",)),
    Check(name="image", look=image.check_image, needs=("client",)),
    Check(name="runtime", look=look_at_runtime, needs=("client",)),
    Check(name="walls", look=canary.check_walls, limit=30.0, needs=("client", "image_id")),
    Check(name="limits", look=canary.check_limits, needs=("client", "image_id", "canary")),
    Check(name="model", look=model.check_model, limit=8.0),
    Check(name="container", look=host.check_container),
    Check(name="tracing", look=tracing.check_tracing),
    Check(name="model-name", look=model.check_name, needs=("endpoint",)),
    Check(name="context", look=model.check_context, needs=("endpoint", "upstream")),
    Check(name="tool-calls", look=model.check_tools, limit=45.0, needs=("endpoint", "upstream")),
)


def examine(
    *,
    model: str | None = None,
    workspace: str | os.PathLike[str] | None = None,
    image: str | None = None,
    runtime: str | None = None,
) -> Iterator[Finding]:
    """Look at everything that a run needs. Changes nothing; one small container is made and removed.

    Args:
        model: Address of the model server, in place of `SANDBOX_MODEL_BASE_URL`.
        workspace: A folder that runs would work on; `SANDBOX_WORKSPACE` by default.
        image: As for `Sandbox`; `SANDBOX_IMAGE` by default.
        runtime: As for `Sandbox`; `SANDBOX_RUNTIME` by default.

    Yields:
        One finding for each check, as soon as it is known. Without an engine, say, what needs one is skipped and
        all else is looked at.

    Example:
        ```python
        for finding in examine():
            print(finding.status, finding.check, finding.message, finding.remedy)
        ```
    """
    folder = Path(workspace) if workspace is not None else None
    known = Known(model=model, folder=folder, image=image, runtime=runtime)
    with known.stack:
        for check in CHECKS:
            missing = next((need for need in check.needs if not getattr(known, need)), None)
            if missing is not None:
                yield Finding(check.name, "skipped", _REASONS[missing])
            else:
                yield _look(check, known)


def _look(check: Check, known: Known) -> Finding:
    """Run one check, for no longer than its limit."""
    answer: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def look() -> None:
        try:
            answer.put(check.look(known))
        except Exception as error:  # noqa: BLE001 - a check that breaks must not take the others with it
            message = f"The check itself broke: {type(error).__name__}: {error}"
            answer.put(Finding(check.name, "error", message, "Please report this."))

    # A daemon, so that a check that hangs does not keep the process from ending.
    threading.Thread(target=look, name=f"doctor-{check.name}", daemon=True).start()
    try:
        return answer.get(timeout=check.limit)
    except queue.Empty:
        return Finding(check.name, "error", f"There was no answer within {check.limit:g} s.", check.late)
