"""The example notebook, executed by a real kernel: what its readers will see is there."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def test_it_is_kept_without_what_it_printed() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


def test_it_runs_from_top_to_bottom_and_shows_what_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    shown = {"".join(cell.source): cell.outputs for cell in notebook.cells if cell.cell_type == "code"}

    card = find(shown, "sandbox.run(TASK)")
    assert card.startswith("completed The agent says that it has done the task.")
    assert "+ return round(sum(prices) * (100 - discount_percent) / 100)" in card
    assert "M shop/prices.py +1 -1" in card
    assert "Steps (5)" in card
    assert "Not applied." in card

    assert re.fullmatch(r"report\.html: [\d,]+ bytes", find(shown, "to_html"))
    assert find(shown, "sandbox.apply(result)") == "['shop/prices.py']"
    assert "return round(sum(prices) * (100 - discount_percent) / 100)" in find(shown, "!git")

    audit = find(shown, "refactor-audit")
    assert '"why": "A discount above 100 per cent makes a negative price."' in audit
    assert "No file was changed." in audit
    assert find(shown, "findings[0]").startswith("Finding(file='shop/prices.py', line=6, severity='medium'")

    *progress, last = shown[next(source for source in shown if "aevents" in source)]
    kinds = re.findall(r"s  (\w+)\n", "".join(output.text for output in progress))
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    assert {"text", "tool_started", "tool_ended", "model_call", "step"} <= set(kinds)
    assert "A CHANGELOG.md +3 -0" in read(last)
    assert find(shown, "sandbox.revert") == "['shop/prices.py']"
    assert not list((tmp_path / "TMPDIR").glob("shop-*"))


def find(shown: dict[str, list[Any]], word: str) -> str:
    """What the one cell that has a word in it shows last."""
    (outputs,) = [outputs for source, outputs in shown.items() if word in source]
    return read(outputs[-1])


def read(output: Any) -> str:
    """An output's words: a card's where there is one."""
    if output.output_type == "stream":
        return output.text.strip()
    html = output.data.get("text/html", "").partition("</style>")[2]
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html).split())) if html else output.data["text/plain"]
