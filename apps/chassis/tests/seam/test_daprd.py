"""What only the HTTP client can get wrong: finding bulk publish, passing a call on, and what an answer proves."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chassis import wire
from chassis.daprd import Daprd
from chassis.engine import StoreUnfit, probe
from chassis.sidecar import ETagMismatch, Put, Refused, SidecarError, Stored, Unanswered, Unreachable
from chassis_testing.sidecars import IN_MEMORY, RealDaprd, component, free_ports, real_daprd, sqlite

from .bench import entry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NO_PUBSUB = b'{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub bulk is not found"}'
LOCKED = (
    b'{"errorCode":"ERR_STATE_TRANSACTION",'
    b'"message":"error while executing state transaction: database is locked (5) (SQLITE_BUSY)"}'
)


@asynccontextmanager
async def answering(handler: Handler, *, seconds: float = 10.0) -> AsyncIterator[Daprd]:
    """Serve every path with one handler; yields a client of that."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        url = str(server.make_url(""))
        daprd = Daprd(url, state_seconds=seconds, publish_seconds=seconds, invoke_seconds=seconds)
        try:
            yield daprd
        finally:
            await daprd.close()


def mail(daprd: Daprd) -> Awaitable[None]:
    return daprd.bind("mail", "create", "Dear", {"fileName": "a"})


def always(status: int, body: bytes = b"") -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    return handler


class TestAnswersOfATransaction:
    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (500, LOCKED, Unanswered),
            (
                500,
                LOCKED.replace(b"database is locked", b"possible etag mismatch. error from state store"),
                ETagMismatch,
            ),
            (500, LOCKED.replace(b"database is locked", b"no item was updated"), ETagMismatch),
            (500, b"possible etag mismatch", Unanswered),
            (500, b'{"errorCode":"ERR_OTHER","message":"possible etag mismatch"}', Unanswered),
            (500, b'{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"..."}', Unreachable),
            (502, b"", Unanswered),
            (302, b"", Unanswered),
            (400, b'{"errorCode":"ERR_STATE_STORE_NOT_FOUND","message":"..."}', Unreachable),
            (400, b'{"errorCode":"ERR_MALFORMED_REQUEST","message":"..."}', Refused),
            (400, b"error reading request body: stream too large\n", Refused),
            (413, b"", Refused),
            (401, b"invalid api token", Unreachable),
            (429, b"", Unreachable),
        ],
    )
    async def test_each_proves_so_much(self, status: int, body: bytes, error: type[SidecarError]) -> None:
        async with answering(always(status, body)) as daprd:
            with pytest.raises(error):
                await daprd.transact([Put("a", 1)])


class TestAnswersOfARead:
    @pytest.mark.parametrize(
        "body",
        [
            b'[{"key":"a","data":1,"etag":"1"},{"key":"b","error":"connection lost"}]',
            b'[{"key":"a","data":1,"etag":"1"}]',
            b'[{"key":"a","data":1},{"key":"b"}]',
            b'[{"key":"a","data":1,"et',
            b'{"errorCode":"?"}',
            b"[1]",
            b"",
        ],
    )
    async def test_unread_is_not_absent(self, body: bytes) -> None:
        async with answering(always(200, body)) as daprd:
            with pytest.raises(Unanswered):
                await daprd.read(["a", "b"])

    async def test_absent_is_what_is_named_without_data(self) -> None:
        async with answering(always(200, b'[{"key":"b"},{"key":"a","data":1,"etag":"7"}]')) as daprd:
            assert await daprd.read(["a", "b", "a"]) == {"a": Stored(1, "7")}

    async def test_a_key_that_is_never_deleted_tells_that_a_read_was_cut_short(self) -> None:
        """As Dapr's PostgreSQL store answers when its connection breaks: nothing is there."""
        there = b'[{"key":"a"},{"key":"lanes","data":{"lanes":1},"etag":"1"}]'
        answers = [there, b'[{"key":"a"},{"key":"lanes"}]', there]

        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=answers.pop(0))

        async with answering(handler) as daprd:
            assert (await daprd.read(["lanes", "a"])).keys() == {"lanes"}
            with pytest.raises(Unanswered):
                await daprd.read(["a"])
            assert await daprd.read(["a"]) == {}


class TestAnswersOfAPublish:
    @pytest.mark.parametrize("status", [200, 207, 500])
    async def test_failed_entries_are_named(self, status: int) -> None:
        body = b'{"failedEntries":[{"entryId":"2","error":"?"}],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}'
        async with answering(always(status, body)) as daprd:
            assert await daprd.publish("t", [entry("1"), entry("2")]) == {"2"}

    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (500, b'{"failedEntries":[],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}', Unanswered),
            (500, b'{"failedEntries":null}', Unanswered),
            (500, b'{"failedEntries":[{}]}', Unanswered),
            (500, b"", Unanswered),
            (200, b"?", Unanswered),
            (400, b'{"errorCode":"ERR_PUBSUB_EVENTS_SER","message":"..."}', Refused),
            (403, b'{"errorCode":"ERR_PUBSUB_FORBIDDEN","message":"..."}', Unreachable),
            (404, NO_PUBSUB, Unreachable),
        ],
    )
    async def test_nothing_is_known(self, status: int, body: bytes, error: type[SidecarError]) -> None:
        async with answering(always(status, body)) as daprd:
            with pytest.raises(error):
                await daprd.publish("t", [entry("1")])


