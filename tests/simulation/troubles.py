"""Lets a plan's troubles happen: some strike at once, some wait for the next call of their kind."""

from typing import TYPE_CHECKING

from simulation.plan import VERBS, Trouble
from simulation.replica import Armed

if TYPE_CHECKING:
    from simulation.replica import Replica
    from simulation.town import Town


def strike(town: "Town", trouble: Trouble) -> None:
    """Let one happen, or arm it."""
    town.record("trouble", trouble.kind, str(trouble))
    kind = trouble.kind
    if kind in VERBS:
        slot = town.slots[trouble.service, trouble.replica]
        slot.armed.append(Armed(kind, trouble.verb, trouble.skip, trouble.count))
    elif kind.startswith("event"):
        town.broker.armed[kind, trouble.service] += trouble.count
    elif kind == "broker wiped":
        town.hits[kind] += bool(town.broker.wipe())
    elif kind == "broker swapped":
        town.broker.swap()
    elif kind.endswith(" away"):
        town.away[trouble.service] = town.loop.now + trouble.seconds
    elif kind == "bank stopped":
        town.bank.stopped_until = town.loop.now + trouble.seconds
    elif kind == "bank's answer lost":
        town.bank.lost_answers += trouble.count
    elif kind == "bank slow":
        town.bank.slow_answers += trouble.count
    else:
        _process(town, town.replicas[trouble.service, trouble.replica], trouble)


def _process(town: "Town", replica: "Replica", trouble: Trouble) -> None:
    if trouble.kind == "clock skew":
        replica.slot.skew = trouble.seconds
    elif not replica.alive:
        return
    elif trouble.kind == "process killed":
        replica.die()
    elif trouble.kind == "owner paused":
        replica.freeze()
        town.loop.call_later(trouble.seconds, replica.thaw)
    elif trouble.kind == "process told to leave":
        if not replica.leaving:
            replica.spawn(replica.leave())
    else:
        raise ValueError(f"no trouble is called {trouble.kind!r}")
    town.hit(trouble.kind)


def calm(town: "Town") -> None:
    """End all trouble: the dead are started, the frozen thaw. What was lost has to be found in the journals."""
    town.broker.armed.clear()
    town.away.clear()
    town.bank.stopped_until = town.bank.lost_answers = town.bank.slow_answers = 0
    for slot in town.slots.values():
        slot.armed.clear()
        slot.skew = 0.0
        town.replicas[slot.service, slot.name].thaw()
        town.begin_again(slot)
