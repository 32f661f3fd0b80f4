"""A real browser for the tests of what people look at."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start the machine's Chromium; a test that needs it is skipped where there is none."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs Chromium: scripts/browser installs it on Debian")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Look:
    """A file in a window of its own, and everything that the browser has to say about it.

    Args:
        browser: The browser.
        file: What to look at.
        width: Of the window, in pixels.
        scheme: `light` or `dark`.
    """

    def __init__(self, browser: Browser, file: Path, *, width: int = 1280, scheme: str = "light") -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})  # type: ignore[arg-type]
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def width(self) -> int:
        """How wide the page is, in pixels; wider than the window means that it has to be pushed about."""
        return int(self.page.evaluate("document.scrollingElement.scrollWidth"))

    def color(self, selector: str, name: str) -> str:
        """A property of an element's style, as it came out."""
        return str(self.page.evaluate(f"getComputedStyle(document.querySelector('{selector}'))['{name}']"))

    def close(self) -> None:
        """Close the window."""
        self.page.context.close()
