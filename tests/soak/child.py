"""A host process of its own for one run: it says how the run is called, and then how it has ended."""

from __future__ import annotations

import json
import sys

from langchain_sandbox import Sandbox, SandboxError


def main() -> None:
    """Run one task; model and engine are in the environment."""
    timeout = float(sys.argv[1])
    try:
        with Sandbox(timeout=timeout).start("Work.") as handle:
            print(json.dumps({"run_id": handle.run_id}), flush=True)
            result = handle.result()
    except SandboxError as error:
        print(json.dumps({"raised": type(error).__name__, "words": str(error)}), flush=True)
    else:
        words = f"{result.ending.code}: {result.ending.message}"
        told = {"status": result.status, "words": words, "started": result.timings.started or 0.0}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
