"""What the broker loses comes all the same, once; what it brings is not fetched."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from shop import EVERY, LONG, PATIENCE, Returned, Sold, Town, sell, shop_rules, till_rules, trading, virtually

from chassis import keys
from chassis.envelope import Event
from chassis.reconciliation.cursor import including, settled
from chassis.sidecar import Answer, Delete, Put
from chassis_testing.memory import MemoryStore
from support.http import ask

THINGS = [f"thing-{n}" for n in range(30)]


def sold(town: Town) -> list[int]:
    return [town.counted(f"Sold-{thing}") for thing in THINGS]


@virtually
async def test_what_the_broker_brings_is_not_fetched() -> None:
    town = Town()
    async with trading(town) as (shop, till):
        await sell(shop, *THINGS)
        await asyncio.sleep(LONG)
        assert sold(town) == [1] * len(THINGS)
        assert till.walker
        assert (till.walker.repaired, "journal-events" in town.asked) == ({}, False)
        assert till.walker.lag == {"shop": 0}


@virtually
async def test_a_broker_that_loses_everything_delays_and_loses_nothing() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with trading(town) as (shop, till):
        await sell(shop, *THINGS)
        await asyncio.sleep(PATIENCE)
        assert sum(sold(town)) == 0
        await asyncio.sleep(LONG)
        assert sold(town) == [1] * len(THINGS)
        assert till.walker
        assert till.walker.repaired == {"shop": len(THINGS)}


@virtually
async def test_a_journal_tells_its_owner_s_events_and_no_others() -> None:
    class Paid(Event):
        topic, aggregate, key = "bank", "thing", "what"
        what: str

    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(town.open("shop", shop_rules()))
        honest = town.apps["shop"]

        async def lying(method: str, *how: Any) -> Answer:
            told = await honest(method, *how)
            return Answer(told.status, told.body.replace(b'"Sold"', b'"Paid"') if "events" in method else told.body)

        town.apps["shop"] = lying
        till = await stack.enter_async_context(town.open("till", till_rules(Sold, Paid)))
        await sell(shop, "canoe")
        await asyncio.sleep(LONG)
        assert "journal-events" in town.asked
        assert (till.walker is not None, town.counted("Paid-canoe"), town.counted("Sold-canoe")) == (True, 0, 0)


@virtually
async def test_what_is_lost_among_much_that_comes_is_found() -> None:
    town = Town()
    town.broker.lose = lambda _topic, entry: entry.event["payload"]["what"] in {THINGS[3], THINGS[17]}
    async with trading(town) as (shop, till):
        await sell(shop, *THINGS)
        await asyncio.sleep(LONG)
        assert sold(town) == [1] * len(THINGS)
        assert till.walker
        assert till.walker.repaired == {"shop": 2}


@virtually
async def test_it_is_found_while_more_and_more_comes() -> None:
    """A lane that never rests hides nothing."""
    town = Town()
    town.broker.lose = lambda _topic, entry: entry.event["payload"]["what"] == "lost"
    async with trading(town) as (shop, till):
        await sell(shop, "lost")
        began = asyncio.get_running_loop().time()
        while not town.counted("Sold-lost"):
            assert asyncio.get_running_loop().time() - began < LONG
            await sell(shop, *THINGS)
            await asyncio.sleep(0.2)
        assert till.walker
        assert till.walker.repaired == {"shop": 1}


@virtually
async def test_what_is_late_in_an_overload_is_not_fetched_as_well() -> None:
    """A queue far longer than anybody's patience, and it moves: what waits in it is not lost."""
    town = Town()
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(town.open("shop", shop_rules()))
        till = await stack.enter_async_context(town.open("till", till_rules(Sold)))
        await sell(shop, *THINGS)
        waiting = town.broker.published["shop"]
        for event in waiting:  # one every second
            assert till.walker
            assert not till.walker.repaired
            await till.deliver({"data": event})
            await asyncio.sleep(1)
        await asyncio.sleep(LONG)
        assert sold(town) == [1] * len(THINGS)
        assert till.walker
        assert not till.walker.repaired