class TestFindingBulkPublish:
    """A daprd with one of the two paths; 404 is what 1.14 answers on the other."""

    @staticmethod
    async def _asked(*served: str) -> list[str]:
        """Publish twice to a daprd that serves first one path, then the next; return what it was asked."""
        asked: list[str] = []
        turns = list(served)

        async def handler(request: web.Request) -> web.Response:
            asked.append(request.path)
            known = request.path.startswith(f"/{turns[0]}/")
            return web.Response(status=204) if known else web.Response(status=404, body=NO_PUBSUB)

        async with answering(handler) as daprd:
            assert await daprd.publish("t", [entry("1")]) == set()
            if len(turns) > 1:
                del turns[0]
                with pytest.raises(Unreachable):
                    await daprd.publish("t", [entry("1")])
            assert await daprd.publish("t", [entry("1")]) == set()
        return [path.removesuffix("/publish/bulk/pubsub/t") for path in asked]

    async def test_the_stable_path_is_asked_first(self) -> None:
        assert await self._asked("v1.0") == ["/v1.0", "/v1.0"]

    async def test_the_alpha_path_is_remembered(self) -> None:
        assert await self._asked("v1.0-alpha1") == ["/v1.0", "/v1.0-alpha1", "/v1.0-alpha1"]

    async def test_a_path_that_is_gone_is_looked_for_again(self) -> None:
        assert await self._asked("v1.0-alpha1", "v1.0") == ["/v1.0", "/v1.0-alpha1", "/v1.0-alpha1", "/v1.0"]


class TestNoAnswer:
    async def test_nobody_listens(self) -> None:
        daprd = Daprd(f"http://127.0.0.1:{free_ports(1)[0]}")
        with pytest.raises(Unreachable):
            await daprd.transact([Put("a", 1)])
        assert not await daprd.outbound_ready()
        await daprd.close()

    async def test_each_call_has_its_time(self) -> None:
        done = asyncio.Event()

        async def silent(request: web.Request) -> web.Response:
            await done.wait()
            return web.Response()

        async with answering(silent, seconds=0.05) as daprd:
            calls = daprd.read(["a"]), daprd.transact([]), daprd.publish("t", []), daprd.invoke("app", "m"), mail(daprd)
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            done.set()
        assert [type(outcome) for outcome in outcomes] == [Unanswered] * 5

    async def test_a_cut_connection_is_not_tried_again(self) -> None:
        requests: list[str] = []

        async def cut(request: web.Request) -> web.Response:
            requests.append(request.path)
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        async with answering(cut) as daprd:
            with pytest.raises(Unanswered):
                await daprd.transact([Put("a", 1)])
        assert len(requests) == 1


@pytest.fixture
async def echo() -> AsyncIterator[TestServer]:
    """Start an app that tells what it was asked."""

    async def handler(request: web.Request) -> web.Response:
        told = {"verb": request.method, "query": dict(request.query), "body": await request.text()}
        headers = {name: request.headers.get(name, "") for name in ("traceparent", "content-type", "x-own")}
        return web.json_response(told | headers, status=404, headers={"x-answer": "yes"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    async with server:
        yield server


@pytest.fixture
async def daprd(tmp_path: Path, echo: TestServer) -> AsyncIterator[RealDaprd]:
    """Run a real sidecar beside that app."""
    assert echo.port is not None
    starting = real_daprd(tmp_path / "daprd", sqlite(tmp_path / "state.db"), IN_MEMORY, app_port=echo.port)
    running = await asyncio.to_thread(starting.__enter__)  # it asks the app, which lives on this loop
    yield running
    await asyncio.to_thread(starting.__exit__, None, None, None)


@pytest.mark.real
class TestTheRealOne:
    async def test_a_call_is_passed_on_and_its_404_is_an_answer(self, daprd: RealDaprd) -> None:
        client = Daprd(daprd.url)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        headers = {"traceparent": trace, "content-type": "application/x-own", "x-own": "1"}
        answer = await client.invoke("seam", "a/b", body=b"{}", query={"x": "ä&1"}, headers=headers, verb="PUT")
        await client.close()
        told = orjson.loads(answer.body)
        assert (answer.status, answer.headers["X-Answer"]) == (404, "yes")
        assert told["traceparent"].split("-")[1] == trace.split("-")[1]
        assert (told["verb"], told["query"], told["body"]) == ("PUT", {"x": "ä&1"}, "{}")
        assert (told["content-type"], told["x-own"]) == ("application/x-own", "1")

    async def test_a_store_on_redis_is_refused_at_the_start_and_told_why(self, tmp_path: Path, broker: str) -> None:
        redis = component("store", "state.redis", redisHost=broker)
        with real_daprd(tmp_path / "on redis", redis, app_id="redis") as running:
            client = Daprd(running.url)
            with pytest.raises(StoreUnfit, match="Redis, for one, has no rollback"):
                await probe(client)
            await client.close()

    async def test_what_it_says_of_a_body_beyond_its_limit_is_a_refusal(self, daprd: RealDaprd) -> None:
        """The client never sends one: 1 byte over, 1.14 cuts and cannot parse; 1 MiB over, it says so."""
        for over in (1, 2**20):
            body = b'{"operations":[]' + b" " * (wire.BODY_BYTES + over - 17) + b"}"
            async with aiohttp.ClientSession() as session:
                url = f"{daprd.url}/v1.0/state/store/transaction"
                chunks = io.BytesIO(body)
                async with session.post(url, data=chunks) as response:
                    assert isinstance(wire.failure(response.status, await response.read()), Refused)

    async def test_a_component_that_is_not_there_refuses_nobody(self, daprd: RealDaprd) -> None:
        client = Daprd(daprd.url, store="other", pubsub="other")
        for call in (client.read(["a"]), client.transact([Put("a", 1)]), client.publish("t", [entry("1")])):
            with pytest.raises(Unreachable):
                await call
        await client.close()
