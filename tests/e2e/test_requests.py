"""What the gateway does for the world beside taking orders, what it refuses, and how it says so."""

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from chassis import keys
from support.customer import Customer
from support.installation import Installation, ask
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.audited_together]

ITEM = {"sku": "SAIL-LATEEN", "quantity": 1}
INVALID = {
    "no user": ({"items": [ITEM]}, "userId"),
    "no items": ({"userId": "u", "items": []}, "items"),
    "nothing of it": ({"userId": "u", "items": [{**ITEM, "quantity": 0}]}, "items.0.quantity"),
    "half of it": ({"userId": "u", "items": [ITEM, {"sku": "YOKE-CARVED", "quantity": 0.5}]}, "items.1.quantity"),
    "an unknown user": ({"userId": "nobody", "items": [ITEM]}, "userId"),
    "an unknown product": ({"userId": "user-1", "items": [ITEM, {"sku": "SUBMARINE", "quantity": 1}]}, "items.1.sku"),
    "a product twice": ({"userId": "u", "items": [ITEM, ITEM]}, "items"),
    "a field nobody knows": ({"userId": "u", "items": [ITEM], "discount": 99}, "discount"),
    "a list": ([], "(body)"),
}


WRONG = {
    "no address": ("POST", "/users", {"name": "Ann", "email": "ann"}, "email"),
    "a long name": ("POST", "/users", {"name": "A" * 101, "email": "ann@example.org"}, "name"),
    "a sku with a blank": ("POST", "/products", {"sku": "a b", "name": "x", "price": 1, "stock": 1}, "sku"),
    "a third of a cent": ("PUT", "/products/SAIL-LATEEN/price", {"price": 0.333}, "price"),
    "half a piece": ("POST", "/products/SAIL-LATEEN/restock", {"quantity": 0.5}, "quantity"),
    "a field too many": ("POST", "/products/SAIL-LATEEN/restock", {"quantity": 1, "colour": "red"}, "colour"),
    "a page too large": ("GET", "/users/user-1/orders?count=101", None, "count"),
    "a page before the first": ("GET", "/products?page=-1", None, "page"),
    "an id too long": ("GET", f"/orders/{'o' * 101}", None, "order_id"),
}


@pytest.mark.parametrize(("verb", "path", "body", "field"), WRONG.values(), ids=WRONG)
def test_whatever_is_wrong_is_named(customer: Customer, verb: str, path: str, body: Any, field: str) -> None:
    heard = customer.ask(verb, f"/api/v1{path}", body)
    assert (heard.status, heard.json["type"], heard.json["field"]) == (422, "problem:Invalid", field)


UNKNOWN = {
    "a user": ("GET", "/users/nobody", None),
    "a user to deactivate": ("POST", "/users/nobody/deactivate", None),
    "a product": ("GET", "/products/NOTHING", None),
    "a price": ("PUT", "/products/NOTHING/price", {"price": 1}),
    "a stock": ("POST", "/products/NOTHING/restock", {"quantity": 1}),
    "an order to cancel": ("POST", "/orders/nobodys/cancel", None),
    "a page": ("GET", "/nothing", None),
}


