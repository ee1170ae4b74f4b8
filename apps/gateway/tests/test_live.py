"""What the status page is told, by whom it is asked, and what it costs while nobody looks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chassis.problems import Unprocessed
from chassis.service import Service
from chassis.sidecar import Answer
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from gateway import live
from gateway.live import KEPT, LISTENERS, Live
from gateway.main import app
from gateway.page import Page
from support.http import ask


class Behind:
    """Orders, which confirms what it is asked about, and users, which may be silent."""

    def __init__(self) -> None:
        self.silent = False
        self.questions: list[list[str]] = []
        self.looks = 0

    async def orders(self, method: str, body: bytes | None, *_: Any) -> Answer:
        if method == "status":
            return _says({"service": "orders", "ready": True, "degraded": ["slow"], "backlog": 3, "circuits": []})
        asked = json.loads(body or b"")["orderIds"]
        self.questions.append(asked)
        return _says({"orders": [{"orderId": name, "status": "confirmed"} for name in asked]})

    async def users(self, *_: Any) -> Answer:
        self.looks += 1
        if self.silent:
            await asyncio.get_running_loop().create_future()
        circuit = {"app": "orders", "method": "order-status", "state": "open", "seconds": 4.5}
        return _says({"service": "users", "ready": True, "degraded": [], "circuits": [circuit]})


def _says(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"content-type": "application/json"})


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Behind:
    monkeypatch.setattr(live, "ORDERS_EVERY", 0.02)
    monkeypatch.setattr(live, "SERVICES_EVERY", 0.02)
    monkeypatch.setattr(live, "NOTED_EVERY", 0.001)
    monkeypatch.setattr(live, "PATIENCE", 0.05)
    return Behind()


@pytest.fixture
def board(behind: Behind) -> Live:
    sidecar = MemorySidecar(MemoryStore(), MemoryBroker(), apps={"orders": behind.orders, "users": behind.users})
    return Live(Service("gateway", sidecar=sidecar), ("orders", "users"))


@asynccontextmanager
async def looking(board: Live) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
    """Look at the board; yields its news, by name."""
    news = board.follow()

    async def read() -> AsyncIterator[Mapping[str, Any]]:
        async for event in news:
            yield {str(event.event): json.loads(str(event.data))}

    async with asyncio.timeout(10):
        try:
            yield read()
        finally:
            await news.aclose()


async def until(news: AsyncIterator[Mapping[str, Any]], name: str, good: Any) -> Any:
    async for each in news:
        if name in each and good(each[name]):
            return each[name]
    raise AssertionError


async def test_an_accepted_order_is_shown_at_once_and_then_as_orders_tells_it(board: Live, behind: Behind) -> None:
    async with looking(board) as news:
        board.note("o-1", "u-1")
        shown = await until(news, "orders", bool)
        assert (shown[0]["orderId"], shown[0]["userId"], shown[0]["status"]) == ("o-1", "u-1", "pending")
        await until(news, "orders", lambda orders: orders[0]["status"] == "confirmed")
    assert behind.questions == [["o-1"]]  # once: it has ended


async def test_all_orders_are_one_question(board: Live, behind: Behind) -> None:
    for number in range(20):
        board.note(f"o-{number}", "u-1")
    async with looking(board) as news:
        await until(news, "orders", lambda orders: orders and {o["status"] for o in orders} == {"confirmed"})
    assert [len(question) for question in behind.questions] == [20]


async def test_the_latest_are_kept(board: Live) -> None:
    for number in range(KEPT + 10):
        board.note(f"o-{number}", "u-1")
    board.note(f"o-{KEPT}", "u-1")  # the same request again
    async with looking(board) as news:
        shown = await until(news, "orders", bool)
    assert [order["orderId"] for order in shown] == [f"o-{number}" for number in range(10, KEPT + 10)]


async def test_nobody_is_asked_while_nobody_looks(board: Live, behind: Behind) -> None:
    board.note("o-1", "u-1")
    async with looking(board) as news:
        await until(news, "services", bool)
    looks, questions = behind.looks, len(behind.questions)
    await asyncio.sleep(0.1)
    assert (behind.looks, len(behind.questions)) == (looks, questions)
    async with looking(board) as news:
        await until(news, "services", bool)


async def test_all_who_look_share_one_poller(board: Live, behind: Behind) -> None:
    board.note("o-1", "u-1")
    async with looking(board) as first, looking(board) as second:
        for news in (first, second):
            await until(news, "orders", lambda orders: orders[0]["status"] == "confirmed")
    assert len(behind.questions) == 1


async def test_services_and_circuits_are_told(board: Live) -> None:
    async with looking(board) as news:
        services = {each["service"]: each for each in await until(news, "services", bool)}
        circuits = await until(news, "circuits", bool)
    assert services["gateway"]["ready"]
    assert (services["orders"]["degraded"], services["orders"]["backlog"]) == (["slow"], 3)
    assert circuits == [
        {"from": "users", "app": "orders", "method": "order-status", "state": "open", "seconds": 4.5}
    ]  # and not those of our own questions


async def test_a_silent_service_is_away_and_comes_back(board: Live, behind: Behind) -> None:
    def users(services: Any) -> Any:
        return next(each for each in services if each["service"] == "users")

    async with looking(board) as news:
        behind.silent = True
        away = users(await until(news, "services", lambda services: not users(services)["ready"]))
        assert away["reason"] == "does not answer"
        behind.silent = False
        await until(news, "services", lambda services: users(services)["ready"])


async def test_listeners_are_bounded_and_make_room_when_they_go(board: Live) -> None:
    listeners = [board.follow() for _ in range(LISTENERS)]
    for each in listeners:
        await anext(each)
    with pytest.raises(Unprocessed):
        board.follow()
    await listeners[0].aclose()
    await anext(board.follow())
    for each in listeners:
        await each.aclose()


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    heard = await ask(app, "GET", "/")
    assert (heard.status, heard.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"://" not in heard.content.replace(b"http://www.w3.org/2000/svg", b"")
    assert "default-src 'none'" in heard.headers["content-security-policy"]
    assert "unsafe" not in heard.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("traces", "link"),
    [
        ("http://127.0.0.1:9411/api/v2/spans", '{"traces":"http://127.0.0.1:9411/zipkin/"}'),
        ("", '{"traces":null}'),
        ("http://x</script>/", '{"traces":"http://x\\u003c/zipkin/"}'),
    ],
)
async def test_the_page_links_to_the_traces_where_there_are_some(board: Live, traces: str, link: str) -> None:
    page = Page(Service("gateway", sidecar=MemorySidecar(MemoryStore(), MemoryBroker())), (), traces=traces)
    assert f'id="settings">{link}</script>' in bytes((await page.page()).body).decode()