@virtually
async def test_only_what_is_handled_is_fetched() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with trading(town, Sold) as (shop, till):
        await sell(shop, *THINGS, back=True)
        await sell(shop, "one")
        await asyncio.sleep(LONG)
        assert town.counted("Sold-one") == 1
        assert till.walker
        assert till.walker.repaired == {"shop": 1}
        (cursor,) = town.cursors().values()
        assert cursor["lanes"] == {"0": len(THINGS) + 1}


@virtually
async def test_what_cannot_be_handled_is_one_dead_letter_and_does_not_hold_the_cursor() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with trading(town) as (shop, _till):
        await sell(shop, "broken", *THINGS)
        await asyncio.sleep(2 * LONG)
        assert sold(town) == [1] * len(THINGS)
        assert town.value("till", keys.head(0))["dead_letters"] == 1
        (cursor,) = town.cursors().values()
        assert cursor["lanes"] == {"0": len(THINGS) + 1}


@virtually
async def test_numbers_that_begin_again_are_another_journal() -> None:
    town = Town()
    async with trading(town) as (shop, _till):
        await sell(shop, *THINGS)
        await asyncio.sleep(LONG)
    town.stores["shop"] = MemoryStore()
    town.broker.lose = lambda _topic, _entry: True
    async with trading(town) as (shop, _till):
        await sell(shop, *THINGS)
        await asyncio.sleep(LONG)
        assert sold(town) == [2] * len(THINGS)
        assert len(town.cursors()) == 2


@virtually
async def test_a_new_replica_of_the_producer_has_a_lane_that_is_found() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with trading(town) as (shop, _till), town.open("shop", shop_rules(), "b") as other:
        await sell(shop, *THINGS)
        await sell(other, *THINGS)
        await asyncio.sleep(LONG)
        assert sold(town) == [2] * len(THINGS)
        (cursor,) = town.cursors().values()
        assert cursor["lanes"] == {"0": len(THINGS), "1": len(THINGS)}


@virtually
async def test_a_missing_record_ends_the_walk() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with trading(town) as (shop, _till):
        await sell(shop, *THINGS)
    key = keys.record(0, 11)
    kept = town.value("shop", key)
    town.stores["shop"].apply([Delete(key)], 0.0)
    async with trading(town):
        await asyncio.sleep(LONG)
        assert sum(sold(town)) == 10
        town.stores["shop"].apply([Put(key, kept)], 0.0)
        await asyncio.sleep(LONG)
        assert sold(town) == [1] * len(THINGS)


@virtually
async def test_a_type_that_is_handled_since_lately_gets_its_history_and_nothing_comes_twice() -> None:
    town = Town()
    async with trading(town, Sold) as (shop, _till):
        await sell(shop, *THINGS)
        await sell(shop, *THINGS, back=True)
        await asyncio.sleep(LONG)
    marks = [key for key in town.stores["till"].rows if key.startswith("inbox:")]
    town.stores["till"].apply([Delete(key) for key in marks], 0.0)  # as if they had been forgotten
    async with trading(town, Sold, Returned) as (_shop, till):
        await asyncio.sleep(LONG)
        assert [town.counted(f"Returned-{thing}") for thing in THINGS] == [1] * len(THINGS)
        assert sold(town) == [1] * len(THINGS)
        assert till.walker
        assert till.walker.repaired == {"shop": len(THINGS)}


@virtually
async def test_who_wants_no_history_gets_what_comes_from_now_on() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with town.open("shop", shop_rules()) as shop:
        await sell(shop, *THINGS)
    async with trading(town, history=False) as (shop, _till):
        await asyncio.sleep(LONG)
        await sell(shop, "new")
        await asyncio.sleep(LONG)
        assert (sum(sold(town)), town.counted("Sold-new")) == (0, 1)


