"""The bank as the simulation runs it: with reactors, a failure half-way, a private fact, a bug to fix."""

from collections.abc import Callable, Sequence

from accounts import (
    Account,
    Blow,
    Buy,
    Closed,
    Deposit,
    Deposited,
    Move,
    Overdrawn,
    Withdraw,
    Withdrawn,
    make_rules,
)  # fmt: skip

from chassis.envelope import Command, Event
from chassis.followers import Reaction
from chassis.rules import Context, Documents, Outside, Ref, Rules


class Split(Command):
    """Succeeds half-way: the second of its events cannot be stored."""

    account: str
    other: str
    amount: int


class Peek(Command):
    """Leaves a fact that stays in the journal."""

    account: str


class Cursed(Event):
    """Another service's event, which nobody here can handle before a bug is fixed."""

    topic = "payments"
    aggregate = "payment"
    key = "payment"
    payment: str
    account: str


def rules(fixed: Callable[[], bool]) -> Rules:
    """Build them afresh; `fixed` tells whether the bug is."""
    made = make_rules(react=_react)

    def account(name: str) -> Ref[Account]:
        return Ref("account", name)

    @made.command(Split, loads=lambda c: [account(c.account), account(c.other)])
    def split(_docs: Documents, command: Split, _context: Context) -> Sequence[Event]:
        first = Deposited(account=command.account, amount=command.amount)
        return [first, Deposited(account=command.other, amount=2**60)]

    @made.command(Peek, loads=lambda c: [account(c.account)])
    def peek(_docs: Documents, command: Peek, _context: Context) -> Sequence[Event]:
        return [Overdrawn(account=command.account)]

    @made.on(Cursed, loads=lambda e: [account(e.account)])
    def cursed(_docs: Documents, event: Cursed, _context: Context) -> Sequence[Event]:
        if not fixed():
            raise ZeroDivisionError("not fixed yet")
        return [Deposited(account=event.account, amount=1)]

    made.reactor("expire", Closed, after=2.0)(_expire)
    return made


async def _react(_event: Withdrawn, outside: Outside) -> Command:
    await outside.invoke("office", "note")
    return Deposit(account="tax", amount=1)


def _expire(_event: Closed, _outside: Outside) -> Command:
    return Deposit(account="expired", amount=1)


LOOKS_OUTSIDE = "reactor/react"
REACTORS = {r.event.event_type: Reaction(r, None).name for r in rules(bool).reactors.values()}  # type: ignore[arg-type]
EFFECTS: dict[type[Command], list[str]] = {
    Buy: ["Deposited"],
    Deposit: ["Deposited"],
    Move: ["Withdrawn", "Deposited"],
    Peek: ["Overdrawn"],
    Withdraw: ["Withdrawn"],
}
NEVER = (Blow, Split)
"""Commands that must leave nothing."""
EVENT_EFFECTS: dict[str, tuple[list[str], ...]] = {
    "AccountFrozen": ([], ["Closed"]),
    "Cursed": (["Deposited"],),
    "PaymentMade": (["Deposited"],),
    "PriceChanged": ([],),
}
