"""What the chassis makes of the answers that a sidecar gives while its breaker opens and closes."""

import logging
import time

import pytest

from chassis.operations.circuits import Circuits, State
from chassis.problems import Problem
from chassis.sidecar import Answer, Unanswered, call
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore

OPEN = b'{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: bank, err: circuit breaker is open"}'
TRIAL = b'{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: bank, err: too many requests"}'


@pytest.fixture
def circuits() -> Circuits:
    return Circuits()


def heard(circuits: Circuits, status: int, body: bytes = b"", *, began: float | None = None) -> State:
    circuits.heard("bank", "authorize", time.monotonic() if began is None else began, status, body)
    (circuit,) = circuits
    return circuit.state


def test_it_opens_when_the_sidecar_says_so_and_closes_with_the_first_success(circuits: Circuits) -> None:
    assert heard(circuits, 500, b"boom") is State.CLOSED
    assert heard(circuits, 500, OPEN) is State.OPEN
    assert heard(circuits, 500, OPEN) is State.OPEN
    assert heard(circuits, 200) is State.CLOSED
    (circuit,) = circuits
    assert circuit.changes == {State.OPEN: 1, State.HALF_OPEN: 1, State.CLOSED: 1}


def test_a_trial_that_fails_opens_it_again(circuits: Circuits) -> None:
    heard(circuits, 500, OPEN)
    assert heard(circuits, 503, b"still broken") is State.OPEN
    (circuit,) = circuits
    assert circuit.changes == {State.OPEN: 2, State.HALF_OPEN: 1}


def test_it_is_half_open_while_somebody_elses_call_is_on_trial(circuits: Circuits) -> None:
    heard(circuits, 500, OPEN)
    trial = time.monotonic()
    assert heard(circuits, 500, TRIAL) is State.HALF_OPEN
    assert heard(circuits, 200, began=trial) is State.CLOSED


def test_an_answer_to_a_call_from_before_it_opened_says_nothing(circuits: Circuits) -> None:
    before = time.monotonic()
    heard(circuits, 500, OPEN)
    assert heard(circuits, 200, began=before) is State.OPEN


def test_what_an_app_says_of_other_circuits_does_not_open_this_one(circuits: Circuits) -> None:
    assert heard(circuits, 500, b'{"detail":"circuit breaker is open"}') is State.CLOSED


def test_each_method_has_its_own(circuits: Circuits) -> None:
    circuits.heard("orders", "order", 0.0, 500, OPEN)
    circuits.heard("orders", "place-order", 0.0, 202, b"")
    assert [(c.method, c.state) for c in circuits] == [("order", State.OPEN), ("place-order", State.CLOSED)]


def test_every_change_is_a_line_in_the_log(circuits: Circuits, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    heard(circuits, 500, OPEN)
    heard(circuits, 500, OPEN)
    heard(circuits, 200)
    told = [(record.levelname, vars(record)["was"], vars(record)["now"]) for record in caplog.records]
    assert told == [
        ("WARNING", "closed", "open"), ("INFO", "open", "half-open"), ("INFO", "half-open", "closed"),
    ]  # fmt: skip


async def test_calls_of_services_and_reactors_are_heard() -> None:
    answers = [Answer(500, OPEN), Answer(200, b"{}")]

    async def bank(*_: object) -> Answer:
        return answers.pop(0)

    sidecar = MemorySidecar(MemoryStore(), MemoryBroker(), apps={"bank": bank})
    with pytest.raises((Unanswered, Problem)):
        await call(sidecar, "bank", "authorize", body={})
    assert [c.state for c in sidecar.circuits] == [State.OPEN]
    await call(sidecar, "bank", "authorize", body={})
    assert [c.state for c in sidecar.circuits] == [State.CLOSED]