@virtually
async def test_an_older_version_skips_nothing_that_a_newer_one_handles() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with trading(town, Sold, Returned) as (shop, _till):
        await sell(shop, "first")
        await asyncio.sleep(LONG)
    async with trading(town, Sold) as (shop, _till):
        await sell(shop, "later", back=True)
        await asyncio.sleep(LONG)
    async with trading(town, Sold, Returned):
        await asyncio.sleep(LONG)
        assert town.counted("Returned-later") == 1


@virtually
async def test_a_look_at_the_lanes_that_fails_does_not_end_the_walks() -> None:
    town = Town()
    async with trading(town) as (shop, till):
        assert till.walker

        async def fails() -> bool:
            raise ValueError("a head that cannot be read")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(till.walker, "_is_its_turn", fails)
            await asyncio.sleep(LONG)
        town.broker.lose = lambda _topic, _entry: True
        await sell(shop, *THINGS)
        await asyncio.sleep(LONG)
        assert sold(town) == [1] * len(THINGS)


@virtually
async def test_one_replica_walks_and_another_goes_on_when_it_is_gone() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(town.open("shop", shop_rules()))
        async with town.open("till", till_rules(Sold)) as first, town.open("till", till_rules(Sold), "b") as second:
            await sell(shop, *THINGS)
            asked = town.asked.count("journal-lanes")
            await asyncio.sleep(LONG)
            assert first.walker
            assert second.walker
            assert (first.walker.repaired, second.walker.repaired) == ({"shop": len(THINGS)}, {})
            assert town.asked.count("journal-lanes") - asked <= LONG / EVERY + 1, "one walks, and not both"
        async with town.open("till", till_rules(Sold), "b"):
            await sell(shop, *THINGS)
            await asyncio.sleep(LONG)
            assert sold(town) == [2] * len(THINGS)


@virtually
async def test_events_that_fill_more_than_an_answer_come_in_several() -> None:
    town = Town()
    town.broker.lose = lambda _topic, _entry: True
    big = [f"{n}-{'x' * 70_000}" for n in range(20)]
    async with trading(town) as (shop, till):
        await asyncio.gather(*(sell(shop, thing) for thing in big))
        await asyncio.sleep(LONG)
        assert [town.counted(f"Sold-{thing}") for thing in big] == [1] * len(big)
        assert till.walker
        assert town.asked.count("journal-events") > 4


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("journal-lanes", {}),
        ("journal-records", {"lane": 0, "after": 0, "upto": 9}),
        ("journal-events", {"lane": 0, "numbers": [1], "ids": ["x"]}),
    ],
)
async def test_a_journal_is_shown_to_services_only(method: str, body: dict[str, object]) -> None:
    town = Town()
    async with town.open("shop", shop_rules()) as shop:
        await sell(shop, "x")
        assert (await ask(shop.app, "POST", f"/{method}", body=body)).status == 403


def test_a_cursor_with_a_new_type_begins_again_for_that_type_alone() -> None:
    old = {"lanes": {"0": 7, "1": 3}, "types": {"A": {}, "B": {"0": 9}}}
    new = including(old, {"A": True, "B": True, "C": True, "D": False}, [10, 4])
    stands = [settled(new, kind, lane, n) for kind, lane, n in (
        ("A", 0, 7), ("A", 0, 8), ("A", 1, 3), ("B", 0, 9), ("B", 1, 4), ("C", 0, 1), ("D", 0, 10), ("D", 1, 5),
    )]  # fmt: skip
    assert stands == [True, False, True, True, False, False, True, False]
    assert including(new, {"A": True, "B": True, "C": True, "D": False}, [99, 99]) == new


def test_a_cursor_that_gets_a_type_without_history_stays_where_it_is() -> None:
    assert including({"lanes": {"0": 7}, "types": {"A": {}}}, {"A": True, "D": False}, [10]) == {
        "lanes": {"0": 7}, "types": {"A": {}, "D": {"0": 10}},
    }  # fmt: skip
