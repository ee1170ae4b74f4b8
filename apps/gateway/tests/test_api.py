"""The gateway alone: what it lets through, what it renders, and what it says when nobody is behind it."""

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest

from chassis.problems import KeyReused, NotFound, OutcomeUnknown
from chassis.sidecar import Answer, SidecarError, Unanswered, Unreachable
from support.behind import Behind, daprd_says, gateway, refused, refuses, says
from support.http import Heard, ask

ORDER = {"userId": "u-1", "items": [{"sku": "TEA", "quantity": 2}]}
ACCEPTED = {"orderId": "o-1", "status": "pending"}


async def place(behind: Behind, body: Any = ORDER, key: str | None = None) -> Heard:
    headers = {"Idempotency-Key": key} if key else {}
    return await ask(gateway(behind), "POST", "/api/v1/orders", body=body, headers=headers)


async def test_an_order_is_accepted_with_its_location() -> None:
    behind = says(ACCEPTED, 202)
    heard = await place(behind)
    assert (heard.status, heard.json) == (202, ACCEPTED)
    assert heard.headers["location"] == "/api/v1/orders/o-1"
    assert behind.asked == [("POST", "place-order", ORDER, {})]


async def test_the_clients_key_is_passed_on() -> None:
    behind = says(ACCEPTED, 202)
    await place(behind, key="mine")
    assert behind.headers["Idempotency-Key"] == "mine"


async def test_a_key_is_attached_where_there_is_none() -> None:
    first, second = says(ACCEPTED, 202), says(ACCEPTED, 202)
    await place(first)
    await place(second)
    assert len(first.headers["Idempotency-Key"]) == 36
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"items": ORDER["items"]}, "userId"),
        ({**ORDER, "items": []}, "items"),
        ({**ORDER, "items": [{"sku": "TEA", "quantity": 101}]}, "items.0.quantity"),
        ({**ORDER, "coupon": "FREE"}, "coupon"),
    ],
)
async def test_a_wrong_field_is_named_and_nobody_is_asked(body: Any, field: str) -> None:
    behind = says(ACCEPTED, 202)
    refused(await place(behind, body), 422, field)
    assert behind.asked == []


async def test_a_huge_body_is_cut_off() -> None:
    behind = says(ACCEPTED, 202)
    refused(await place(behind, b"[" * (1024 * 1024 + 1)), 413)
    assert behind.asked == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/users/u-1", ("user", {"id": "u-1"})),
        ("/users/u-1/orders", ("user-orders", {"user": "u-1", "count": "20"})),
        ("/users/u-1/orders?before=7&count=5", ("user-orders", {"user": "u-1", "before": "7", "count": "5"})),
        ("/products", ("products", {"page": "0"})),
        ("/products?page=3", ("products", {"page": "3"})),
        ("/products/TEA", ("product", {"sku": "TEA"})),
        ("/orders/o-1", ("order", {"id": "o-1"})),
    ],
)
async def test_a_question_is_passed_on(path: str, asked: tuple[str, Any]) -> None:
    behind = says({"what": "it says"})
    path, _, query = path.partition("?")
    heard = await ask(gateway(behind), "GET", f"/api/v1{path}", query=dict(parse_qsl(query)))
    assert (heard.status, heard.json) == (200, {"what": "it says"})
    assert behind.asked == [("GET", asked[0], None, asked[1])]


TEA = {"sku": "TEA", "name": "Tea", "price": 4.5, "stock": 10}
ANNA = {"name": "Anna", "email": "anna@example.org"}
WISHES = {
    "register": ("POST", "/users", ANNA, "register-user", ANNA, 201),
    "deactivate": ("POST", "/users/u-1/deactivate", None, "deactivate-user", {"userId": "u-1"}, 200),
    "add": ("POST", "/products", TEA, "add-product", TEA, 201),
    "reprice": ("PUT", "/products/TEA/price", {"price": 5.0}, "change-price", {"sku": "TEA", "price": 5.0}, 200),
    "restock": ("POST", "/products/TEA/restock", {"quantity": 9}, "restock", {"sku": "TEA", "quantity": 9}, 200),
    "place": ("POST", "/orders", ORDER, "place-order", ORDER, 202),
    "cancel": ("POST", "/orders/o-1/cancel", None, "cancel-order", {"orderId": "o-1"}, 200),
}
DONE = {"orderId": "o-1", "userId": "u-1", "sku": "TEA", "status": "well", "active": True}


@pytest.mark.parametrize("wish", WISHES)
async def test_a_wish_is_passed_on_under_a_key(wish: str) -> None:
    verb, path, body, method, sent, status = WISHES[wish]
    behind = says(DONE, 202)
    heard = await ask(gateway(behind), verb, f"/api/v1{path}", body=body, headers={"Idempotency-Key": "mine"})
    assert (heard.status, heard.json) == (status, DONE)
    assert behind.asked == [("POST", method, sent, {})]
    assert behind.headers["Idempotency-Key"] == "mine"


