"""The real sidecar: Dapr's HTTP API on one pooled client. What its answers mean is `chassis.wire`'s business.

Here: what no answer means. Nothing was sent (connection refused, none free in time, client closed): `Unreachable`.
Anything else, such as a time-out or a cut connection: `Unanswered`. POSTs are never repeated by the client.
"""

import io
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote

import aiohttp

from chassis import wire
from chassis.keys import LANES
from chassis.operations.circuits import Circuits
from chassis.sidecar import Answer, Entry, Operation, Sidecar, SidecarError, Stored, Unanswered, Unreachable

KEYS_PER_READ = 1000
CONNECTIONS = 256
CONNECT_SECONDS = 2.0
STREAMED_BYTES = 1024 * 1024  # aiohttp warns of larger bodies in one piece
BULK_PUBLISH = ("/v1.0/publish/bulk", "/v1.0-alpha1/publish/bulk")  # stable first


class Daprd(Sidecar):
    """One app's daprd. Create it anywhere; it connects at the first call. Close it on the loop that used it."""

    def __init__(
        self,
        base_url: str,
        *,
        store: str = "store",
        pubsub: str = "pubsub",
        api_token: str | None = None,
        state_seconds: float = 10.0,
        publish_seconds: float = 15.0,
        invoke_seconds: float = 5.0,
    ) -> None:
        """`base_url` is `http://127.0.0.1:{dapr-http-port}`; `store` and `pubsub` are component names."""
        self.circuits = Circuits()
        self._base = base_url.rstrip("/")
        self._state = f"/v1.0/state/{_segment(store)}"
        self._pubsub = _segment(pubsub)
        self._token = api_token
        self._state_time = _within(state_seconds)
        self._publish_time = _within(publish_seconds)
        self._invoke_time = _within(invoke_seconds)
        self._anchor: tuple[str, ...] = ()
        self._bulk_publish: str | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def read(self, keys: Sequence[str]) -> dict[str, Stored]:
        """Bulk get, at most `KEYS_PER_READ` keys a request, one request after the other.

        Dapr's PostgreSQL store calls every key absent whose row had not come when its connection broke: it never asks
        pgx for `rows.Err`. So each request names a key that is never deleted, as soon as we have seen it: where that
        one is said to be absent, the others may be there as well.
        """
        wanted = list(dict.fromkeys(keys))  # 1.14 answers a repeated key with an empty one
        found: dict[str, Stored] = {}
        for start in range(0, len(wanted), KEYS_PER_READ):
            some = list(dict.fromkeys((*wanted[start : start + KEYS_PER_READ], *self._anchor)))
            status, answer = await self._post(f"{self._state}/bulk", wire.bulk_get(some), self._state_time)
            read = wire.stored(some, status, answer)
            if not read.keys() >= set(self._anchor):
                raise Unanswered("a key that is never deleted is absent: the read was cut short")
            found |= read
        if LANES in found:
            self._anchor = (LANES,)
        return {key: found[key] for key in wanted if key in found}

    async def transact(self, operations: Sequence[Operation]) -> None:
        """One state transaction."""
        body = wire.transaction(operations)
        status, answer = await self._post(f"{self._state}/transaction", body, self._state_time)
        wire.applied(status, answer)

    async def publish(self, topic: str, entries: Sequence[Entry]) -> set[str]:
        """Bulk publish. Which path this daprd has is asked by the first publish, and again if it is gone.

        1.14 takes the stable path for a publish to a pub/sub named "bulk" and answers 404: never name one so.
        """
        body = wire.bulk_publish(entries)
        for path in [self._bulk_publish] if self._bulk_publish else BULK_PUBLISH:
            url = f"{path}/{self._pubsub}/{_segment(topic)}"
            status, answer = await self._post(url, body, self._publish_time)
            if status != HTTPStatus.NOT_FOUND:
                self._bulk_publish = path
                return wire.failed_entries(status, answer)
        self._bulk_publish = None
        raise Unreachable(f"daprd has no pub/sub component {self._pubsub!r} (yet)")

    async def invoke(
        self,
        app: str,
        method: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verb: str = "POST",
    ) -> Answer:
        """Invoke a method; daprd's own failures (no such app, circuit open) are answers with status 500 too."""
        path = f"/v1.0/invoke/{_segment(app)}/method/{quote(method)}"
        return await self._send(verb, path, body, self._invoke_time, headers=headers, query=query)

    async def bind(self, binding: str, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Call an output binding."""
        body = wire.encode({"operation": operation, "data": data, "metadata": metadata})
        status, answer = await self._post(f"/v1.0/bindings/{_segment(binding)}", body, self._invoke_time)
        wire.applied(status, answer)

    async def outbound_ready(self) -> bool:
        """Ask for outbound readiness: daprd's inbound one waits for the app itself (dapr#7000)."""
        try:
            answer = await self._send("GET", "/v1.0/healthz/outbound", None, self._invoke_time)
        except SidecarError:
            return False
        return answer.status in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}

    async def close(self) -> None:
        """Give back connections; later calls raise `Unreachable`."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _post(self, path: str, body: bytes, within: aiohttp.ClientTimeout) -> tuple[int, bytes]:
        answer = await self._send("POST", path, body, within)
        return answer.status, answer.body

    async def _send(
        self,
        verb: str,
        path: str,
        body: bytes | None,
        within: aiohttp.ClientTimeout,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        data = io.BytesIO(body) if body is not None and len(body) > STREAMED_BYTES else body
        request = self._open().request(
            verb, self._base + path, data=data, headers=headers, params=query, timeout=within, allow_redirects=False
        )
        try:
            async with request as response:
                return Answer(response.status, await response.read(), response.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"daprd at {self._base} was not reached: {error!r}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unanswered(f"{verb} {path} went out without an answer: {error!r}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unreachable("this client is closed")
        if self._session is None:
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),  # answers to one caller must not colour the next call
                headers=headers | ({"dapr-api-token": self._token} if self._token else {}),
            )
        return self._session


def _segment(text: str) -> str:
    return quote(text, safe="")


def _within(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, connect=min(CONNECT_SECONDS, seconds))
