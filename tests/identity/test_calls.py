"""Who calls whom: what the table allows is done, and everything else is refused by the called one's sidecar."""

from collections.abc import Iterator
from functools import partial
from itertools import product

import pytest

from chassis.sidecar import CALLER
from identity.invocation import denied, invoked
from identity.probes import Probe, wrong
from identity.questions import CLOSED, Question
from identity.secured import Secured
from identity.table import Call

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

VERBS = ("GET", "POST", "PUT")


def test_an_order_passes_through_everything(running: Secured, orders: dict[str, str]) -> None:
    """Calls, topics, stores, the bank with its key, mails: all that the table allows is enough."""
    assert set(orders) == {"confirmed", "cancelled"}
    for app in running.table.apps:
        log = (running.home.logs / f"{app}.app.log").read_text()
        assert "access control policy has denied" not in log
        assert "ERR_PUBSUB_FORBIDDEN" not in log


def test_every_call_of_the_table_is_answered(running: Secured, asking: dict[str, Question]) -> None:
    heard = {call: invoked(running, call, asking[call.operation]) for call in running.table.calls()}
    assert {call: h for call, h in heard.items() if not asking[call.operation].answered(h)} == {}


def test_every_other_call_is_refused(system: Secured, asking: dict[str, Question]) -> None:
    assert wrong(_others(system, asking), least=2000) == []


def _others(system: Secured, asking: dict[str, Question]) -> Iterator[Probe]:
    """Try every caller, target, path and verb; where there is such an operation, under others' names as well."""
    allowed = set(system.table.calls())
    for target, operations in system.table.targets.items():
        there = {*operations, *CLOSED}
        tried = there | {f"{verb} {operation.split(' ')[1]}" for operation in there for verb in VERBS}
        for caller, operation in product(system.table.apps, sorted(tried)):
            call = Call(caller, target, *operation.split(" "))
            if caller == target or call in allowed:
                continue
            ask = partial(invoked, system, call, _question(asking, call))
            yield Probe(str(call), ask, denied)
            for name in ("gateway", target) if operation in there else ():
                yield Probe(f"{call} as {name}", partial(ask, **{CALLER: name, CALLER.title(): name}), denied)


def _question(asking: dict[str, Question], call: Call) -> Question:
    """Return the operation's, or another's of its path."""
    other = next(question for name, question in asking.items() if name.endswith(f" {call.path}"))
    return asking.get(call.operation, other)
