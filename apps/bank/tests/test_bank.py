"""What the bank promises of its operations, on the real app and a real book."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from bank.api import create
from bank.book import Book
from support.http import Heard, ask

KEY = "letmein"


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "books" / "book.db")


@pytest.fixture
def bank(book: Book) -> FastAPI:
    return create(book, KEY)


async def do(bank: FastAPI, operation: str, key: str = "o-1", **more: Any) -> Heard:
    return await ask(bank, "POST", f"/{operation}", body={"key": key, **more}, headers={"X-Api-Key": KEY})


async def standing(bank: FastAPI, operation: str, key: str = "o-1", **more: Any) -> str:
    heard = await do(bank, operation, key, **more)
    assert heard.status == 200, heard.content
    return heard.json["status"]


async def trouble(bank: FastAPI, mode: str, **more: Any) -> None:
    assert (await ask(bank, "POST", "/faults", body={"mode": mode, **more})).status == 200


class TestOperations:
    async def test_an_amount_is_held_then_taken_once(self, bank: FastAPI, book: Book) -> None:
        assert await standing(bank, "authorize", amount=99.99) == "authorized"
        assert [await standing(bank, "capture") for _ in range(3)] == ["captured"] * 3
        assert book.movements("o-1") == ["held", "taken"]

    async def test_a_repeated_authorization_is_the_same_one(self, bank: FastAPI, book: Book) -> None:
        first, again = [await do(bank, "authorize", amount="99.99") for _ in range(2)]
        assert first.json == again.json == {"key": "o-1", "status": "authorized", "reason": None, "amount": "99.99"}
        assert book.movements("o-1") == ["held"]

    async def test_a_key_stands_for_one_amount(self, bank: FastAPI) -> None:
        await do(bank, "authorize", amount=1)
        assert (await do(bank, "authorize", amount=2)).status == 409

    async def test_a_void_lets_go(self, bank: FastAPI, book: Book) -> None:
        await do(bank, "authorize", amount=1)
        assert [await standing(bank, "void") for _ in range(2)] == ["voided"] * 2
        assert book.movements("o-1") == ["held", "released"]

    async def test_a_void_before_its_authorization_bars_it(self, bank: FastAPI, book: Book) -> None:
        assert await standing(bank, "void") == "voided"
        assert await standing(bank, "authorize", amount=1) == "voided"
        assert book.movements("o-1") == []

    async def test_a_voided_payment_is_not_taken(self, bank: FastAPI, book: Book) -> None:
        await do(bank, "authorize", amount=1)
        await do(bank, "void")
        assert await standing(bank, "capture") == "voided"
        assert "taken" not in book.movements("o-1")

    async def test_what_was_taken_stays_taken(self, bank: FastAPI) -> None:
        await do(bank, "authorize", amount=1)
        await do(bank, "capture")
        assert await standing(bank, "void") == "captured"
        assert await standing(bank, "authorize", amount=1) == "captured"

    async def test_nothing_unknown_is_taken(self, bank: FastAPI, book: Book) -> None:
        assert await standing(bank, "capture") == "unknown"
        assert book.page("", 10) == []

    async def test_too_much_is_declined_for_good(self, bank: FastAPI, book: Book) -> None:
        heard = [await do(bank, "authorize", amount="100000.01") for _ in range(2)]
        assert {each.json["status"] for each in heard} == {"declined"}
        assert heard[0].json["reason"] == "no more than 100000.00 at once"
        assert await standing(bank, "authorize", "o-2", amount="100000.00") == "authorized"
        assert await standing(bank, "capture") == "declined"
        assert book.movements("o-1") == []

    async def test_what_was_declined_can_be_voided(self, bank: FastAPI) -> None:
        await do(bank, "authorize", amount=100_001)
        assert await standing(bank, "void") == "voided"

    @pytest.mark.parametrize(
        "body",
        [{}, {"key": "o-1"}, {"key": "", "amount": 1}, {"key": "k" * 201, "amount": 1}, {"key": "o-1", "amount": -1},
         {"key": "o-1", "amount": 0.001}, {"key": "o-1", "amount": "NaN"}, {"key": "o-1", "amount": 1, "tip": 1}],
    )  # fmt: skip
    async def test_what_makes_no_sense_is_refused(self, bank: FastAPI, body: dict[str, Any]) -> None:
        assert (await ask(bank, "POST", "/authorize", body=body, headers={"X-Api-Key": KEY})).status == 422

    @pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "letmeout"}, {"X-Api-Key": ""}])
    @pytest.mark.parametrize("operation", ["authorize", "void", "capture"])
    async def test_strangers_are_refused(
        self, bank: FastAPI, book: Book, operation: str, headers: dict[str, str]
    ) -> None:
        heard = await ask(bank, "POST", f"/{operation}", body={"key": "o-1", "amount": 1}, headers=headers)
        assert heard.status == 401
        assert book.page("", 10) == []


class TestTheBook:
    async def test_it_is_read_in_pages(self, bank: FastAPI) -> None:
        for n in range(5):
            await do(bank, "authorize", f"o-{n}", amount=n)
        first = (await ask(bank, "GET", "/book", query={"count": "3"})).json
        rest = (await ask(bank, "GET", "/book", query={"count": "3", "after": first["next"]})).json
        assert [each["key"] for each in first["payments"] + rest["payments"]] == [f"o-{n}" for n in range(5)]
        assert rest["next"] is None
        assert first["payments"][2] == {
            "key": "o-2", "status": "authorized", "reason": None, "amount": "2.00", "movements": ["held"],
        }  # fmt: skip

    async def test_it_is_still_there_after_a_restart(self, bank: FastAPI, book: Book, tmp_path: Path) -> None:
        await do(bank, "authorize", amount=1)
        book.close()
        assert await standing(create(Book(tmp_path / "books" / "book.db"), KEY), "capture") == "captured"


class TestTrouble:
    async def test_the_share_is_exact(self, bank: FastAPI) -> None:
        await trouble(bank, "fail", rate=0.6)
        statuses = [(await do(bank, "authorize", f"o-{n}", amount=1)).status for n in range(50)]
        assert statuses.count(500) == 30
        assert {statuses[n : n + 5].count(500) for n in range(0, 50, 5)} == {3}

    async def test_a_failure_proves_nothing(self, bank: FastAPI, book: Book) -> None:
        await trouble(bank, "fail")
        for n in range(4):
            assert (await do(bank, "authorize", f"o-{n}", amount=1)).status == 500
        assert [payment.key for payment, _ in book.page("", 10)] == ["o-1", "o-3"]

    async def test_a_decline_stays_when_the_trouble_is_over(self, bank: FastAPI) -> None:
        await trouble(bank, "decline")
        assert await standing(bank, "authorize", amount=1) == "declined"
        await trouble(bank, "none")
        assert await standing(bank, "authorize", amount=1) == "declined"
        assert await standing(bank, "authorize", "o-2", amount=1) == "authorized"

    async def test_only_authorizations_are_declined(self, bank: FastAPI) -> None:
        await do(bank, "authorize", amount=1)
        await trouble(bank, "decline", rate=0.5)
        assert await standing(bank, "capture") == "captured"
        assert [await standing(bank, "authorize", f"o-{n}", amount=1) for n in (2, 3)] == ["authorized", "declined"]

    async def test_a_slow_call_does_its_work_in_the_end(self, bank: FastAPI) -> None:
        await trouble(bank, "slow", delay=0.01)
        assert await standing(bank, "authorize", amount=1) == "authorized"

    @pytest.mark.parametrize(
        "body", [{"mode": "tired"}, {"mode": "slow", "delay": 0}, {"mode": "fail", "rate": 1.1}, {"mood": "none"}]
    )
    async def test_unknown_trouble_is_refused(self, bank: FastAPI, body: dict[str, Any]) -> None:
        assert (await ask(bank, "POST", "/faults", body=body)).status == 422
