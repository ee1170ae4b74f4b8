"""Every service's part in an order, with a broker that repeats and reorders, and calls that get lost or come late.

Nothing runs but pure code and the bank's book. Whatever is drawn, customers who change their mind included, every order
ends, all services and the bank agree on its end, and the books of every product balance.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from bank.book import Movement, Status
from chassis.problems import Conflict
from contracts.inventory import AddProduct, ChangePrice
from contracts.money import Money
from contracts.orders import CancelRequest, OrderCreated, PaymentRequested, Wanted
from orders.placing import PlaceOrder
from support.given import Fact
from support.mail import read
from support.worlds import Trouble, Worlds
from users.domain import DeactivateUser, RegisterUser

EXAMPLES = 400
T = TypeVar("T")
STOCK = {"TEA": 5, "CUP": 3, "POT": 0}
USERS = ("u-1", "u-2")
HELD = {Status.AUTHORIZED, Status.CAPTURED}
UNTOUCHED, GIVEN_BACK, PAID = (), (Movement.HELD, Movement.RELEASED), (Movement.HELD, Movement.TAKEN)


class Shop(Worlds):
    """A small shop: three products, two customers whom orders has heard of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for sku, stock in STOCK.items():
            self.submit("inventory", AddProduct.model_validate({"sku": sku, "name": sku, "price": 1, "stock": stock}))
        for user in USERS:
            self.submit("users", RegisterUser(user_id=user, name=user.upper(), email=f"{user}@example.org"))
        self.settle()

    def place(self, number: int, skus: Iterable[str], user: str = USERS[0]) -> None:
        """Place an order of two pieces each."""
        items = tuple(Wanted(sku=sku, quantity=2) for sku in skus)
        self.submit("orders", PlaceOrder(order_id=f"o-{number}", user_id=user, items=items))

    def change_mind(self, order_id: str) -> None:
        """Let a customer cancel, who may be too late."""
        try:
            self.submit("orders", CancelRequest(order_id=order_id))
        except Conflict:
            assert self.ends()[order_id] == "confirmed"

    def ends(self) -> dict[str, str]:
        """Say how each order stands."""
        return {name: state.status for name, state in self.worlds["orders"].states("order").items()}

    def check(self) -> None:
        """Expect what holds at any moment."""
        for stock in self.worlds["inventory"].states("stock").values():
            assert min(stock.available, stock.reserved, stock.committed) >= 0
            assert stock.initial == stock.available + stock.reserved + stock.committed
        for order_id, end in self.ends().items():
            status = self.bank.payment(order_id).status
            assert status in HELD if end == "confirmed" else status is not Status.CAPTURED

    def agree(self) -> None:
        """Expect all services and the bank to tell the same story of every order's end."""
        self.check()
        for order_id, end in self.ends().items():
            assert end in {"confirmed", "cancelled"}
            confirmed = end == "confirmed"
            stands = {kind: self.worlds[app].states(kind)[order_id].status for app, kind in BOOKS}
            assert stands["reservation"] in ({"committed"} if confirmed else {"released", "rejected"})
            assert stands["payment"] in ({"captured"} if confirmed else {"voided", "declined", "barred"})
            assert tuple(self.bank.movements(order_id)) in ({PAID} if confirmed else {UNTOUCHED, GIVEN_BACK})
        self._sold()
        self._told()

    def _sold(self) -> None:
        sold = dict.fromkeys(STOCK, 0)
        for order_id, state in self.worlds["orders"].states("order").items():
            for line in state.items if self.ends()[order_id] == "confirmed" else ():
                sold[line.sku] += line.quantity
            paid = self.bank.payment(order_id)
            assert paid.amount in {None, state.total.minor}
        stocks = self.worlds["inventory"].states("stock")
        assert {sku: (p.committed, p.reserved) for sku, p in stocks.items()} == {sku: (n, 0) for sku, n in sold.items()}

    def _told(self) -> None:
        """One mail an order and kind, however often it was written, to whoever ordered."""
        wanted = {f"{kind}-{o}.eml" for o, end in self.ends().items() for kind in ("created", end)}
        assert self.mails.keys() == wanted
        for name, texts in self.mails.items():
            (text,) = texts
            mail = read(text.encode())
            user = self.worlds["orders"].states("order")[name.partition("-")[2].removesuffix(".eml")].user_id
            assert [to.addr_spec for to in mail["To"].addresses] == [f"{user}@example.org"]


BOOKS = (("inventory", "reservation"), ("payments", "payment"))


