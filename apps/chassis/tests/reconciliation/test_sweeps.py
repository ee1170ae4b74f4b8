"""Marks go when nobody needs them any more, and what comes again after that is still known."""

import asyncio
from contextlib import AsyncExitStack

from shop import EVERY, KEPT, LONG, Returned, Sold, Town, sell, shop_rules, till_rules, trading, virtually

from chassis import keys
from chassis.service import Service

THINGS = [f"thing-{n}" for n in range(30)]
SWEPT = KEPT + LONG  # s until every mark of what was sold before is gone


class NextSold(Sold):
    """As a later version tells it."""

    event_type, version = "Sold", "9.0"


def sold(town: Town) -> list[int]:
    return [town.counted(f"Sold-{thing}") for thing in THINGS]


async def bring_again(town: Town, till: Service) -> None:
    """Deliver everything once more, as a broker does that was away for a week."""
    for event in list(town.broker.published["shop"]):
        await till.deliver({"data": event})


@virtually
async def test_marks_go_when_the_walk_has_passed_them_for_long() -> None:
    town = Town()
    async with trading(town) as (shop, _till):
        await sell(shop, *THINGS)
        await asyncio.sleep(KEPT - EVERY)
        assert list(town.marks().values()) == [1] * len(THINGS)
        await asyncio.sleep(SWEPT)
        assert town.marks() == {}
        assert sold(town) == [1] * len(THINGS)


@virtually
async def test_who_begins_anew_waits_anew() -> None:
    town = Town()
    async with trading(town) as (shop, _till):
        await sell(shop, *THINGS)
        await asyncio.sleep(KEPT - EVERY)
    async with trading(town):
        await asyncio.sleep(KEPT - EVERY)
        assert len(town.marks()) == len(THINGS)


@virtually
async def test_what_comes_again_after_that_is_dropped() -> None:
    town = Town()
    async with trading(town) as (shop, till):
        await sell(shop, *THINGS)
        await asyncio.sleep(SWEPT)
        await bring_again(town, till)
        assert (town.marks(), sold(town)) == ({}, [1] * len(THINGS))


@virtually
async def test_what_comes_again_between_covering_and_deleting_is_dropped() -> None:
    town = Town()
    async with trading(town) as (shop, till):
        await sell(shop, *THINGS)
        for _ in range(int(SWEPT)):
            await bring_again(town, till)
            assert sold(town) == [1] * len(THINGS)
            await asyncio.sleep(1)
        assert town.marks() == {}


@virtually
async def test_the_mark_of_a_dead_letter_stays_until_it_is_redriven() -> None:
    town = Town()
    async with trading(town) as (shop, till):
        await sell(shop, "broken", *THINGS)
        await asyncio.sleep(SWEPT)
        await bring_again(town, till)
        assert list(town.marks().values()) == [{"dead": keys.dead_letter(0, 1)}]
        assert town.value("till", keys.head(0))["dead_letters"] == 1
    async with trading(town, Sold, broken=False) as (_shop, till):
        await till.redrive(keys.dead_letter(0, 1))
        await bring_again(town, till)
        assert town.counted("Sold-broken") == 1
        assert sold(town) == [1] * len(THINGS)


@virtually
async def test_what_another_version_could_read_meanwhile_is_not_redriven() -> None:
    town = Town()
    async with town.open("shop", shop_rules()) as shop:
        await sell(shop, "new", *THINGS)
        await asyncio.sleep(1)
    event = {**town.broker.published["shop"][0], "version": "9.0"}
    async with town.open("till", till_rules(Sold)) as till:
        await till.deliver({"data": event})
        assert (town.counted("Sold-new"), town.value("till", keys.head(0))["dead_letters"]) == (0, 1)
    town.broker.lose = lambda _topic, _entry: True
    async with town.open("shop", shop_rules()), town.open("till", till_rules(NextSold)) as till:
        await till.deliver({"data": event})
        await asyncio.sleep(SWEPT)
        assert keys.inbox(event["eventId"]) not in town.marks()
        await till.redrive(keys.dead_letter(0, 1))
        assert town.counted("Sold-new") == 1
        assert town.value("till", keys.dead_letter(0, 1))["open"] is False


@virtually
async def test_a_type_that_is_handled_since_lately_gets_its_history_and_the_others_stay_known() -> None:
    town = Town()
    async with trading(town, Sold) as (shop, _till):
        await sell(shop, *THINGS)
        await sell(shop, *THINGS, back=True)
        await asyncio.sleep(SWEPT)
    async with trading(town, Sold, Returned) as (_shop, till):
        await bring_again(town, till)
        await asyncio.sleep(2 * SWEPT)
        await bring_again(town, till)
        assert [town.counted(f"Returned-{thing}") for thing in THINGS] == [1] * len(THINGS)
        assert (town.marks(), sold(town)) == ({}, [1] * len(THINGS))


@virtually
async def test_who_wants_no_history_misses_nothing_that_is_on_its_way() -> None:
    """The first walk notes where it began; what was recorded just before that and comes just after it counts."""
    town = Town()
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(town.open("shop", shop_rules()))
        await sell(shop, *THINGS)
        till = await stack.enter_async_context(town.open("till", till_rules(Sold, history=False)))
        await asyncio.sleep(LONG)
        await bring_again(town, till)
        assert sold(town) == [1] * len(THINGS)
        await asyncio.sleep(SWEPT)
        await bring_again(town, till)
        assert sold(town) == [1] * len(THINGS)


@virtually
async def test_what_is_published_by_hand_keeps_its_mark() -> None:
    town = Town()
    async with trading(town) as (shop, till):
        await sell(shop, *THINGS)
        event = {**town.broker.published["shop"][0], "eventId": "by-hand", "payload": {"what": "own"}}
        del event["origin"]
        for _ in range(2):
            await till.deliver({"data": event})
            await asyncio.sleep(SWEPT)
        assert town.marks() == {keys.inbox("by-hand"): 1}
        assert town.counted("Sold-own") == 1
