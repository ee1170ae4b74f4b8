"""A tiny ledger for the engine's tests: accounts, transfers, a copy of foreign prices, a reactor, a view."""

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from chassis.envelope import Command, Event
from chassis.problems import Conflict
from chassis.rules import Context, Documents, Rules


class Account(BaseModel):
    model_config = ConfigDict(frozen=True)
    balance: int = 0
    closed: bool = False


class Price(BaseModel):
    model_config = ConfigDict(frozen=True)
    amount: int


class Row(BaseModel):
    model_config = ConfigDict(frozen=True)
    owner: str
    balance: int


class AccountEvent(Event):
    aggregate = "account"
    key = "account"
    account: str


class Deposited(AccountEvent):
    amount: int


class Withdrawn(AccountEvent):
    amount: int


class Closed(AccountEvent):
    pass


class Overdrawn(AccountEvent):
    published = False


class PaymentMade(Event):
    """Another service's event."""

    topic = "payments"
    aggregate = "payment"
    key = "payment"
    payment: str
    account: str
    amount: int


class AccountFrozen(Event):
    """Another service's event, the handler of which may overtake the account's own beginning."""

    topic = "payments"
    aggregate = "freeze"
    key = "account"
    account: str


class PriceChanged(Event):
    topic = "prices"
    aggregate = "price"
    key = "sku"
    sku: str
    amount: int


class Poisonous(Event):
    topic = "payments"
    aggregate = "payment"
    key = "payment"
    payment: str
    account: str


class Deposit(Command):
    account: str
    amount: int


class Withdraw(Command):
    account: str
    amount: int


class Move(Command):
    giver: str
    taker: str
    amount: int


class Close(Command):
    account: str


class Blow(Command):
    account: str


class Buy(Command):
    """Refused where the price, an unguarded copy, is over the limit."""

    account: str
    sku: str
    limit: int


def make_rules(  # noqa: C901 - a list of registrations
    *,
    reactor_attempts: int = 8,
    reactor_alarm: int = 0,
    react: object = None,
    after: float = 0.0,
    view: bool = True,
    group: Callable[[Row], str] = lambda _row: "all",
) -> Rules:
    """Build the rules afresh, so that tests cannot share anything."""
    rules = Rules()
    account = rules.document("account", Account)
    price = rules.copy("price", Price, PriceChanged)

    @price.evolve
    def fold_price(_state: Price | None, event: PriceChanged) -> Price:
        return Price(amount=event.amount)

    @account.evolve
    def evolve(state: Account | None, event: Event) -> Account:
        state = state or Account()
        match event:
            case Deposited(amount=amount):
                return state.model_copy(update={"balance": state.balance + amount})
            case Withdrawn(amount=amount):
                return state.model_copy(update={"balance": state.balance - amount})
            case Closed():
                return state.model_copy(update={"closed": True})
        return state

    def withdraw(docs: Documents, name: str, amount: int) -> Event:
        state = docs[account(name)]
        if state is None or state.balance < amount:
            raise Conflict("not enough money; deposit first")
        return Withdrawn(account=name, amount=amount)

    @rules.command(Deposit, loads=lambda c: [account(c.account)])
    def deposit(_docs: Documents, command: Deposit, _context: Context) -> Sequence[Event]:
        return [Deposited(account=command.account, amount=command.amount)]

    @rules.command(Withdraw, loads=lambda c: [account(c.account)])
    def take(docs: Documents, command: Withdraw, _context: Context) -> Sequence[Event]:
        return [withdraw(docs, command.account, command.amount)]

    @rules.command(Move, loads=lambda c: [account(c.giver), account(c.taker)])
    def move(docs: Documents, command: Move, _context: Context) -> Sequence[Event]:
        taken = withdraw(docs, command.giver, command.amount)
        return [taken, Deposited(account=command.taker, amount=command.amount)]

    @rules.command(Close, loads=lambda c: [account(c.account)])
    def close(docs: Documents, command: Close, _context: Context) -> Sequence[Event]:
        state = docs[account(command.account)]
        return [] if state and state.closed else [Closed(account=command.account)]

    @rules.command(Blow, loads=lambda c: [account(c.account)])
    def blow(_docs: Documents, _command: Blow, _context: Context) -> Sequence[Event]:
        raise ZeroDivisionError("a bug")

    @rules.command(Buy, loads=lambda c: [account(c.account)], reads=lambda c: [price(c.sku)])
    def buy(docs: Documents, command: Buy, _context: Context) -> Sequence[Event]:
        now = docs[price(command.sku)]
        if now is None or now.amount > command.limit:
            raise Conflict("the price is over the limit; raise the limit")
        return [Deposited(account=command.account, amount=now.amount)]

    @rules.on(PaymentMade, loads=lambda e: [account(e.account)])
    def paid(_docs: Documents, event: PaymentMade, _context: Context) -> Sequence[Event]:
        return [Deposited(account=event.account, amount=event.amount)]

    @rules.on(AccountFrozen, loads=lambda e: [account(e.account)])
    def frozen(docs: Documents, event: AccountFrozen, _context: Context) -> Sequence[Event]:
        return [Closed(account=event.account)] if docs[account(event.account)] else []

    @rules.on(Poisonous, loads=lambda e: [account(e.account)])
    def poisonous(_docs: Documents, _event: Poisonous, _context: Context) -> Sequence[Event]:
        raise ZeroDivisionError("poison")

    if react is not None:
        register = rules.reactor("react", Withdrawn, after=after, attempts=reactor_attempts, alarm=reactor_alarm)
        register(react)  # type: ignore[type-var]
    if view:
        accounts = rules.view("accounts", Row, Deposited, Withdrawn, group=group)

        @accounts.folds
        def fold(row: Row | None, event: Deposited | Withdrawn) -> Row:
            before = row or Row(owner=event.account, balance=0)
            change = event.amount if isinstance(event, Deposited) else -event.amount
            return before.model_copy(update={"balance": before.balance + change})

    return rules
