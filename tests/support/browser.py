"""A real Chromium for tests of the page: found, never fetched here."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Page, ViewportSize, sync_playwright

from chassis_testing.sidecars import untested

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
MISSING = (
    "NO BROWSER: the page was not tested. Install Chromium (Debian: `apt-get install chromium`, or "
    "`.venv/bin/playwright install chromium`), or set CHROMIUM to a binary."
)


def require_chromium() -> str:
    """Return a browser; without one the test is skipped, and fails where `CI` is true."""
    if found := os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None) or _playwrights_own():
        return found
    return untested(MISSING)


def _playwrights_own() -> str | None:
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None  # noqa: PTH110 - as it is told


@contextmanager
def browsing(
    *, width: int = 1280, height: int = 900, scale: float = 1, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """Open a tab; whatever the page complains of fails the test."""
    chromium = require_chromium()
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # which root cannot have
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*QUIET, *sandbox])
        try:
            size = ViewportSize(width=width, height=height)
            tab = browser.new_page(viewport=size, device_scale_factor=scale, color_scheme=scheme)
            complaints: list[str] = []
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
            yield tab
        finally:
            browser.close()
    assert not complaints
