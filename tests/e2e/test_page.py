"""The status page in a real browser: somebody orders something, sees it move, and sees what is away."""

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from support.browser import browsing
from support.customer import Customer
from support.installation import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.audited_together, pytest.mark.timeout(180)]

SOON = 20_000  # ms


@pytest.fixture
def page(system: Installation) -> Iterator[Page]:
    with browsing() as tab:
        tab.goto(f"http://127.0.0.1:{system.port}/")
        expect(tab.get_by_text("It works")).to_be_visible(timeout=SOON)
        yield tab


def order(page: Page, button: str = "Place order") -> Locator:
    """Press a button that places one order; returns its line in the list."""
    page.get_by_role("button", name=button).click()
    expect(page.locator("#said")).to_contain_text("Accepted as ", timeout=SOON)
    name = (page.locator("#said").text_content() or "").split()[-1]
    line = page.locator(f"li.order[data-order$='{name}']")
    expect(line).to_be_visible(timeout=SOON)
    return line


def name_of(line: Locator) -> str:
    """Return an order's id."""
    return line.get_attribute("data-order") or ""


def ended(line: Locator, how: str) -> None:
    """Wait until an order is shown to have ended."""
    expect(line.locator(".end b")).to_have_text(how, timeout=SOON)


def test_an_order_is_placed_and_seen_confirmed(page: Page, customer: Customer) -> None:
    page.get_by_label("Customer").select_option("user-3")
    page.get_by_label("Product 1", exact=True).select_option("TENT-2")
    page.get_by_label("Quantity of product 1").fill("3")
    line = order(page)
    ended(line, "confirmed")
    expect(line.locator(".who")).to_contain_text("user-3")
    shown = customer.shown(name_of(line))
    assert (shown["status"], shown["userId"]) == ("confirmed", "user-3")
    assert [(item["sku"], item["quantity"]) for item in shown["items"]] == [("TENT-2", 3)]
    expect(line.locator(".track li.done")).to_have_count(3)
    expect(line.locator(".track i").first).to_contain_text("stock")


def test_an_open_order_is_cancelled_by_its_customer(system: Installation, page: Page, customer: Customer) -> None:
    with system.frozen("payments.app", "payments.daprd"):
        line = order(page)
        expect(line.locator(".track li.done")).to_have_count(2, timeout=SOON)  # reserved
        line.get_by_role("button", name="Cancel").click()
        ended(line, "cancelled")
        assert customer.shown(name_of(line))["status"] == "cancelled"
        expect(line.locator(".why")).not_to_be_empty()


@pytest.mark.parametrize("recipe", ["more than there is in stock", "more than the bank allows"])
def test_what_cannot_be_met_is_cancelled_with_the_reason(page: Page, recipe: str) -> None:
    line = order(page, recipe)
    ended(line, "cancelled")
    expect(line.locator(".why")).not_to_be_empty()


def test_ten_are_placed_at_once(page: Page) -> None:
    page.get_by_role("button", name="ten at once").click()
    expect(page.get_by_text("10 orders accepted")).to_be_visible(timeout=SOON)
    expect(page.locator("li.order button")).to_have_count(0, timeout=SOON)  # all have ended


def test_a_service_that_is_away_is_seen_and_seen_to_come_back(system: Installation, page: Page) -> None:
    service = page.locator("#services li", has_text="notifications")
    expect(service).to_contain_text("serving")
    with system.frozen("notifications.app"):
        expect(service).to_contain_text("away", timeout=SOON)
        expect(page.get_by_text("notifications is away")).to_be_visible()
    expect(page.get_by_text("It works")).to_be_visible(timeout=60_000)


def test_a_page_that_looks_does_not_hold_up_the_gateway_and_finds_it_again(system: Installation, page: Page) -> None:
    before = order(page)
    gateway = system.state_of("gateway.app").process()
    assert gateway
    gateway.terminate()
    psutil.wait_procs([gateway], timeout=10)
    assert not gateway.is_running()
    expect(page.get_by_text("The gateway does not answer")).to_be_visible(timeout=SOON)
    expect(page.get_by_text("It works")).to_be_visible(timeout=SOON)
    ended(before, "confirmed")
    ended(order(page), "confirmed")


def test_the_page_asks_nobody_but_this_gateway(system: Installation) -> None:
    asked: set[str] = set()
    with browsing() as tab:
        tab.on("request", lambda request: asked.add(urlsplit(request.url).netloc or "data"))
        tab.goto(f"http://127.0.0.1:{system.port}/")
        expect(tab.get_by_text("It works")).to_be_visible(timeout=SOON)
    assert asked - {"data"} == {f"127.0.0.1:{system.port}"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(system: Installation, scheme: Literal["light", "dark"]) -> None:
    with browsing(width=360, height=740, scheme=scheme) as tab:
        tab.goto(f"http://127.0.0.1:{system.port}/")
        order(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_every_control_has_a_name(page: Page) -> None:
    order(page)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('a, button, select, input')]"
        ".filter((e) => !(e.textContent.trim() && e.tagName !== 'SELECT') && !e.ariaLabel && !(e.labels || []).length)"
        ".map((e) => e.outerHTML)"
    )
    assert unnamed == []
