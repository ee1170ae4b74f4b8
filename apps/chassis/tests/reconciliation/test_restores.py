"""What a store that is restored from a backup does to the others, as docs/operations.md says it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from uuid import uuid4

import orjson
from shop import KEPT, LONG, Town, sell, trading, virtually

from chassis import keys
from chassis.service import Service

BEFORE = [f"before-{n}" for n in range(10)]
LOST = [f"lost-{n}" for n in range(20)]
AFTER = [f"after-{n}" for n in range(30)]
SWEPT = KEPT + LONG  # s until marks are gone, and only the origin of an event tells that it was settled


def sold(town: Town, things: list[str]) -> int:
    return sum(town.counted(f"Sold-{thing}") for thing in things)


@asynccontextmanager
async def restored(town: Town, name: str) -> AsyncIterator[tuple[Service, Service]]:
    """Back a store up between what is sold before and what will be lost; restore it, and open again."""
    async with trading(town) as (shop, _till):
        await sell(shop, *BEFORE)
        await asyncio.sleep(SWEPT)
    backup = copy(town.stores[name].rows)
    async with trading(town) as (shop, _till):
        await sell(shop, *LOST)
        await asyncio.sleep(SWEPT)
    assert (sold(town, BEFORE), sold(town, LOST)) == (len(BEFORE), len(LOST))
    town.stores[name].rows = backup
    async with trading(town) as both:
        yield both


def rename_journal(town: Town, name: str) -> None:
    """Give a journal a new id where it stands: in the directory of its lanes, and in the head of each."""
    rows, new = town.stores[name].rows, uuid4().hex
    for key in [keys.LANES, *(key for key in rows if key.startswith("head:"))]:
        value = orjson.loads(rows[key].value)
        field = "journalId" if key == keys.LANES else "journal_id"
        assert field in value
        rows[key] = rows[key]._replace(value=orjson.dumps({**value, field: new}), etag=f"restored-{key}")


@virtually
async def test_a_consumer_that_is_restored_hears_again_what_it_forgot() -> None:
    town = Town()
    async with restored(town, "till") as (shop, _till):
        assert sold(town, LOST) == 0
        await sell(shop, *AFTER)
        await asyncio.sleep(2 * LONG)
        assert sold(town, BEFORE) == len(BEFORE)
        assert sold(town, LOST) == len(LOST)
        assert sold(town, AFTER) == len(AFTER)


@virtually
async def test_a_producer_that_is_restored_alone_is_not_heard_where_its_numbers_come_again() -> None:
    """And it shows: nobody else's cursor can be ahead of a journal."""
    town = Town()
    async with restored(town, "shop") as (shop, till):
        await asyncio.sleep(LONG)
        assert till.walker
        assert till.walker.lag == {"shop": -len(LOST)}
        await sell(shop, *AFTER)
        await asyncio.sleep(SWEPT)
        assert sold(town, AFTER[: len(LOST)]) == 0, "taken for what was settled long ago"
        assert sold(town, AFTER[len(LOST) :]) == len(AFTER) - len(LOST)


@virtually
async def test_with_a_new_journal_id_it_is_heard_and_nothing_is_twice() -> None:
    town = Town()
    async with restored(town, "shop"):
        pass
    rename_journal(town, "shop")
    async with trading(town) as (shop, till):
        await sell(shop, *AFTER)
        await asyncio.sleep(2 * LONG)
        assert sold(town, AFTER) == len(AFTER)
        assert sold(town, BEFORE) == len(BEFORE)
        assert till.walker
        assert till.walker.lag == {"shop": 0}


@virtually
async def test_but_a_copy_keeps_what_the_producer_forgot() -> None:
    """A new id brings no document of a consumer back to what the producer knows."""
    town = Town()
    async with restored(town, "shop"):
        pass
    rename_journal(town, "shop")
    async with trading(town):
        await asyncio.sleep(2 * LONG)
        assert town.value("shop", keys.document("thing", LOST[0])) is None
        assert sold(town, LOST) == len(LOST)
