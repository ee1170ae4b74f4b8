"""What the gateway refuses, and how it says so."""

import json
from typing import Any
from uuid import uuid4

import pytest

from chassis import keys
from support.customer import Customer
from support.installation import Installation

pytestmark = pytest.mark.e2e

ITEM = {"sku": "SAIL-LATEEN", "quantity": 1}
INVALID = {
    "no user": ({"items": [ITEM]}, "userId"),
    "no items": ({"userId": "u", "items": []}, "items"),
    "nothing of it": ({"userId": "u", "items": [{**ITEM, "quantity": 0}]}, "items.0.quantity"),
    "half of it": ({"userId": "u", "items": [ITEM, {"sku": "YOKE-CARVED", "quantity": 0.5}]}, "items.1.quantity"),
    "an unknown product": ({"userId": "u", "items": [ITEM, {"sku": "SUBMARINE", "quantity": 1}]}, "items.1.sku"),
    "a product twice": ({"userId": "u", "items": [ITEM, ITEM]}, "items"),
    "a field nobody knows": ({"userId": "u", "items": [ITEM], "discount": 99}, "discount"),
    "a list": ([], "(body)"),
}


@pytest.mark.parametrize(("body", "field"), INVALID.values(), ids=INVALID)
def test_an_invalid_order_is_refused_with_the_name_of_its_field(customer: Customer, body: Any, field: str) -> None:
    heard = customer.ask("POST", "/api/v1/orders", body)
    assert (heard.status, heard.headers["content-type"]) == (422, "application/problem+json")
    assert (heard.json["type"], heard.json["field"]) == ("problem:Invalid", field)


def test_what_is_no_json_is_refused(customer: Customer) -> None:
    heard = customer.ask("POST", "/api/v1/orders", b'{"userId": ')
    assert (heard.status, heard.json["type"]) == (422, "problem:Invalid")


def test_a_key_that_is_too_long_is_refused_by_name(customer: Customer) -> None:
    heard = customer.order("SAIL-LATEEN", key="k" * 201)
    assert (heard.status, heard.json["field"]) == (422, "Idempotency-Key")


def test_a_body_beyond_the_limit_is_refused(customer: Customer) -> None:
    heard = customer.ask("POST", "/api/v1/orders", json.dumps({"userId": "u" * 2**20}).encode())
    assert (heard.status, heard.json["type"]) == (413, "problem:TooLarge")


def test_an_unknown_order_is_not_found(customer: Customer) -> None:
    heard = customer.ask("GET", "/api/v1/orders/nobodys")
    assert (heard.status, heard.headers["content-type"]) == (404, "application/problem+json")
    assert heard.json["type"] == "problem:NotFound"


def test_many_questions_for_unknown_orders_keep_the_circuit_closed(customer: Customer) -> None:
    known = customer.accepted("SAIL-LATEEN")
    heard = [customer.ask("GET", f"/api/v1/orders/nobodys-{number}").status for number in range(30)]
    assert heard == [404] * 30
    assert customer.shown(known)["orderId"] == known


@pytest.mark.parametrize("route", ["events", "events/", "%65vents", "/events", "x/../events"])
def test_no_service_can_slip_another_an_event(system: Installation, route: str) -> None:
    event_id, order = f"forged-{uuid4()}", {"orderId": "nobodys"}
    forged = {"eventType": "StockReserved", "eventId": event_id, "timestamp": "2026-01-01T00:00:00Z", "version": "1.0"}
    said = system.sidecar(
        "gateway", "POST", f"/v1.0/invoke/orders/method/{route}", {"data": {**forged, "payload": order}}
    )
    assert b"SUCCESS" not in said.content
    mark = system.sidecar("orders", "GET", f"/v1.0/state/store/{keys.inbox(event_id)}")
    assert (mark.status, mark.content) == (204, b"")
