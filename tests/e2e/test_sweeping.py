"""Inbox marks go in time, and a message that comes long after is known by its origin."""

import pytest

from chassis import keys
from support.customer import Customer
from support.installation import Installation
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_an_old_message_changes_nothing(system: Installation, customer: Customer) -> None:
    def marked() -> bool:
        key = keys.inbox(created["eventId"])
        return system.sidecar("inventory", "GET", f"/v1.0/state/store/{key}").status == 200

    order = customer.accepted("KETTLE-1")
    assert customer.ended(order)["status"] == "confirmed"
    subjects = system.ledger("orders").subjects()
    created = subjects[f"order/{order}"][0]
    assert created["eventType"] == "OrderCreated"
    before = len(system.ledger("inventory").subjects()[f"reservation/{order}"])
    eventually(lambda: not marked(), within=60, what="the mark of OrderCreated is gone", pause=0.5)
    system.publish("orders", created)
    assert customer.ended(customer.accepted("KETTLE-1"))["status"] == "confirmed"  # which came behind it
    assert not marked()
    assert len(system.ledger("inventory").subjects()[f"reservation/{order}"]) == before
