"""The engine without faults: what goes in comes out, once."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from accounts import Blow, Deposit, Move, Row, Withdraw, Withdrawn, make_rules
from world import World, envelope, order, until

from chassis.followers import Answers
from chassis.problems import Conflict, Failed, KeyReused
from chassis.rules import Outside
from chassis.sidecar import Stored
from chassis.work import Reply
from chassis_testing.virtual_time import VirtualLoop


async def test_a_command_is_stored_and_answered() -> None:
    world = World()
    async with world.running() as service:
        reply = await order(service, Deposit(account="a", amount=5), reply=Reply(202, {"x": 1}))
        assert (reply.status, reply.body) == (202, {"x": 1})
        assert world.balance("a") == 5
    world.check()


async def test_many_at_once_share_commits() -> None:
    world = World()
    async with world.running() as service:
        await asyncio.gather(*(order(service, Deposit(account="hot", amount=1)) for _ in range(500)))
        assert world.balance("hot") == 500
        assert world.head()["tail"] <= 20
    world.check()


async def test_a_refusal_leaves_nothing() -> None:
    world = World()
    async with world.running() as service:
        with pytest.raises(Conflict):
            await order(service, Withdraw(account="a", amount=1), key="k")
        assert world.events() == []
        await order(service, Deposit(account="a", amount=1))
        await order(service, Withdraw(account="a", amount=1), key="k")  # rejections are not stored
    world.check()


async def test_a_bug_in_a_command_is_told_to_its_caller_alone() -> None:
    world = World()
    async with world.running() as service:
        done = await asyncio.gather(
            order(service, Deposit(account="a", amount=1)), order(service, Blow(account="a")),
            order(service, Deposit(account="a", amount=1)), return_exceptions=True,
        )  # fmt: skip
        assert isinstance(done[1], Failed)
        assert world.balance("a") == 2


async def test_events_are_delivered_once_in_effect() -> None:
    world = World()
    async with world.running() as service:
        event = envelope("PaymentMade", {"payment": "p", "account": "a", "amount": 7})
        await asyncio.gather(*(service.deliver({"data": event}) for _ in range(5)))
        await service.deliver({"data": event})
        assert world.balance("a") == 7
    world.check()


async def test_what_is_committed_is_published_with_its_origin() -> None:
    world = World()
    async with world.running() as service:
        await order(service, Deposit(account="a", amount=1))
        await order(service, Move(giver="a", taker="b", amount=1))
        await until(lambda: len(world.broker.published.get("bank", [])) == 3)
        published = world.broker.published["bank"]
        journal = f"bank/{world.head()['journal_id']}/0"
        assert [e["origin"] for e in published] == [f"{journal}/1#0", f"{journal}/2#0", f"{journal}/2#1"]
        assert [(e["subject"], e["revision"]) for e in published] == [
            ("account/a", 1),
            ("account/a", 2),
            ("account/b", 1),
        ]
    assert world.head()["published"] == 2
    assert world.head()["owner"] is None


async def test_the_same_key_gives_the_same_answer() -> None:
    world = World()
    async with world.running() as service:
        one = Deposit(account="a", amount=1)
        first = await order(service, one, key="k", body=b"1", reply=Reply(202, {"id": "one"}))
        again = await order(service, one, key="k", body=b"1", reply=Reply(202, {"id": "two"}))
        assert again.body == first.body == {"id": "one"}
        with pytest.raises(KeyReused):
            await order(service, Deposit(account="a", amount=2), key="k", body=b"2")
        assert world.balance("a") == 1


async def test_a_restart_goes_on_in_its_own_lane() -> None:
    world = World()
    async with world.running() as service:
        await order(service, Deposit(account="a", amount=1))
    async with world.running() as service:
        await order(service, Deposit(account="a", amount=1))
    assert world.head()["tail"] == 2
    world.check()


async def test_a_reaction_that_keeps_failing_raises_the_alarm_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    answers = iter([False, False, False, True])

    def react(event: Withdrawn, _outside: Outside) -> Deposit:
        if not next(answers):
            raise Conflict("not now")
        return Deposit(account="paid", amount=event.amount)

    async with world.running(rules=make_rules(react=react, reactor_alarm=2)) as service:
        await order(service, Deposit(account="x", amount=9))
        await order(service, Withdraw(account="x", amount=2))
        await until(lambda: world.balance("paid") == 2, 5)
    failures = [record.levelname for record in caplog.records if record.message == "a reaction failed"]
    assert failures == ["WARNING", "CRITICAL", "WARNING"]


@pytest.mark.parametrize("group", [lambda _row: "all", lambda row: row.owner], ids=["one list", "a list each"])
async def test_a_view_takes_many_new_rows_at_once(group: Callable[[Row], str]) -> None:
    """However many lists and pages they come to lie on: what cannot be read in a few rounds would end the engine."""
    world = World()
    async with world.running(rules=make_rules(group=group)) as service:
        names = [f"n{number}" for number in range(1200)]
        await asyncio.gather(*(order(service, Deposit(account=name, amount=1)) for name in names))
        assert service.engine
        assert service.engine.main
        marks, tail = service.engine.main.executor.marks, service.engine.main.executor.head.tail
        await until(lambda: marks["view/accounts/0"] >= tail)
        view = service.rules.views["accounts"]
        rows = [await service.page(view, *at) for at in ([("all", n) for n in range(12)] + [(n, 0) for n in names])]
        assert sorted(row.owner for page in rows for row in page) == sorted(names)


def test_an_answer_is_used_again_while_it_is_fresh_and_a_failure_never() -> None:
    asked: list[str] = []

    async def ask() -> str:
        asked.append("?")
        if len(asked) == 2:
            raise Conflict("not now")
        return f"answer {len(asked)}"

    async def story() -> None:
        answers = Answers()
        assert [await answers.get("who", 60, ask) for _ in range(3)] == ["answer 1"] * 3
        await asyncio.sleep(61)
        with pytest.raises(Conflict):
            await answers.get("who", 60, ask)
        assert await answers.get("who", 60, ask) == "answer 3"
        assert await answers.get("who else", 60, ask) == "answer 4"
        await asyncio.sleep(5)
        assert await answers.get("who", 4, ask) == "answer 5"

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


async def test_only_so_many_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.followers.ANSWERS", 2)
    asked: list[str] = []
    answers = Answers()
    for question in ("a", "b", "c", "c", "b", "a"):

        async def ask(question: str = question) -> None:
            asked.append(question)

        await answers.get(question, 60, ask)
    assert asked == ["a", "b", "c", "a"]


async def test_who_waits_for_room_gets_it_although_nothing_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    world, gate = World(), asyncio.Event()
    async with world.running(rules=make_rules(view=False), queue_items=2, lease=60.0) as service:
        deposit = Deposit(account="a", amount=1)
        await order(service, deposit, key="k")
        assert service.engine
        assert service.engine.main
        executor, read = service.engine.main.executor, service.sidecar.read

        async def slow(names: Sequence[str]) -> dict[str, Stored]:
            await gate.wait()
            return await read(names)

        monkeypatch.setattr(service.sidecar, "read", slow)
        again = []
        for waiting in (0, 1, 2):  # one is looked at, two fill the queue
            again.append(asyncio.ensure_future(order(service, deposit, key="k")))
            await asyncio.sleep(0)
            await until(lambda waiting=waiting: executor.queued == waiting)
        paid = {"payment": "p", "account": "b", "amount": 7}
        event = asyncio.create_task(service.deliver({"data": envelope("PaymentMade", paid)}))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.wait_for(event, 5)
        assert (world.balance("a"), world.balance("b"), len(await asyncio.gather(*again))) == (1, 7, 3)


async def test_who_hears_nothing_but_repetitions_still_shows_life_and_keeps_its_marks() -> None:
    world = World()
    async with world.running(lease=0.3) as service:
        await order(service, Deposit(account="a", amount=5), key="k")
        await until(lambda: world.head()["published"] == world.head()["tail"])
        before = world.head()["commit"]
        async with asyncio.timeout(5):
            while world.head()["commit"] == before:  # and there is never a time without work
                await order(service, Deposit(account="a", amount=5), key="k")
