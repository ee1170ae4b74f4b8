"""What happens in one seed, as data: who orders what and when, what else is wished, what goes wrong.

A plan follows from its seed alone. Shrinking takes things out of it.
"""

import os
import random
from dataclasses import dataclass
from typing import Any

REPLICAS = tuple("abcdefgh"[: int(os.environ.get("SIMULATE_REPLICAS", "2"))])
SERVICES = ("users", "inventory", "orders", "payments", "notifications")
PEOPLE = 8
PRODUCTS: dict[str, tuple[str, int]] = {  # price, pieces; two of the dearest are more than the bank holds
    "TEA": ("10.00", 14),
    "CUP": ("5.50", 6),
    "POT": ("250.00", 4),
    "YACHT": ("60000.00", 20),
    "GONE": ("7.00", 0),
    "ROPE": ("3.20", 100_000),
}
STORM = 6.0  # seconds in which orders come
TROUBLE = 7.0  # seconds in which things go wrong
ORDERS = 17
CANARIES = 4  # afterwards, when all is well again; see `clients.py`


@dataclass(frozen=True, slots=True)
class Wish:
    """One customer's order."""

    number: int
    at: float
    person: int
    items: tuple[tuple[str, int], ...]
    keyed: bool = True
    insists: bool = True  # until the answer is definite
    twice: bool = False  # sent by two at once, with one key
    cancel_after: float | None = None
    polls: int = 3


@dataclass(frozen=True, slots=True)
class Act:
    """Something else that somebody wishes."""

    at: float
    kind: str  # see `clients.act`
    subject: Any = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong. `verb`, `skip` and `count` say which calls, `seconds` how long."""

    at: float
    kind: str
    service: str = ""
    replica: str = ""
    verb: str = ""
    skip: int = 0
    count: int = 1
    seconds: float = 0.0

    def __str__(self) -> str:
        where = f"{self.service}.{self.replica}".strip(".")
        which = f" {self.verb} +{self.skip} x{self.count}" if self.verb else ""
        return f"{self.at:7.3f} {self.kind} {where}{which}" + (f" for {self.seconds} s" if self.seconds else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it; times are seconds after everything serves."""

    seed: int
    wishes: tuple[Wish, ...]
    acts: tuple[Act, ...]
    troubles: tuple[Trouble, ...]
    canaries: bool = True


CALLS = ("lost answer", "late commit", "refused commit", "unreachable", "not done, no answer", "foreign write")
"""What happens to single calls of one process to its sidecar."""
VERBS: dict[str, tuple[str, ...]] = {
    "lost answer": ("transact", "transact", "publish", "invoke", "bind"),
    "late commit": ("transact",),
    "refused commit": ("transact",),
    "unreachable": ("transact", "read", "publish", "invoke", "bind"),
    "not done, no answer": ("transact", "read", "publish", "invoke"),
    "foreign write": ("transact",),
    "crash before a call": ("transact", "read", "publish", "invoke", "bind"),
    "crash after a call": ("transact", "transact", "transact", "publish", "invoke", "bind"),
}
CRASHES = ("crash before a call", "crash after a call")
BROKER = ("event duplicated", "event delayed", "event refused", "event lost after its 204", "broker wiped",
          "broker swapped")  # fmt: skip
AWAY = ("users away", "inventory away", "orders away")
OTHERS = ("process killed", "owner paused", "clock skew", "process told to leave", "bank stopped", "bank's answer lost",
          "bank slow", *AWAY)  # fmt: skip
KINDS = (*CALLS, *CRASHES, *BROKER, *OTHERS)
CALLERS = {"invoke": ("payments", "payments", "notifications", "orders", "inventory"), "bind": ("notifications",)}


