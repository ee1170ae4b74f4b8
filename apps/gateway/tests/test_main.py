"""The gateway as it is put together: its page, its bounds."""

import re

import pytest

from chassis.problems import MEDIA_TYPE
from gateway.main import app
from support.http import ask


async def test_the_api_page_needs_no_internet() -> None:
    page = await ask(app, "GET", "/docs")
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert len(wanted) >= 2
    for address in wanted:
        assert address.startswith("/")
        assert (await ask(app, "GET", address)).status == 200


async def test_every_route_is_described_with_its_answer_and_its_problems() -> None:
    described = (await ask(app, "GET", "/openapi.json")).json
    operations = {
        f"{verb.upper()} {path}": operation
        for path, each in described["paths"].items()
        for verb, operation in each.items()
    }
    assert set(operations) == {
        "POST /api/v1/users", "GET /api/v1/users/{user_id}", "GET /api/v1/users/{user_id}/orders",
        "POST /api/v1/users/{user_id}/deactivate", "GET /api/v1/products", "POST /api/v1/products",
        "GET /api/v1/products/{sku}", "PUT /api/v1/products/{sku}/price", "POST /api/v1/products/{sku}/restock",
        "POST /api/v1/orders", "GET /api/v1/orders/{order_id}", "POST /api/v1/orders/{order_id}/cancel",
    }  # fmt: skip
    for operation in operations.values():
        done, *problems = (answer["content"] for answer in operation["responses"].values())
        assert "$ref" in done["application/json"]["schema"]
        assert [list(each) for each in problems] == [[MEDIA_TYPE]] * 2


async def test_every_write_takes_a_key() -> None:
    described = (await ask(app, "GET", "/openapi.json")).json
    writes = [op for each in described["paths"].values() for verb, op in each.items() if verb != "get"]
    for operation in writes:
        assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"headers": {"cookie": "c" * 20_000}}, 431),
        ({"query": {"page": "1" * 3000}}, 414),
        ({"body": b" " * 70_000}, 413),
    ],
)
async def test_what_is_too_large_is_refused_unread(more: dict, status: int) -> None:
    heard = await ask(app, "GET", "/api/v1/products", **more)
    assert (heard.status, heard.headers["content-type"]) == (status, MEDIA_TYPE)
    assert heard.json["status"] == status