def likely(shop: Shop) -> dict[str, int]:
    """Say what may happen next, and how often it does beside the others."""
    ready = [each for each in shop.reactions if not each.deadline]
    found = {"deliver": shop.flying, "react": ready, "land": shop.late, "deadline": len(ready) < len(shop.reactions)}
    often = {"deliver": 20, "react": 20, "land": 5, "deadline": 1}
    return {step: often[step] for step, there in found.items() if there} | {"change mind": 1}


def take(shop: Shop, chance: Random) -> None:
    """Let something happen."""
    step = _one_of(chance, likely(shop))
    if step == "deliver":
        shop.deliver(chance.randrange(len(shop.flying)), again=chance.random() < 1 / 8)
    elif step == "land":
        shop.land(chance.randrange(len(shop.late)))
    elif step == "change mind":
        shop.change_mind(chance.choice(sorted(shop.ends())))
    else:
        ready = [n for n, each in enumerate(shop.reactions) if each.deadline is (step == "deadline")]
        trouble = _one_of(chance, {Trouble.NONE: 6, Trouble.LOST: 1, Trouble.UNHEARD: 1, Trouble.LATE: 2})
        shop.react(chance.choice(ready), trouble, again=chance.random() < 1 / 8)


def _one_of(chance: Random, likely: Mapping[T, int]) -> T:
    (one,) = chance.choices(list(likely), list(likely.values()))
    return one


@settings(max_examples=EXAMPLES)
@for_all(chance=st.randoms(use_true_random=True))
def test_every_order_ends_and_the_books_balance(chance: Random) -> None:
    """True chance, not Hypothesis's: what it looks for is deep, and what it finds need not be small."""
    with closing(Shop()) as shop:
        for number in range(chance.randint(1, 3)):
            shop.place(number, chance.sample(sorted(STOCK), chance.choice([1, 1, 2])), chance.choice(USERS))
        shop.broke = {order_id for order_id in shop.ends() if chance.random() < 1 / 8}
        for _ in range(chance.randrange(120)):
            take(shop, chance)
            shop.check()
        shop.settle()
        shop.agree()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with closing(Shop()) as opened:
        yield opened


@pytest.mark.parametrize("trouble", Trouble)
def test_the_good_way(shop: Shop, trouble: Trouble) -> None:
    """Also where every call goes wrong at first."""
    shop.place(1, ["TEA", "CUP"])
    while shop.flying:
        shop.deliver(0)
        for index in range(len(shop.reactions)):
            shop.react(min(index, len(shop.reactions) - 1), trouble)
    shop.settle()
    shop.agree()


def test_what_the_bank_declines_is_cancelled(shop: Shop) -> None:
    shop.broke = {"o-1"}
    shop.place(1, ["TEA"])
    shop.settle()
    shop.agree()
    assert shop.ends() == {"o-1": "cancelled"}


def test_what_is_not_there_cannot_be_bought(shop: Shop) -> None:
    shop.place(1, ["TEA", "POT"])
    shop.settle()
    shop.agree()
    assert shop.ends() == {"o-1": "cancelled"}


def test_who_is_deactivated_orders_nothing_more(shop: Shop) -> None:
    shop.submit("users", DeactivateUser(user_id="u-1"))
    shop.settle()
    with pytest.raises(Conflict):
        shop.place(1, ["TEA"])


def test_an_order_that_nobody_owns_gives_everything_back(shop: Shop) -> None:
    """Events published by hand: orders does not know it, nor users its customer."""
    stranger = {
        "orderId": "x",
        "userId": "nobody",
        "items": [{"sku": "TEA", "quantity": 5, "unitPrice": 1}],
        "total": 5,
    }
    wish = PaymentRequested(order_id="x", user_id="nobody", amount=Money(500))
    shop.flying += [(app, Fact(OrderCreated.model_validate(stranger), 1)) for app in ("inventory", "notifications")]
    shop.flying.append(("payments", Fact(wish, 1)))
    shop.settle()
    shop.agree()
    assert shop.ends() == {}
    assert shop.worlds["inventory"].states("reservation")["x"].status == "released"
    assert tuple(shop.bank.movements("x")) == GIVEN_BACK
    assert shop.worlds["notifications"].states("mail")["created-x"].dropped.startswith("there is no user nobody")


def test_a_new_price_is_known_to_orders(shop: Shop) -> None:
    shop.submit("inventory", ChangePrice.model_validate({"sku": "TEA", "price": 2}))
    shop.settle()
    shop.place(1, ["TEA"])
    assert str(shop.worlds["orders"].states("order")["o-1"].total) == "4.00"
