"""Where a replica stood that is gone: who still calls there reaches one that stays.

Sidecars keep an address for a minute after they last heard of it, and go round through all they have (daprd's mDNS
resolver: `addressTTL`). With two of three gone, two of three calls would fail, and the circuit would open.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from outrigger.ports import LOOPBACK

_KEPT = 75.0  # s
_CHUNK = 64 * 1024


async def detour(port: int, target: int) -> None:
    """Hand every connection to `port` on to `target`, until nobody knows the address any more."""
    ways: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = asyncio.create_task(_way(reader, writer, target))
        ways.add(way)
        way.add_done_callback(ways.discard)

    try:
        server = await asyncio.start_server(begin, LOOPBACK, port)
    except OSError:  # somebody else has the port: callers who are refused know what to do
        return
    try:
        await asyncio.sleep(_KEPT)
    finally:
        server.close()
        for way in ways:
            way.cancel()


async def _way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    try:
        there, back = await asyncio.open_connection(LOOPBACK, target)
        try:
            await _both(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()
    except OSError:
        return
    finally:
        writer.close()


async def _both(*pumps: Coroutine[Any, Any, None]) -> None:
    """End both ways when one has ended."""
    tasks = [asyncio.create_task(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
