"""Reads while the service behind does not answer: the last good answer, marked as old."""

import json
from typing import Any

import pytest
from fastapi import FastAPI

from chassis.problems import NotFound
from chassis.service import Reply
from chassis.sidecar import Answer, SidecarError, Unanswered, Unreachable
from gateway import upstream
from gateway.fallback import Fallback, question
from support.behind import Behind, daprd_says, gateway, refused, refuses, says
from support.http import Heard, ask

ANSWER = {"orderId": "o-1", "status": "pending", "total": 9.5}
FAILURES = {
    "no answer": Unanswered("timed out"),
    "no sidecar": Unreachable("no daprd"),
    "open circuit": daprd_says("circuit breaker is open"),
    "its own error": Answer(500, b"boom"),
    "silence": None,
}


async def order(app: FastAPI, name: str = "o-1") -> Heard:
    return await ask(app, "GET", f"/api/v1/orders/{name}")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "READ_SECONDS", 0.05)
    monkeypatch.setattr(upstream, "ROOM_SECONDS", 0.05)


def fails(behind: Behind, failure: Answer | SidecarError | None) -> None:
    behind.answer = failure


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_the_last_good_answer_is_given_and_marked(failure: Answer | SidecarError | None) -> None:
    behind = says(ANSWER)
    app = gateway(behind)
    fresh = await order(app)
    fails(behind, failure)
    old = await order(app)
    assert (old.status, old.json) == (200, fresh.json)
    assert (old.headers["warning"], old.headers["age"]) == ('110 - "Response is Stale"', "0")
    assert not {"warning", "age"} & fresh.headers.keys()


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_what_was_never_answered_is_a_problem(failure: Answer | SidecarError | None) -> None:
    behind = says(ANSWER)
    app = gateway(behind)
    await order(app)
    fails(behind, failure)
    heard = await order(app, "another")
    assert heard.status in {503, 504}
    assert "retry-after" in heard.headers


async def test_a_refusal_is_an_answer_and_no_failure() -> None:
    behind = says(ANSWER)
    app = gateway(behind)
    await order(app)
    behind.answer = refuses(NotFound("gone")).answer
    refused(await order(app), 404)
    fails(behind, Unanswered("timed out"))
    refused(await order(app), 504)  # and what was said before is not brought up again


async def test_a_service_that_hangs_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "AT_ONCE", 0)
    refused(await order(gateway(says(ANSWER))), 503)


def reply(value: Any) -> Reply:
    return Reply(200, value)


def test_the_age_is_counted() -> None:
    now = 100.0
    fallback = Fallback(clock=lambda: now)
    fallback.keep(question("orders", "order", {"id": "1"}), reply(1))
    now = 161.9
    old = fallback.recall(question("orders", "order", {"id": "1"}))
    assert old
    assert old.headers["age"] == "61"


def test_it_is_bounded_and_forgets_the_longest_unused() -> None:
    fallback = Fallback(entries=2)
    one, two, three = (question("orders", "order", {"id": name}) for name in "123")
    fallback.keep(one, reply(1))
    fallback.keep(two, reply(2))
    fallback.recall(one)
    fallback.keep(three, reply(3))
    assert [bool(fallback.recall(each)) for each in (one, two, three)] == [True, False, True]


def test_it_is_bounded_in_bytes_too() -> None:
    fallback = Fallback(size=100)
    for name in "1234":
        fallback.keep(question("orders", "order", {"id": name}), reply("x" * 38))
    kept = [name for name in "1234" if fallback.recall(question("orders", "order", {"id": name}))]
    assert kept == ["3", "4"]
    fallback.keep(question("orders", "order", {"id": "huge"}), reply("x" * 200))
    assert fallback.recall(question("orders", "order", {"id": "huge"})) is None


def test_another_question_is_another_answer() -> None:
    fallback = Fallback()
    fallback.keep(question("orders", "user-orders", {"user": "a", "count": "2"}), reply("a"))
    assert fallback.recall(question("orders", "user-orders", {"user": "b", "count": "2"})) is None
    same = fallback.recall(question("orders", "user-orders", {"count": "2", "user": "a"}))
    assert same
    assert json.loads(bytes(same.response().body)) == "a"
