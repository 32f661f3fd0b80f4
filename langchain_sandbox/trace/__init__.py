"""What tracers learn of a run: its model calls and its tools as child runs, and how to keep results out of traces."""

from langchain_sandbox.trace.hiding import HIDDEN, hide_content

__all__ = ["HIDDEN", "hide_content"]
