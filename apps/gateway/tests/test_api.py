"""The gateway alone: what it lets through, what it renders, and what it says when nobody is behind it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI

from chassis.problems import MEDIA_TYPE, KeyReused, NotFound, OutcomeUnknown, Problem
from chassis.service import Service
from chassis.sidecar import Answer, SidecarError, Unanswered, Unreachable
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from gateway.api import Api
from support.http import Heard, ask

ORDER = {"userId": "u-1", "items": [{"sku": "TEA", "quantity": 2}]}
ACCEPTED = {"orderId": "o-1", "status": "pending"}


class Behind:
    """The services behind: remembers what it was asked, answers what it was told to."""

    def __init__(self, answer: Answer | SidecarError) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Any, Mapping[str, str]]] = []
        self.headers: Mapping[str, str] = {}

    async def __call__(
        self, method: str, body: bytes | None, query: Mapping[str, str], headers: Mapping[str, str], verb: str
    ) -> Answer:
        self.asked.append((verb, method, json.loads(body) if body else None, query))
        self.headers = headers
        if isinstance(self.answer, SidecarError):
            raise self.answer
        return self.answer


def says(value: Any, status: int = 200) -> Behind:
    return Behind(Answer(status, json.dumps(value).encode(), {"content-type": "application/json"}))


def refuses(problem: Problem, status: int = 200) -> Behind:
    """Refuse as a service does: a business refusal travels as 2xx."""
    return Behind(Answer(status, json.dumps(problem.body()).encode(), {"content-type": MEDIA_TYPE}))


def gateway(behind: Behind) -> FastAPI:
    sidecar = MemorySidecar(MemoryStore(), MemoryBroker(), apps={"orders": behind, "inventory": behind})
    service = Service("gateway", sidecar=sidecar)
    service.routes(Api(service).router)
    return service.app


async def place(behind: Behind, body: Any = ORDER, key: str | None = None) -> Heard:
    headers = {"Idempotency-Key": key} if key else {}
    return await ask(gateway(behind), "POST", "/api/v1/orders", body=body, headers=headers)


def refused(heard: Heard, status: int, field: str | None = None) -> str:
    """Expect a rendered problem; returns its detail."""
    assert heard.headers["content-type"] == MEDIA_TYPE
    assert (heard.status, heard.json["status"]) == (status, status)
    assert field is None or heard.json["field"] == field
    return heard.json["detail"]


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


async def test_an_order_is_shown() -> None:
    behind = says({"orderId": "o-1", "status": "confirmed"})
    heard = await ask(gateway(behind), "GET", "/api/v1/orders/o-1")
    assert (heard.status, heard.json["status"]) == (200, "confirmed")
    assert behind.asked == [("GET", "order", None, {"id": "o-1"})]


async def test_products_are_listed_by_page() -> None:
    behind = says({"products": [], "page": 3, "next": None})
    heard = await ask(gateway(behind), "GET", "/api/v1/products", query={"page": "3"})
    assert heard.json["page"] == 3
    assert behind.asked == [("GET", "products", None, {"page": "3"})]


async def test_a_page_below_zero_is_refused() -> None:
    refused(await ask(gateway(says({})), "GET", "/api/v1/products", query={"page": "-1"}), 422, "page")


async def test_a_refusal_gets_its_real_status() -> None:
    heard = await ask(gateway(refuses(NotFound("there is no order o-9"))), "GET", "/api/v1/orders/o-9")
    assert refused(heard, 404) == "there is no order o-9"
    refused(await place(refuses(KeyReused("another body"))), 422)


def daprd_says(why: str) -> Answer:
    """Answer as daprd does when it could not call."""
    message = f"failed to invoke, id: orders, err: {why}"
    return Answer(500, json.dumps({"errorCode": "ERR_DIRECT_INVOKE", "message": message}).encode())


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (Unreachable("no daprd"), 503, "own sidecar"),
        (Unanswered("timed out"), 504, "orders gave no answer in time"),
        (daprd_says("circuit breaker is open"), 503, "given a rest"),
        (daprd_says("couldn't find service: orders"), 503, "orders is not there"),
        (daprd_says("dial tcp 127.0.0.1:8081: connect: connection refused"), 503, "orders is not there"),
        (daprd_says("context deadline exceeded"), 504, "orders gave no answer"),
        (Answer(500, b"boom"), 504, "orders gave no answer"),
        (Answer(202, b'{"hello":1}'), 502, "no accepted order"),
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
