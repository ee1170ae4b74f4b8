"""Facts of a former version, as a run of that time has written them, go through the system as it is now."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from chassis.envelope import Envelope
from chassis.rules import Rules
from chassis.sidecar import Put
from chassis.views import Fold, Slot
from chassis_testing.memory import MemoryStore
from contracts.orders import Cause, OrderCancelled
from support.system import RULES, System, running

ROWS: dict[str, Any] = json.loads(
    Path(__file__).with_name("recorded").joinpath("orders-cancelled-1.0.json").read_text()
)
RECORDED = [event for key, row in ROWS.items() if key.startswith("journal:") for event in row["events"]]
OLD = {event["payload"]["reason"]: event for event in RECORDED if event["eventType"] == "OrderCancelled"}
CAUSES = {
    "cancelled by the customer": Cause.CUSTOMER,
    "no more than 100000.00 at once": Cause.OTHER,
    "not enough stock of FIGUREHEAD": Cause.STOCK,
    "not settled in time: still pending at the deadline": Cause.DEADLINE,
}


@pytest.fixture
async def system() -> AsyncIterator[System]:
    """Only orders has a past, none of which was published yet."""
    store = MemoryStore()
    rows = ROWS | {"head:0": ROWS["head:0"] | {"published": 0}}
    store.apply([Put(key, value) for key, value in rows.items()], 0.0)
    async with running(orders=store) as made:
        yield made


def test_the_recorded_facts_are_of_the_former_version() -> None:
    assert OLD.keys() == CAUSES.keys()
    assert {event["version"] for event in OLD.values()} == {"1.0"}


@pytest.mark.parametrize("service", ["inventory", "notifications", "payments"])
@pytest.mark.parametrize(("reason", "cause"), CAUSES.items())
def test_every_consumer_reads_it_as_the_newest_version(service: str, reason: str, cause: Cause) -> None:
    rules = RULES[service]
    assert rules
    read = rules.catalogue.read(Envelope.parse(OLD[reason]))
    assert isinstance(read, OrderCancelled)
    assert (read.cause, read.reason, read.order_id) == (cause, reason, OLD[reason]["payload"]["orderId"])
    assert [line.model_dump() for line in read.items] == OLD[reason]["payload"]["items"]


def test_a_cause_that_a_reader_does_not_know_yet_is_another_one() -> None:
    told = OLD["cancelled by the customer"]["payload"] | {"cause": "flood"}
    assert OrderCancelled.model_validate(told).cause is Cause.OTHER


async def test_a_journal_with_old_facts_is_published_and_acted_on(system: System) -> None:
    orders = [event["payload"]["orderId"] for event in OLD.values()]
    await system.until(lambda: all({"created", "cancelled"} <= system.mails(order).keys() for order in orders))
    payments, inventory = system.stores["payments"].rows, system.stores["inventory"].rows
    await system.until(lambda: all(f"doc:payment:{order}" in payments for order in orders))
    await system.until(lambda: all(ended(inventory[f"doc:reservation:{order}"].value) for order in orders))
    assert not [key for name in RULES for key in system.stores[name].rows if key.startswith("dead")]


def ended(row: bytes) -> bool:
    return json.loads(row)["state"]["status"] in {"released", "rejected"}


async def test_a_view_is_rebuilt_over_old_facts(system: System) -> None:
    engine = system.services["orders"].engine
    assert engine
    before = (await system.ask("GET", "/api/v1/users/user-1/orders")).json["orders"]
    await engine.begin_rebuild("orders-by-user")
    await system.until(lambda: rebuilt(system))
    after = (await system.ask("GET", "/api/v1/users/user-1/orders")).json["orders"]
    assert before == after
    assert {order["orderId"] for order in after} >= {event["payload"]["orderId"] for event in OLD.values()}


async def rebuilt(system: System) -> bool:
    row = system.stores["orders"].rows.get("view:orders-by-user")
    return row is not None and json.loads(row.value) == {"active": 1, "building": None}


class Ended(BaseModel):
    """A row of a view that somebody declares today."""

    cause: Cause


def test_a_view_that_is_declared_today_folds_old_facts() -> None:
    rules = Rules()
    view = rules.view("ended", Ended, OrderCancelled, group=lambda row: row.cause)
    view.folds(lambda _row, event: Ended(cause=event.cause))
    folded = Fold(view, Slot("ended", 0), rules, list(OLD.values()), 0, 9)
    assert {folded._fold(None, event).cause for event in OLD.values()} == set(CAUSES.values())
