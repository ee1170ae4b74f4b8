"""Whoever calls where a replica stood reaches one that stays, and nothing stays open."""

import asyncio

from outrigger.detour import detour
from outrigger.ports import LOOPBACK, free_ports


async def test_both_ways_are_handed_on_and_closed_at_the_end() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    old, new = free_ports(2)
    async with await asyncio.start_server(answer, LOOPBACK, new):
        way = asyncio.create_task(detour(old, new))
        async with asyncio.timeout(10):
            reader, writer = await _connected(old)
            writer.write(b"who is there")
            assert await reader.read(100) == b"WHO IS THERE"
            way.cancel()
            assert await reader.read(100) == b""
            writer.close()


async def test_where_nobody_stays_the_call_ends() -> None:
    old, nobody = free_ports(2)
    way = asyncio.create_task(detour(old, nobody))
    async with asyncio.timeout(10):
        reader, writer = await _connected(old)
        assert await reader.read(100) == b""
        writer.close()
    way.cancel()


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(0.01)
