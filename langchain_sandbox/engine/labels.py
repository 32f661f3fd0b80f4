"""Labels that mark what this package makes on an engine."""

from __future__ import annotations

PREFIX = "io.langchain-sandbox"
OWNER = f"{PREFIX}.owner"
RUN = f"{PREFIX}.run"
