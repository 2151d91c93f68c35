"""Debian's Chromium, driven by Playwright: what a person's browser makes of a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

#: Without a sandbox, because tests may run as root; pages come from our own server alone.
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Window:
    """A browser's page; `asked`: every address but the documents'; `complaints`: errors of
    scripts, of the console (a policy that was broken among them) and of requests."""

    page: object
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str) -> int:
        """Loaded with its pictures; answers the HTTP status."""
        self.asked.clear()
        self.complaints.clear()
        return self.page.goto(address, wait_until="load").status


@contextmanager
def running_browser() -> Iterator[Window]:
    """Skips where there is no Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no Chromium here, so no page is looked at: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_FLAGS])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        window = Window(page)

        def note(request) -> None:
            if request.resource_type != "document" and not request.url.startswith("data:"):
                window.asked.append(request.url)

        page.on("request", note)
        page.on("pageerror", lambda error: window.complaints.append(str(error)))
        page.on("console", lambda said: window.complaints.append(said.text))
        page.on("requestfailed", lambda request: window.complaints.append(request.url))
        yield window
        browser.close()
