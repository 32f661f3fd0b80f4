"""Finds out what would keep a run from working, one check at a time, and says how to mend it."""

from __future__ import annotations

from langchain_sandbox.doctor.examination import examine
from langchain_sandbox.doctor.finding import Finding

__all__ = ["Finding", "examine"]
