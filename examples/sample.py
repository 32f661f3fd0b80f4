"""The sample repository of the examples: a small shop whose tests fail, and the scripts of models that work on it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.testing import Turn

TASK = "The test suite fails. Find out why, fix the code (not the test), and run the tests again."

FILES = {
    "README.md": "# shop\n\nPrices of a small shop. `python -m pytest` runs the tests.\n",
    "AGENTS.md": "Keep changes small. Run `python -m pytest -q` before you say that you are done.\n",
    "shop/__init__.py": "",
    "shop/prices.py": (
        '"""Prices in cents."""\n\n\n'
        "def total(prices: list[int], discount_percent: int = 0) -> int:\n"
        '    """The sum of all prices, less a discount, rounded to whole cents."""\n'
        "    return round(sum(prices) * discount_percent / 100)\n"
    ),
    "tests/test_prices.py": (
        "from shop.prices import total\n\n\n"
        "def test_no_discount():\n    assert total([100, 250]) == 350\n\n\n"
        "def test_discount():\n    assert total([1000], discount_percent=10) == 900\n"
    ),
    ".gitignore": "__pycache__/\n.pytest_cache/\n",
}

AGENT_SCRIPT: list[Turn] = [
    {
        "text": "I will run the tests first.",
        "tool_calls": [
            {"name": "bash", "arguments": {"command": "python -m pytest -q", "description": "Run the tests"}}
        ],
    },
    {
        "text": "Both tests fail in total(); let me read it.",
        "tool_calls": [{"name": "read", "arguments": {"filePath": "/run/ws/repo/shop/prices.py"}}],
    },
    {
        "text": "The discount is taken as the price instead of being taken off it.",
        "tool_calls": [
            {
                "name": "edit",
                "arguments": {
                    "filePath": "/run/ws/repo/shop/prices.py",
                    "oldString": "sum(prices) * discount_percent / 100",
                    "newString": "sum(prices) * (100 - discount_percent) / 100",
                },
            }
        ],
    },
    {
        "text": "Now the tests again.",
        "tool_calls": [
            {"name": "bash", "arguments": {"command": "python -m pytest -q", "description": "Run the tests again"}}
        ],
    },
    {"text": "total() kept only the discount. It now takes the discount off the sum, and both tests pass."},
]

CALLER_SCRIPT: list[Turn] = [
    {
        "text": "I will hand this to the sandbox.",
        "tool_calls": [{"name": "run_in_sandbox", "arguments": {"task": TASK}}],
    },
    {"text": "The sandbox found and fixed the bug; its patch is ready to be applied."},
]

AUDIT_SCRIPT: list[Turn] = [
    {"text": "One module.", "tool_calls": [{"name": "read", "arguments": {"filePath": "/run/ws/repo/shop/prices.py"}}]},
    {
        "tool_calls": [
            {
                "name": "StructuredOutput",
                "arguments": {
                    "summary": "One function, and nothing checks what it is given.",
                    "findings": [
                        {
                            "file": "shop/prices.py",
                            "line": 6,
                            "severity": "medium",
                            "why": "A discount above 100 per cent makes a negative price.",
                        }
                    ],
                },
            }
        ]
    },
]

CHANGELOG_SCRIPT: list[Turn] = [
    {
        "text": "A new file, then.",
        "tool_calls": [
            {
                "name": "write",
                "arguments": {
                    "filePath": "/run/ws/repo/CHANGELOG.md",
                    "content": "# Changes\n\n- Discounts are taken off the price.\n",
                },
            }
        ],
    },
    {"text": "CHANGELOG.md names the fix."},
]


def make_repository(folder: Path) -> None:
    """Write the sample into an empty folder and commit it."""
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    author = ["-c", "user.name=Sample", "-c", "user.email=sample@example.com"]
    for command in (["init", "--quiet", "-b", "main"], ["add", "."], [*author, "commit", "--quiet", "-m", "A shop"]):
        subprocess.run(["git", *command], cwd=folder, check=True)  # noqa: S603, S607 - fixed words
