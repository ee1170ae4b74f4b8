"""The faults that tests inject: what each leaves behind, and what the caller learns."""

import asyncio
from typing import Any

import pytest

from chassis.sidecar import Answer, ETagMismatch, Put, Refused, Unanswered, Unreachable
from chassis_testing.faults import (
    CRASH_AFTER,
    CRASH_BEFORE,
    DROPPED,
    LATE,
    LOST_ANSWER,
    MISMATCH,
    REFUSED,
    UNREACHABLE,
    Crashed,
    Fault,
    Verb,
)
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore

from .bench import entry


class Once:
    """Hands out one fault, at the first call of a verb."""

    def __init__(self, fault: Fault, at: Verb = "transact") -> None:
        self.fault: Fault | None = fault
        self.at = at

    def __call__(self, verb: Verb, _subject: Any) -> Fault | None:
        if verb != self.at:
            return None
        fault, self.fault = self.fault, None
        return fault


def sidecar(fault: Fault, at: Verb = "transact") -> MemorySidecar:
    return MemorySidecar(MemoryStore(), MemoryBroker(), faults=Once(fault, at), clock=lambda: 0.0)


@pytest.mark.parametrize(
    ("fault", "error", "there"),
    [
        (UNREACHABLE, Unreachable, False),
        (REFUSED, Refused, False),
        (MISMATCH, ETagMismatch, False),
        (DROPPED, Unanswered, False),
        (LOST_ANSWER, Unanswered, True),
        (LATE, Unanswered, False),
        (CRASH_BEFORE, Crashed, False),
        (CRASH_AFTER, Crashed, True),
    ],
)
async def test_a_fault_has_its_error_and_its_effect(fault: Fault, error: type[BaseException], *, there: bool) -> None:
    one = sidecar(fault)
    with pytest.raises(error):
        await one.transact([Put("a", 1)])
    assert ("a" in one.store.rows) is there


async def test_what_crashed_stays_dead_and_its_neighbour_lives() -> None:
    one = sidecar(CRASH_AFTER)
    other = MemorySidecar(one.store, one.broker)
    with pytest.raises(Crashed):
        await one.transact([Put("a", 1)])
    with pytest.raises(Crashed):
        await one.read(["a"])
    assert (await other.read(["a"]))["a"].value == 1


async def test_late_ones_land_in_order_as_they_were_sent() -> None:
    one = sidecar(LATE)
    value = {"n": 1}
    with pytest.raises(Unanswered):
        await one.transact([Put("a", value, insert=True)])
    value["n"] = 2
    one.faults = Once(LATE)
    with pytest.raises(Unanswered):
        await one.transact([Put("a", 3, insert=True)])
    first, second = one.store.land()
    assert first is None
    assert isinstance(second, ETagMismatch)
    assert (await one.read(["a"]))["a"].value == {"n": 1}
    assert one.store.land() == []


@pytest.mark.parametrize("applied", [False, True])
async def test_a_pause_freezes_before_or_after(*, applied: bool) -> None:
    go = asyncio.Event()
    one = sidecar(Fault(after=go) if applied else Fault(before=go))
    writing = asyncio.create_task(one.transact([Put("a", 1)]))
    done, _ = await asyncio.wait({writing}, timeout=0.01)
    assert not done
    assert ("a" in one.store.rows) is applied
    go.set()
    await writing
    assert "a" in one.store.rows


async def test_a_late_publish_reaches_the_broker_when_it_lands() -> None:
    one = sidecar(LATE, "publish")
    with pytest.raises(Unanswered):
        await one.publish("t", [entry("1")])
    assert one.broker.published == {}
    assert one.store.land() == [None]
    assert [event["eventId"] for event in one.broker.published["t"]] == ["1"]


async def test_an_app_is_called_unless_the_request_is_lost() -> None:
    calls: list[str] = []

    async def app(method: str, *_: object) -> Answer:
        calls.append(method)
        return Answer(404, b"")

    for fault, error in ((DROPPED, Unanswered), (LOST_ANSWER, Unanswered)):
        one = MemorySidecar(MemoryStore(), MemoryBroker(), faults=Once(fault, "invoke"), apps={"app": app})
        with pytest.raises(error):
            await one.invoke("app", fault.error.__name__ if fault.applied and fault.error else "lost")
        assert (await one.invoke("app", "again")).status == 404
    assert calls == ["again", "Unanswered", "again"]


async def test_the_broker_loses_doubles_refuses_and_delivers_again() -> None:
    broker = MemoryBroker()
    one = MemorySidecar(MemoryStore(), broker)
    seen: list[str] = []

    async def subscriber(topic: str, event: dict[str, Any]) -> bool:
        seen.append(event["eventId"])
        return event["eventId"] != "retried" or seen.count("retried") > 1

    broker.attach("t", subscriber)
    broker.lose = lambda _topic, each: each.entry_id == "lost"
    broker.duplicate = lambda _topic, each: each.entry_id == "doubled"
    broker.refuse = lambda _topic, each: each.entry_id == "refused"
    names = ["fine", "lost", "doubled", "refused", "retried"]
    assert await one.publish("t", [entry(name) for name in names]) == {"refused"}
    assert await broker.deliver() == 3
    assert await broker.deliver() == 1
    assert sorted(seen) == ["doubled", "doubled", "fine", "retried", "retried"]
    assert [event["eventId"] for event in broker.published["t"]] == ["fine", "lost", "doubled", "retried"]


async def test_members_of_a_group_take_turns_and_every_group_gets_all() -> None:
    broker = MemoryBroker()
    seen: list[str] = []

    def member(name: str) -> Any:
        async def receive(topic: str, event: dict[str, Any]) -> bool:
            seen.append(name)
            return True

        return receive

    detach = broker.attach("t", member("a1"), group="a")
    broker.attach("t", member("a2"), group="a")
    broker.attach("t", member("b"), group="b")
    broker.take("t", [entry("1"), entry("2")])
    assert await broker.deliver() == 4
    assert sorted(seen) == ["a1", "a2", "b", "b"]
    detach()
    broker.take("t", [entry("3")])
    assert broker.wipe() == 2
    assert await broker.deliver() == 0
