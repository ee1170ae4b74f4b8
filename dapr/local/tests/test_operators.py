"""Dead letters and rebuilds, asked of small services that behave as told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from outrigger.errors import LauncherError
from outrigger.letters import all_letters, one_letter, redriven, told
from outrigger.ports import LOOPBACK, free_ports
from outrigger.rebuild import rebuild
from outrigger.state import Phase, ProcessState, RunState, ServiceState


class Service:
    """Keeps letters, of which those in `stubborn` stay bad, and one view."""

    def __init__(self, views: list[str], letters: int, *, stubborn: set[int] | None = None) -> None:
        self.views, self.stubborn = views, stubborn or set()
        self.letters = {f"dead:0:{n}": self._letter(n) for n in range(1, letters + 1)}
        self.building: list[int] = []

    @staticmethod
    def _letter(number: int) -> dict[str, Any]:
        return {
            "id": f"dead:0:{number}", "kind": "event", "messageId": f"m{number}", "eventType": "PriceChanged",
            "reason": "version [9.0] is unknown", "attempts": 1, "at": 1.7e9, "open": True, "message": {"x": number},
        }  # fmt: skip

    async def status(self, _: web.Request) -> web.Response:
        return web.json_response({"views": self.views, "lanes": [{"lane": 0}]})

    async def list(self, request: web.Request) -> web.Response:
        """Two at a time."""
        names = sorted(self.letters)
        page = [n for n in names if n > request.query.get("after", "")][:2]
        shown = [self.letters[n] for n in page if self.letters[n]["open"] or "closed" in request.query]
        return web.json_response({"letters": shown, "next": page[-1] if len(page) == 2 else None})

    async def show(self, request: web.Request) -> web.Response:
        found = self.letters.get(request.query["id"])
        return web.json_response(found or {"detail": "there is none"}, status=200 if found else 404)

    async def redrive(self, request: web.Request) -> web.Response:
        name = (await request.json())["id"]
        if int(name.rpartition(":")[2]) in self.stubborn:
            return web.json_response({"detail": "still unknown"}, status=422)
        self.letters[name]["open"] = False
        return web.json_response({})

    async def begin(self, _: web.Request) -> web.Response:
        if self.building:
            return web.json_response({"detail": "it is being rebuilt already"}, status=409)
        self.building = [3, 2, 1]
        return web.json_response({}, status=202)

    async def progress(self, _: web.Request) -> web.Response:
        left = self.building.pop() if self.building else 3
        return web.json_response({"done": left, "of": 3, "building": 1 if self.building else None})

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/status", self.status)
        app.router.add_get("/dead-letters", self.list)
        app.router.add_get("/dead-letter", self.show)
        app.router.add_post("/redrive", self.redrive)
        app.router.add_post("/rebuild", self.begin)
        app.router.add_get("/rebuild", self.progress)
        return app


SERVICES = {
    "orders": Service(["orders-of-user"], 5, stubborn={2}),
    "inventory": Service(["products"], 1),
}


@pytest.fixture
async def run() -> AsyncIterator[RunState]:
    SERVICES["orders"] = Service(["orders-of-user"], 5, stubborn={2})
    SERVICES["inventory"] = Service(["products"], 1)
    runners, ports = [], {}
    for name, service in SERVICES.items():
        runner = web.AppRunner(service.app())
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        runners.append(runner)
        ports[name] = runner.addresses[0][1]
    (ports["silent"],) = free_ports(1)
    one = ProcessState(name="one")
    services = {
        name: ServiceState(app_id=name, app_port=port, dapr_http_port=1, dapr_grpc_port=1, app=one, sidecar=one)
        for name, port in ports.items()
    }
    yield RunState(name="x", folder="x", phase=Phase.READY, launcher=one, gateway="x", services=services)
    for runner in runners:
        await runner.cleanup()


async def test_letters_of_all_services_are_listed_and_a_silent_one_is_named(
    run: RunState, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await all_letters(run, None, closed=False)
    assert [letter["id"] for letter in found] == [*(f"orders:0:{n}" for n in range(1, 6)), "inventory:0:1"]
    assert "silent is left out" in capsys.readouterr().err


async def test_letters_of_one_service_are_listed(run: RunState) -> None:
    assert [letter["id"] for letter in await all_letters(run, "inventory", closed=False)] == ["inventory:0:1"]
    with pytest.raises(LauncherError, match="silent does not answer"):
        await all_letters(run, "silent", closed=False)
    with pytest.raises(LauncherError, match="There is no service kitchen; there are inventory, orders, silent"):
        await all_letters(run, "kitchen", closed=False)


async def test_a_letter_is_shown_with_its_message_and_why(run: RunState) -> None:
    text = told(await one_letter(run, "orders:0:3"))
    assert "version [9.0] is unknown" in text
    assert '"x": 3' in text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("orders:0:9", "There is no dead letter orders:0:9"),
        ("kitchen:0:1", "There is no service kitchen"),
        ("3", "3 names no dead letter"),
    ],
)
async def test_an_unknown_letter_is_named(run: RunState, name: str, why: str) -> None:
    with pytest.raises(LauncherError, match=why):
        await one_letter(run, name)
    with pytest.raises(LauncherError, match=why):
        await redriven(run, name, None)


async def test_one_is_redriven(run: RunState) -> None:
    assert await redriven(run, "orders:0:1", None) == [{"id": "orders:0:1", "redriven": True, "reason": None}]
    assert not SERVICES["orders"].letters["dead:0:1"]["open"]


async def test_all_are_redriven_and_what_stays_says_why(run: RunState) -> None:
    done = {each["id"]: each["reason"] for each in await redriven(run, None, None)}
    assert len(done) == 6
    assert {name: why for name, why in done.items() if why} == {"orders:0:2": "still unknown"}
    assert [letter["id"] for letter in await all_letters(run, None, closed=False)] == ["orders:0:2"]


async def test_a_view_is_rebuilt_by_the_service_that_has_it(run: RunState) -> None:
    shown: list[tuple[int, int]] = []
    done = await rebuild(run, "products", lambda *told: shown.append(told))
    assert (done["service"], done["records"]) == ("inventory", 3)
    assert shown == [(1, 3), (2, 3), (3, 3)]


async def test_a_second_rebuild_at_once_is_refused(run: RunState) -> None:
    SERVICES["inventory"].building = [1]
    with pytest.raises(LauncherError, match="being rebuilt already"):
        await rebuild(run, "products", lambda *_: None)


async def test_an_unknown_view_is_named_with_those_there_are(run: RunState) -> None:
    with pytest.raises(LauncherError, match=r"no view x; there are: orders-of-user \(orders\), products \(inventory\)"):
        await rebuild(run, "x", lambda *_: None)
