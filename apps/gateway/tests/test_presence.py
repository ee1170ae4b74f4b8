"""A service that is not there for a moment: callers wait until it is, and do not try in the meantime."""

import asyncio
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from chassis.sidecar import Answer, SidecarError, Unanswered, Unreachable
from gateway import presence, upstream
from gateway.presence import Presence
from support.behind import Behind, daprd_says, gateway, refused, says
from support.http import Heard, ask

ORDER = {"userId": "u-1", "items": [{"sku": "TEA", "quantity": 2}]}
GIVEN = says({"orderId": "o-1", "status": "pending"}, 202).answer


def broken(cause: Exception) -> SidecarError:
    error = Unanswered("went out without an answer")
    error.__cause__ = cause
    return error


AWAY = {
    "no app": daprd_says("dial tcp 127.0.0.1:8081: connect: connection refused"),
    "no sidecar of its own": daprd_says("couldn't find service: orders"),
    "no sidecar of ours": Unreachable("no daprd"),
    "our sidecar went in between": broken(ConnectionResetError()),
    "the app went in between": daprd_says("error reading from server: EOF"),
}
CALLERS = 20
LONG = 60.0  # s


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "EVERY", 0.001)


async def place(app: FastAPI) -> Heard:
    return await ask(app, "POST", "/api/v1/orders", body=ORDER)


async def read(app: FastAPI) -> Heard:
    return await ask(app, "GET", "/api/v1/orders/o-1")


def calls(behind: Behind) -> int:
    """Count the calls that are not the gateway's own question."""
    return sum(method != "ready" for _, method, _, _ in behind.asked)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("failure", AWAY.values(), ids=AWAY)
@pytest.mark.parametrize("call", [place, read])
async def test_who_comes_while_nobody_is_there_is_served_when_somebody_is(
    call: Callable, failure: Answer | SidecarError
) -> None:
    behind = Behind(failure)
    app = gateway(behind, LONG)
    waiting = [asyncio.create_task(call(app)) for _ in range(CALLERS)]
    await until(lambda: len(behind.asked) > 3 * CALLERS)  # it is asked for again and again
    behind.answer = GIVEN
    assert {heard.status for heard in await asyncio.gather(*waiting)} <= {200, 202}


async def test_only_those_who_were_under_way_run_into_it() -> None:
    behind = Behind(AWAY["no app"])
    app = gateway(behind, LONG)
    first = asyncio.create_task(place(app))
    await until(lambda: len(behind.asked) > 1)
    others = [asyncio.create_task(place(app)) for _ in range(CALLERS)]
    await until(lambda: len(behind.asked) > CALLERS)
    assert calls(behind) == 1
    behind.answer = GIVEN
    await asyncio.gather(first, *others)
    assert calls(behind) == 2 + CALLERS


async def test_a_wish_is_repeated_under_its_key() -> None:
    behind = Behind(AWAY["our sidecar went in between"])
    waiting = asyncio.create_task(place(gateway(behind, LONG)))
    await until(lambda: calls(behind))
    key = behind.headers.get("Idempotency-Key")
    await until(lambda: len(behind.asked) > 2)
    behind.answer = GIVEN
    assert (await waiting).status == 202
    assert key
    assert behind.headers["Idempotency-Key"] == key


async def test_an_old_answer_is_given_at_once_and_nobody_is_asked_for_it() -> None:
    behind = says({"orderId": "o-1"})
    app = gateway(behind, LONG)
    await read(app)
    behind.answer = AWAY["no app"]
    assert (await read(app)).headers["age"] == "0"
    before = calls(behind)
    assert (await read(app)).headers["warning"]
    assert calls(behind) == before
    behind.answer = GIVEN


async def test_who_is_away_for_long_is_waited_for_once() -> None:
    behind = Behind(AWAY["no app"])
    app = gateway(behind)
    refused(await place(app), 503)
    asked = len(behind.asked)
    refused(await place(app), 503)
    assert len(behind.asked) == asked + 1, "nobody waits any more, and each call may open the circuit"
    behind.answer = GIVEN
    assert (await place(app)).status == 202
    behind.answer = AWAY["no app"]
    refused(await place(app), 503)
    assert len(behind.asked) > asked + 4, "it was there in between: it is waited for again"


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Unanswered("timed out"), 504),
        (broken(TimeoutError()), 504),
        (daprd_says("context deadline exceeded"), 504),
        (daprd_says("circuit breaker is open"), 503),
        (Answer(500, b"boom"), 504),
    ],
)
async def test_who_is_there_and_does_not_answer_is_not_waited_for(failure: Answer | SidecarError, status: int) -> None:
    behind = Behind(failure)
    refused(await place(gateway(behind)), status)
    assert len(behind.asked) == 1


async def test_a_question_that_hangs_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "READ_SECONDS", 0.01)
    behind = Behind(None)
    refused(await read(gateway(behind, LONG)), 504)
    assert len(behind.asked) == 1


async def test_who_answers_questions_but_breaks_off_every_call_is_not_tried_for_ever() -> None:
    behind = Behind(AWAY["the app went in between"])
    behind.ready = True
    refused(await place(gateway(behind, LONG)), 504)
    assert calls(behind) == 4


async def test_those_who_wait_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "WAITING", 1)

    async def nobody() -> bool:
        return False

    away = Presence(nobody, patience=60)
    assert away.missed()
    waiting = asyncio.create_task(away.wait())
    await until(lambda: away._waiting)
    assert not away.missed(), "there is no room for another"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert away.missed()
    assert away._looking
    away._looking.cancel()