def plan(seed: int) -> Plan:
    """Draw a plan."""
    dice = random.Random(seed)
    wishes = tuple(_wish(dice, number) for number in range(ORDERS))
    acts = tuple(_act(dice) for _ in range(dice.randint(3, 7)))
    kinds = [*dice.sample(KINDS, 8), *dice.choices((*CALLS, *CRASHES), k=dice.randint(2, 6))]
    troubles = tuple(sorted((_trouble(dice, kind) for kind in kinds), key=lambda each: each.at))
    return Plan(seed, wishes, acts, troubles)


def _wish(dice: random.Random, number: int) -> Wish:
    burst = dice.choice((0.0, 0.0, 0.5, 1.0, 2.0, 4.0, STORM))
    items = dice.sample(sorted(PRODUCTS), dice.choice((1, 1, 1, 2, 3)))
    if "GONE" in items and dice.random() < 0.6:
        items = ["ROPE"]
    keyed = dice.random() < 0.75
    return Wish(
        number, round(burst + dice.random() * 0.05, 3), dice.randrange(PEOPLE),
        tuple((sku, dice.choice((1, 1, 2, 3))) for sku in items), keyed,
        insists=keyed and dice.random() < 0.85, twice=keyed and dice.random() < 0.2,
        cancel_after=dice.choice((0.0, 0.02, 0.06, 0.2, 1.0, 5.0)) if dice.random() < 0.25 else None,
        polls=dice.randint(1, 4),
    )  # fmt: skip


def _act(dice: random.Random) -> Act:
    kind = dice.choice(
        (*["reprice"] * 6, "restock", "deactivate", "register", "stranger", "debtor", "rubbish", "rebuild")
    )
    at = round(dice.random() * STORM, 3)
    match kind:
        case "reprice":
            return Act(at, kind, dice.choice(("TEA", "TEA", "CUP")), dice.randint(100, 999))
        case "restock":
            return Act(at, kind, dice.choice(("CUP", "POT")), dice.randint(1, 3))
        case "deactivate":
            return Act(at, kind, dice.randrange(1, PEOPLE))  # the canaries are the first
        case "register":
            return Act(at, kind, dice.randrange(1000))
        case "stranger":
            return Act(at, kind, f"stranger-{dice.randrange(1000)}", dice.choice(("TEA", "ROPE")))
        case "debtor":
            return Act(at, kind, f"debtor-{dice.randrange(1000)}", dice.randint(1, 99))
        case "rebuild":
            return Act(at, kind, dice.choice(("orders", "inventory")))
        case _:
            return Act(at, kind, dice.choice(("orders", "payments", "inventory")))


def _trouble(dice: random.Random, kind: str) -> Trouble:
    at = round(dice.choice((0.0, 0.0, 0.5, 1.0, 2.0, 4.0, STORM)) + dice.random() * 0.1, 3)
    if kind in VERBS:
        verb = dice.choice(VERBS[kind])
        service = dice.choice(CALLERS.get(verb, SERVICES[1:]))
        skip = dice.choice((0, 0, 1, 2, 3, 5, 8)) if verb not in CALLERS else dice.choice((0, 0, 1))
        count = 1 if kind in CRASHES else dice.choice((1, 1, 1, 2, 4))
        return Trouble(at, kind, service, dice.choice(REPLICAS), verb, skip, count)
    if kind in BROKER:
        return Trouble(at, kind, dice.choice(("inventory", *SERVICES[1:4])), count=dice.choice((1, 2, 4, 8)))
    if kind in AWAY:
        return Trouble(at, kind, kind.removesuffix(" away"), seconds=dice.choice((0.3, 1.0, 3.0)))
    if kind.startswith("bank"):
        return Trouble(at, kind, "bank", count=dice.choice((1, 2, 4)), seconds=dice.choice((0.5, 2.0, 5.0, 12.0)))
    seconds = {"owner paused": dice.choice((0.5, 4.5, 4.5, 7.0)), "clock skew": dice.choice((-2.0, -0.5, 0.7, 3.0))}
    return Trouble(at, kind, dice.choice(SERVICES), dice.choice(REPLICAS), seconds=seconds.get(kind, 0.0))
