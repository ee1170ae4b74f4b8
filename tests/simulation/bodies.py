"""The services as they are put together, made once and used again: building a FastAPI app takes longer than a seed.

What a process keeps in memory is made afresh for each of its lives (`wake`); its routes, which hold nothing, stay.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import gateway.api
import inventory.main
import notifications.main
import orders.main
import orders.owners
import payments.main
import users.main
from chassis.engine import Engine
from chassis.process import Settings
from chassis.reconciliation.walker import Walker
from chassis.rules import Rules
from chassis.service import Service
from chassis.sidecar import Sidecar
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from gateway.fallback import Fallback
from gateway.upstream import Upstream
from simulation import door

LEASE = 3.0
DEADLINES = {"order-deadline": 9.0, "reservation-deadline": 40.0, "payment-deadline": 40.0}
"""The last two are for what nobody else would ever end; see `run.py`."""
RULES: dict[str, Rules] = {
    "users": users.main.rules,
    "inventory": inventory.main.rules,
    "orders": orders.main.rules,
    "payments": payments.main.rules,
    "notifications": notifications.main.rules,
}
APIS = {"users": users.main.Api, "inventory": inventory.main.Api, "orders": orders.main.Api, "gateway": gateway.api.Api}
FORGETFUL = {"_service", "router", "_owners", "_users", "_inventory", "_orders", "_noted"}
"""What the objects behind the routes hold: `wake` must know of everything there."""


class Body:
    """One service, put together; alive in one process at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        nobody = MemorySidecar(MemoryStore(), MemoryBroker())
        self.service = Service(name, RULES.get(name), settings=settings("nobody"), sidecar=nobody)
        self.api = APIS[name](self.service) if name in APIS else None
        if self.api:
            assert vars(self.api).keys() <= FORGETFUL, f"{name} keeps something that no restart would take from it"
            door.add(self.service.app, self.api.router)
        self.door = door.Door(self.service.app)

    def wake(self, sidecar: Sidecar, instance: str, clock: Callable[[], float], loop_time: Callable[[], float]) -> None:
        """Begin a life: nothing is remembered of an earlier one."""
        service = self.service
        service.sidecar, service.settings = sidecar, settings(instance)
        service.engine = None
        if self.name in RULES:
            service.rules = rules_of(self.name)
            service.engine = Engine(self.name, service.rules, sidecar, service.settings, clock=clock)
            service.walker = Walker(service, service.engine)
        if isinstance(self.api, orders.main.Api):
            self.api._owners = orders.owners.Owners(service)
        if isinstance(self.api, gateway.api.Api):
            fallback = Fallback(clock=loop_time)
            self.api._users, self.api._inventory, self.api._orders = (
                Upstream(service, app, fallback) for app in ("users", "inventory", "orders")
            )


@cache
def settings(instance: str) -> Settings:
    """Times as in a real run, but for a shorter lease and less patience with the broker, so that seeds are short."""
    return Settings(
        instance=instance, lease=LEASE, answer_within=2.0, drain_within=2.0, careful_for=4.0,
        walk_every=1.5, walk_patience=1.0, marks_kept=2.0,
    )  # fmt: skip


@cache
def rules_of(name: str) -> Rules:
    """Return a service's rules with deadlines of some seconds."""
    rules = copy.copy(RULES[name])
    rules.reactors = {n: replace(r, after=DEADLINES.get(n, r.after)) for n, r in rules.reactors.items()}
    return rules


class Pool:
    """Bodies by service; each is lent for the rest of a seed, because what died may stir once more."""

    def __init__(self) -> None:
        self._all: dict[str, list[Body]] = {}
        self._lent: dict[str, int] = {}

    def lend(self, name: str) -> Body:
        """Hand out one that nobody has in this seed."""
        bodies, number = self._all.setdefault(name, []), self._lent.get(name, 0)
        if number == len(bodies):
            bodies.append(Body(name))
        self._lent[name] = number + 1
        return bodies[number]

    def return_all(self) -> None:
        """Begin a new seed."""
        self._lent.clear()


POOL = Pool()
