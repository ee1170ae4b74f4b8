"""What a storm does, and when: all of it follows from a seed, the roles, the number of kills and the time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, islice
from random import Random

CALM = 3.0  # s at the beginning and at the end
SPACE = 2.5  # s of a storm for each kill, unless the rate is given
RATE = 40.0  # orders a second, if the kills leave time for it
SHARE_AIMED = 3  # one in so many
BANK_MODES = ("slow", "fail", "decline", "down")


class Kind(StrEnum):
    """What befalls a role."""

    KILL = "killed"
    PAUSE = "stopped"  # and let go on, before or after its lease is over
    WIPE = "wiped"
    BANK = "a bad bank"


@dataclass(frozen=True, slots=True)
class Strike:
    """One of them. `at` counts from the first order, in seconds; `lasts` is how long it is not let go."""

    at: float
    kind: Kind
    role: str
    aimed: bool = False
    lasts: float = 0.0
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A storm: what comes, how fast orders do, and for how long."""

    seed: int
    rate: float
    orders: int
    strikes: tuple[Strike, ...]

    @property
    def seconds(self) -> float:
        """How long orders come."""
        return self.orders / self.rate


def plan(
    seed: int, roles: Sequence[str], *, broker: str, kills: int, orders: int, lease: float, rate: float = 0.0
) -> Plan:
    """Plan a storm. The bank has bad days if it is a role; without a rate, kills have the time that they need."""
    chance = Random(seed)
    rate = rate or min(RATE, orders / (kills * SPACE))
    seconds = orders / rate
    strikes = [
        *_kills(chance, roles, kills, seconds),
        *_pauses(chance, roles, max(len(roles), kills // 4), seconds, lease),
        *(_bad_days(chance, max(1, kills // 50), seconds) if "bank" in roles else ()),
        *(Strike(_moment(chance, seconds), Kind.WIPE, broker) for _ in range(max(1, kills // 100))),
    ]
    return Plan(seed, rate, orders, tuple(sorted(strikes, key=lambda strike: strike.at)))


def _kills(chance: Random, roles: Sequence[str], kills: int, seconds: float) -> Iterator[Strike]:
    """Kill each role as often as any other, and a third of them in a commit."""
    aimed = set(chance.sample(range(kills), -(-kills // SHARE_AIMED)))
    for number, role in enumerate(islice(_in_turn(chance, roles), kills)):
        yield Strike(_moment(chance, seconds), Kind.KILL, role, aimed=number in aimed)


def _pauses(chance: Random, roles: Sequence[str], pauses: int, seconds: float, lease: float) -> Iterator[Strike]:
    """Stop each role, in turn for longer than a lease and for less."""
    first = {role: chance.randrange(2) for role in roles}
    for number, role in enumerate(islice(_in_turn(chance, roles), pauses)):
        beyond = (first[role] + number // len(roles)) % 2
        lasts = lease * (chance.uniform(1.5, 2.0) if beyond else chance.uniform(0.2, 0.7))
        yield Strike(_moment(chance, seconds - lasts), Kind.PAUSE, role, lasts=lasts)


def _bad_days(chance: Random, rounds: int, seconds: float) -> Iterator[Strike]:
    """Give the bank every kind of bad day, one after the other."""
    modes = [mode for _ in range(rounds) for mode in chance.sample(BANK_MODES, len(BANK_MODES))]
    length = (seconds - 2 * CALM) / len(modes)
    for number, mode in enumerate(modes):
        yield Strike(CALM + number * length, Kind.BANK, "bank", lasts=length * chance.uniform(0.3, 0.6), mode=mode)


def _moment(chance: Random, seconds: float) -> float:
    return chance.uniform(CALM, max(CALM, seconds - CALM))


def _in_turn(chance: Random, roles: Sequence[str]) -> Iterator[str]:
    """Yield all roles, again and again, each time in another order."""
    for _ in count():
        yield from chance.sample(list(roles), len(roles))