@pytest.mark.parametrize("wish", WISHES)
async def test_a_wish_that_fails_can_be_repeated(wish: str) -> None:
    verb, path, body, *_ = WISHES[wish]
    behind = Behind(Unanswered("timed out"))
    heard = await ask(gateway(behind), verb, f"/api/v1{path}", body=body)
    assert (heard.status, heard.headers["retry-after"]) == (504, "2")
    assert heard.json["idempotencyKey"] == behind.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("wish", "at"), [("register", "/users/u-1"), ("add", "/products/TEA"), ("place", "/orders/o-1")]
)
async def test_what_was_made_says_where_it_is(wish: str, at: str) -> None:
    verb, path, body, *_ = WISHES[wish]
    heard = await ask(gateway(says(DONE, 202)), verb, f"/api/v1{path}", body=body)
    assert heard.headers["location"] == f"/api/v1{at}"


@pytest.mark.parametrize(
    ("verb", "path", "body", "field"),
    [
        ("POST", "/users", {"name": "Anna"}, "email"),
        ("POST", "/users", {**ANNA, "email": "anna"}, "email"),
        ("POST", "/users", {**ANNA, "name": "A" * 101}, "name"),
        ("POST", "/users", {**ANNA, "admin": True}, "admin"),
        ("POST", "/products", {**TEA, "sku": "a/b"}, "sku"),
        ("POST", "/products", {**TEA, "price": 0.001}, "price"),
        ("POST", "/products", {**TEA, "stock": -1}, "stock"),
        ("POST", "/products", {**TEA, "colour": "red"}, "colour"),
        ("PUT", "/products/TEA/price", {"price": "dear"}, "price"),
        ("PUT", "/products/TEA/price", {"price": 1, "sku": "CUP"}, "sku"),
        ("POST", "/products/TEA/restock", {"quantity": 0}, "quantity"),
        ("POST", "/products/TEA/restock", {"quantity": 1.5}, "quantity"),
        ("POST", "/products/a%20b/restock", {"quantity": 1}, "sku"),
        ("GET", f"/orders/{'o' * 101}", None, "order_id"),
        ("GET", f"/users/{'u' * 101}", None, "user_id"),
        ("GET", "/users/u-1/orders?count=101", None, "count"),
        ("GET", "/users/u-1/orders?count=0", None, "count"),
        ("GET", "/users/u-1/orders?before=-1", None, "before"),
        ("GET", "/users/u-1/orders?before=x", None, "before"),
        ("GET", "/products?page=10001", None, "page"),
    ],
)
async def test_every_wrong_field_is_named(verb: str, path: str, body: Any, field: str) -> None:
    behind = says(DONE)
    path, _, query = path.partition("?")
    refused(
        await ask(gateway(behind), verb, f"/api/v1{unquote(path)}", body=body, query=dict(parse_qsl(query))), 422, field
    )
    assert behind.asked == []


@pytest.mark.parametrize("key", ["k" * 201, ""])
async def test_a_key_has_a_length(key: str) -> None:
    heard = await ask(gateway(says(DONE)), "POST", "/api/v1/orders/o-1/cancel", headers={"Idempotency-Key": key})
    refused(heard, 422, "Idempotency-Key")


async def test_a_page_below_zero_is_refused() -> None:
    refused(await ask(gateway(says({})), "GET", "/api/v1/products", query={"page": "-1"}), 422, "page")


async def test_a_refusal_gets_its_real_status() -> None:
    heard = await ask(gateway(refuses(NotFound("there is no order o-9"))), "GET", "/api/v1/orders/o-9")
    assert refused(heard, 404) == "there is no order o-9"
    refused(await place(refuses(KeyReused("another body"))), 422)


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (Unreachable("no daprd"), 503, "own sidecar"),
        (Unanswered("timed out"), 504, "orders gave no answer in time"),
        (daprd_says("circuit breaker is open"), 503, "given a rest"),
        (daprd_says("too many requests"), 503, "given a rest"),
        (daprd_says("couldn't find service: orders"), 503, "orders is not there"),
        (daprd_says("dial tcp 127.0.0.1:8081: connect: connection refused"), 503, "orders is not there"),
        (daprd_says("context deadline exceeded"), 504, "orders gave no answer"),
        (Answer(500, b"boom"), 504, "orders gave no answer"),
        (Answer(202, b'{"hello":1}'), 502, "no OrderAccepted"),
    ],
)
async def test_a_service_that_is_not_there_is_explained(
    failure: Answer | SidecarError, status: int, words: str
) -> None:
    assert words in refused(await place(Behind(failure)), status)


@pytest.mark.parametrize(
    "behind",
    [
        Behind(Unanswered("timed out")),
        Behind(Unreachable("no daprd")),
        Behind(daprd_says("circuit breaker is open")),
        refuses(OutcomeUnknown("hm"), 504),
    ],
)
async def test_whatever_fails_an_order_comes_with_the_key_to_repeat_it(behind: Behind) -> None:
    """The sidecar may have tried before: the last attempt's failure proves nothing about the first."""
    heard = await place(behind, key="mine")
    assert heard.json["idempotencyKey"] == "mine"
    assert "repeat" in heard.json["detail"]


async def test_a_refused_order_is_not_to_be_repeated() -> None:
    assert "idempotencyKey" not in (await place(refuses(KeyReused("another body")), key="mine")).json


async def test_a_rest_says_how_long() -> None:
    heard = await place(Behind(daprd_says("circuit breaker is open")))
    assert heard.headers["retry-after"] == "30"
