"""What the state machine found, or led to, each as small as it gets."""

from collections.abc import Iterator

import pytest
from accounts import Deposit, Withdraw
from replica import LEASE, Armed
from trial import Simulation

from chassis.engine import Running
from chassis.journal import Fenced
from chassis.problems import Conflict
from chassis.views import Fold, Slot
from chassis.work import Reply
from chassis_testing.faults import DROPPED, LATE, LOST_ANSWER, REFUSED, Fault


@pytest.fixture
def sim() -> Iterator[Simulation]:
    made = Simulation()
    yield made
    made.close()


def test_a_refusal_is_final_although_an_earlier_attempt_is_in_doubt(sim: Simulation) -> None:
    sim.order(Deposit(account="x", amount=1), ("b",))
    sim.wait(0.1)
    first = sim.processes["a"]
    first.armed += [Armed("transact", 0, DROPPED), Armed("read", 1, Fault(before=first.stall()))]
    sim.order(Withdraw(account="x", amount=1), ("a", "b"))  # a: "unknown"
    sim.order(Withdraw(account="x", amount=1), ("b",))
    sim.wait(2.5)  # b: "not enough money"
    assert isinstance(sim.orders[1].answer, Conflict)
    sim.order(Deposit(account="x", amount=1), ("b",))
    sim.wait(0.1)
    sim.finish()  # a wakes, and there is money


def test_asking_often_after_a_crash_is_not_taken_for_a_crash_loop(sim: Simulation) -> None:
    sim.processes["a"].die()
    sim.restart("a")
    sim.wait(0.1)
    answers = [sim.ask("a", Deposit(account="x", amount=1), "k") for _ in range(8)]
    assert all(isinstance(a, Reply) for a in answers), answers
    refusals = [sim.ask("a", Withdraw(account="x", amount=9), "r") for _ in range(8)]
    assert all(isinstance(r, Conflict) for r in refusals), refusals


def test_what_was_done_is_not_given_up_after_many_crashes(sim: Simulation) -> None:
    for _ in range(6):
        answer = sim.ask("a", Deposit(account="x", amount=1), "k")
        assert isinstance(answer, Reply), answer
        sim.processes["a"].die()
        sim.restart("a")
        sim.wait(0.1)


def test_the_last_of_many_unknown_outcomes_counts(sim: Simulation) -> None:
    post = sim.post("PaymentMade", {"payment": "p", "account": "x", "amount": 1})
    process = sim.processes["a"]
    sim.wait(0.1)
    process.armed.append(Armed("transact", 0, REFUSED))
    sim.deliver(post, ("a",))
    sim.wait(0.1)
    (letter,) = (key for key in sim.world.store.rows if key.startswith("dead:"))
    process.armed += [Armed("transact", n, fault) for n, fault in ((0, DROPPED), (1, DROPPED), (1, LOST_ANSWER))]
    assert sim.loop.run_until_complete(process.service.redrive(letter)) is None
    sim.finish()


def test_clearing_a_slot_late_does_not_hit_what_was_built_since(sim: Simulation) -> None:
    sim.order(Deposit(account="x", amount=1), ("a",))
    sim.wait(0.1)
    sim.rebuild("a")
    sim.wait(LEASE)
    sim.processes["a"].armed.append(Armed("transact", 1, LATE))  # of the rebuild's deletions
    sim.rebuild("a")
    sim.wait(0.01)
    sim.rebuild("a")
    sim.wait(LEASE)
    sim.finish()  # the late one lands


def test_a_generation_that_is_over_is_not_folded(sim: Simulation) -> None:
    sim.order(Deposit(account="x", amount=1), ("a",))
    sim.wait(0.1)
    sim.rebuild("a")
    sim.wait(LEASE)
    engine = sim.processes["a"].engine
    assert engine.main
    view = engine.rules.views["accounts"]
    late = Fold(view, Slot("accounts", 0), engine.rules, sim.world.events(), 0, 1)
    with pytest.raises(Conflict):
        sim.loop.run_until_complete(engine.main.executor.submit(late))


def test_records_that_were_folded_are_not_folded_again(sim: Simulation) -> None:
    """Two followers of one name, or one that began again, while its first fold was still in the queue."""
    sim.order(Deposit(account="x", amount=1), ("a",))
    sim.wait(LEASE)
    engine = sim.processes["a"].engine
    assert engine.main
    late = Fold(engine.rules.views["accounts"], Slot("accounts", 0), engine.rules, sim.world.events(), 0, 1)
    with pytest.raises(Conflict, match="has these records already"):
        sim.loop.run_until_complete(engine.main.executor.submit(late))


def test_an_adopted_lane_is_not_given_back_before_anything_follows_it(sim: Simulation) -> None:
    main = sim.processes["a"].engine.main
    assert main
    assert main.drained
    assert not Running(main.executor, adopted=True).drained


def test_nothing_follows_a_lane_that_is_lost(sim: Simulation) -> None:
    main = sim.processes["a"].engine.main
    assert main
    followers = sim.loop.run_until_complete(sim.processes["a"].engine._followers())
    sim.processes["a"].gate.clear()
    sim.wait(3 * LEASE)
    sim.processes["a"].thaw()
    sim.wait(LEASE)
    assert sim.processes["a"].engine.main is not main
    main.followers.clear()
    main.refresh(followers)  # by the watcher, which was looking at it
    assert not main.followers
    with pytest.raises(Fenced):
        sim.loop.run_until_complete(main.executor.records(main.executor.head.tail))