@pytest.mark.parametrize(("verb", "path", "body"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_there_is_not_found(customer: Customer, verb: str, path: str, body: Any) -> None:
    heard = customer.ask(verb, f"/api/v1{path}", body)
    assert (heard.status, heard.json["type"]) == (404, "problem:NotFound")


def test_a_product_is_added_once_repriced_and_restocked_once_a_key(customer: Customer) -> None:
    sku = f"NEW-{uuid4()}"
    product = {"sku": sku, "name": "Something new", "price": 7.5, "stock": 2}
    made = [customer.ask("POST", "/api/v1/products", product) for _ in range(2)]
    assert {(heard.status, heard.headers["location"]) for heard in made} == {(201, f"/api/v1/products/{sku}")}
    assert customer.ask("POST", "/api/v1/products", product | {"stock": 3}).json["field"] == "sku"
    assert customer.ask("PUT", f"/api/v1/products/{sku}/price", {"price": 8}).status == 200
    for _ in range(2):
        more = customer.ask("POST", f"/api/v1/products/{sku}/restock", {"quantity": 5}, {"Idempotency-Key": sku})
        assert more.status == 200
    shown = customer.ask("GET", f"/api/v1/products/{sku}").json
    assert shown == {"sku": sku, "name": "Something new", "price": 8, "available": 7}
    assert customer.ended(customer.accepted(sku, 7))["status"] == "confirmed"


def test_who_is_deactivated_orders_nothing_more(customer: Customer) -> None:
    customer.accepted("SAIL-LATEEN")
    gone = [customer.ask("POST", f"/api/v1/users/{customer.user}/deactivate") for _ in range(2)]
    assert {(heard.status, heard.json["active"]) for heard in gone} == {(200, False)}
    eventually(lambda: customer.order("SAIL-LATEEN").status == 409, within=15, what="orders has heard of it")
    assert customer.ask("GET", f"/api/v1/users/{customer.user}").json["active"] is False


def test_a_users_orders_are_listed_newest_first_over_pages(customer: Customer) -> None:
    placed = [customer.accepted("SAIL-LATEEN") for _ in range(7)]
    path = f"/api/v1/users/{customer.user}/orders"
    eventually(lambda: len(customer.ask("GET", path).json["orders"]) == 7, within=15, what="all are listed")
    shown, before = [], ""
    for expected in (3, 3, 1):
        page = customer.ask("GET", f"{path}?count=3{before}").json
        assert len(page["orders"]) == expected
        shown += [order["orderId"] for order in page["orders"]]
        before = f"&before={page['next']}"
    assert (shown, page["next"]) == (placed[::-1], None)


def test_a_customer_changes_their_mind_in_time(system: Installation, customer: Customer) -> None:
    before = system.document("inventory", "stock/MAST-SPRUCE")
    with system.frozen("payments.app"):
        order = customer.accepted("MAST-SPRUCE")
        said = [customer.ask("POST", f"/api/v1/orders/{order}/cancel") for _ in range(2)]
    assert [(heard.status, heard.json) for heard in said] == [(200, {"orderId": order, "status": "cancelled"})] * 2
    assert customer.ended(order)["reason"] == "cancelled by the customer"
    eventually(lambda: system.document("inventory", "stock/MAST-SPRUCE") == before, within=15, what="it is put back")


def test_a_confirmed_order_is_not_cancelled(customer: Customer) -> None:
    order = customer.accepted("SAIL-LATEEN")
    assert customer.ended(order)["status"] == "confirmed"
    heard = customer.ask("POST", f"/api/v1/orders/{order}/cancel")
    assert (heard.status, heard.json["type"]) == (409, "problem:Conflict")


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


@pytest.mark.parametrize("size", [2**16, 2**20])
def test_a_body_beyond_the_limit_is_refused(customer: Customer, size: int) -> None:
    heard = customer.ask("POST", "/api/v1/orders", json.dumps({"userId": "u" * size}).encode())
    assert (heard.status, heard.json["type"]) == (413, "problem:TooLarge")


def test_headers_and_addresses_have_bounds(customer: Customer) -> None:
    assert customer.ask("GET", "/api/v1/products", headers={"cookie": "c" * 2**15}).status == 431
    assert customer.ask("GET", f"/api/v1/products?page={'1' * 4000}").status == 414


def test_an_unknown_order_is_not_found(customer: Customer) -> None:
    heard = customer.ask("GET", "/api/v1/orders/nobodys")
    assert (heard.status, heard.headers["content-type"]) == (404, "application/problem+json")
    assert heard.json["type"] == "problem:NotFound"


def test_a_hundred_questions_for_what_is_unknown_leave_every_circuit_closed(
    system: Installation, customer: Customer
) -> None:
    paths = ("orders/nobodys", "users/nobody", "products/NOTHING")
    heard = [customer.ask("GET", f"/api/v1/{path}-{number}").status for path in paths for number in range(100)]
    assert heard == [404] * 300
    strangers = [replace(customer, user=f"nobody-{number}").order("SAIL-LATEEN").status for number in range(20)]
    assert strangers == [422] * 20
    for name in ("gateway", "orders"):
        circuits = ask(system.service(name).app_url, "GET", "/status").json["circuits"]
        assert {circuit["state"] for circuit in circuits} == {"closed"}, circuits


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
