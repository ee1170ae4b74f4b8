"""Closed-loop clients: each sends the next order when the last was answered. A process of its own, and a cheap one.

Speaks just enough HTTP/1.1, to this host only. Prints one JSON object: what was answered, how long it took, what it
cost. Every order has its own Idempotency-Key where `--keys` asks for keys.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import cast
from uuid import uuid4

import httptools
import uvloop

LOOPBACK = "127.0.0.1"
ACCEPTED = 202
GRACE_SECONDS = 30.0  # for the last answers


@dataclass
class Load:
    """What is to be sent, and what came back."""

    path: str
    bodies: list[bytes]
    keys: bool
    limit: int
    until: float  # on the monotonic clock
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    broken: int = 0
    _numbers: "count[int]" = field(default_factory=count)
    _run: str = field(default_factory=lambda: uuid4().hex[:12])

    def next(self) -> bytes | None:
        """Return the next request; None when it is enough."""
        number = next(self._numbers)
        if number >= self.limit or time.monotonic() >= self.until:
            return None
        body = self.bodies[number % len(self.bodies)]
        key = f"idempotency-key: {self._run}-{number}\r\n" if self.keys else ""
        head = f"POST {self.path} HTTP/1.1\r\nhost: {LOOPBACK}\r\ncontent-type: application/json\r\n{key}"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Client(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._send()

    def _send(self) -> None:
        assert self._transport
        request = self.load.next()
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._began = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.load.latencies.append(time.monotonic() - self._began)
        self.load.statuses[self._parser.get_status_code()] += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.load.broken += 1
            self.done.set_result(None)


async def drive(load: Load, port: int, clients: int) -> dict[str, object]:
    """Run all clients to their end and sum up. `seconds` is from the first request to the last answer."""
    loop, began, cpu = asyncio.get_running_loop(), time.monotonic(), time.process_time()
    made = [await loop.create_connection(lambda: Client(load), LOOPBACK, port) for _ in range(clients)]
    async with asyncio.timeout_at(loop.time() + load.until - began + GRACE_SECONDS):
        await asyncio.gather(*(client.done for _, client in made))
    waits = sorted(load.latencies) or [0.0]
    return {
        "accepted": load.statuses[ACCEPTED],
        "refused": {str(status): n for status, n in load.statuses.items() if status != ACCEPTED},
        "broken": load.broken,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
    }


def main() -> None:
    """Read bodies, one a line, from standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/place-order")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--keys", action="store_true")
    given = parser.parse_args()
    bodies = sys.stdin.buffer.read().splitlines()
    load = Load(given.path, bodies, given.keys, given.count, time.monotonic() + given.seconds)
    sys.stdout.write(json.dumps(uvloop.run(drive(load, given.port, given.clients))))


if __name__ == "__main__":
    main()
