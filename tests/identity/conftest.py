"""The system as in a cluster, started once for all tests here, and what must not have changed after each."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from identity.fence import fence
from identity.questions import SKU, TOO_MANY, USER, Question, questions
from identity.secured import Secured, asked, secured
from support.installation import reachable
from support.polling import eventually

ENDS = ("captured", "declined")  # of payments


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Run it, with one order that came through and one that did not."""
    with secured(tmp_path_factory.mktemp("identity") / "a folder") as system:
        yield system


@pytest.fixture(scope="package")
def orders(running: Secured) -> dict[str, str]:
    """Place an order that is confirmed, and one that is cancelled; returns their ids."""
    for path in (f"products/{SKU}", f"users/{USER}"):
        eventually(lambda path=path: reachable(running.plan.gateway_url, f"/api/v1/{path}"), within=30, what=path)
    placed = {"confirmed": _placed(running, 1), "cancelled": _placed(running, TOO_MANY)}
    for end, order in placed.items():
        eventually(lambda end=end, order=order: _shown(running, order)["status"] == end, within=30, what=end)
    _settle(running)
    return placed


@pytest.fixture
def system(running: Secured, orders: dict[str, str]) -> Iterator[Secured]:
    """Hand it over; afterwards no ledger, no book and no mail may be other than before."""
    _settle(running)
    before = running.rows()
    yield running
    fence(running)
    after = running.rows()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert not changed, f"something came of it: {sorted(changed)[:20]}"


@pytest.fixture
def asking(orders: dict[str, str]) -> dict[str, Question]:
    """Return a question for each operation."""
    return questions(orders["cancelled"])


def _placed(system: Secured, quantity: int) -> str:
    wish = {"userId": USER, "items": [{"sku": SKU, "quantity": quantity}]}
    heard = asked(system.plan.gateway_url, "POST", "/api/v1/orders", wish, {})
    assert heard.status == 202, heard.content
    return heard.json["orderId"]


def _shown(system: Secured, order: str) -> dict[str, Any]:
    return asked(system.plan.gateway_url, "GET", f"/api/v1/orders/{order}", None, {}).json


def _settle(system: Secured) -> None:
    """Wait until every follower of every journal is at its end, every order has its mails and its money."""
    open_: list[str] = []

    def settled() -> bool:
        rows = {key: str(value) for key, value in system.rows().items()}
        payments = {key: value for key, value in rows.items() if key.startswith("payments/doc:payment:")}
        created = sum(1 for key in rows if key.startswith("orders/doc:order:"))
        mails = sum(1 for key in rows if key.endswith(".eml"))
        open_[:] = asyncio.run(_late(system)) + [k for k, v in payments.items() if not any(end in v for end in ENDS)]
        open_.extend(["mails"] if mails != 2 * created else [])
        return not open_

    try:
        eventually(settled, within=30)
    except AssertionError:
        pytest.fail(f"not settled within 30 s: {open_}")


async def _late(system: Secured) -> list[str]:
    late: list[str] = []
    for app in system.table.components["store"]:
        async with system.ledger(app) as store:
            ledger = await store.heads()
        late += ledger.behind() if ledger else [app]
    return late
