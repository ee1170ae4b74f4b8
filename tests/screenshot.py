"""`make screenshot`: the README's picture of the status page, taken from a real run in a folder of its own."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from support.browser import browsing
from support.installation import REPOSITORY, Installation

TARGET = REPOSITORY / "docs" / "images" / "status-page.png"
SOON = 30_000  # ms
ONE = ("Place order", 1)
WISHES = (
    ("ten at once", 10), ("ten at once", 10), ONE, ONE, ("more than the bank allows", 1), ONE, ONE,
    ("more than there is in stock", 1), ONE,
)  # fmt: skip


def stage(page: Page) -> None:
    """Let some orders go well, and some not; the first ones find everything cold and are not in the picture."""
    count = 0
    for press, more in WISHES:
        page.get_by_role("button", name=press).click()
        count += more
        expect(page.locator("li.order")).to_have_count(count, timeout=SOON)
        expect(page.locator("li.order button")).to_have_count(0, timeout=SOON)


def main() -> None:
    """Start the system, use the page, take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        shop = Installation.at(Path(folder) / "shop", {})
        shop.up()
        try:
            with browsing(height=1085, scale=1.5) as page:
                page.goto(f"http://127.0.0.1:{shop.port}/")
                expect(page.get_by_text("It works")).to_be_visible(timeout=SOON)
                stage(page)
                TARGET.parent.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=TARGET, animations="disabled")
        finally:
            shop.down()
    sys.stdout.write(f"{TARGET.relative_to(REPOSITORY)}\n")


if __name__ == "__main__":
    main()
