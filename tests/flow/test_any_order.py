"""Orders and inventory together, with a broker that repeats, delays and reorders at will.

Nothing runs but the pure code of both services; a bank with as little patience answers what payments would. Whatever is
drawn, customers who change their mind included, every order ends, both services agree on its end, and the books of
every product balance.
"""

from collections.abc import Iterable

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

import inventory.saga
import orders.saga
from chassis.envelope import Command, Event
from chassis.problems import Conflict
from contracts.inventory import AddProduct, ChangePrice, StockReserved
from contracts.orders import CancelRequest, OrderCreated, PaymentRequested, Wanted
from contracts.payments import PaymentAuthorized, PaymentDeclined
from contracts.users import UserRegistered
from inventory.reservations import ReservationOverdue
from orders.placing import PlaceOrder
from support.given import Fact, World

STOCK = {"TEA": 5, "CUP": 3, "POT": 0}
SERVICES = {"orders": orders.saga.rules, "inventory": inventory.saga.rules}


class System:
    """Two services, the messages between them, and the deadlines that are still to come."""

    def __init__(self) -> None:
        self.worlds = {name: World(rules) for name, rules in SERVICES.items()}
        self.flying: list[tuple[str, Fact]] = []
        self.broke: set[str] = set()  # whose payment the bank declines
        self.timers: list[tuple[str, Command]] = []
        for sku, stock in STOCK.items():
            self.submit("inventory", AddProduct.model_validate({"sku": sku, "name": sku, "price": 1, "stock": stock}))
        self.flying.append(("orders", Fact(UserRegistered(user_id="u-1"), 1)))
        self.deliver_all()

    def submit(self, service: str, command: Command) -> None:
        """Let a service decide about a command."""
        self._publish(self.worlds[service].handle(command))

    def place(self, number: int, skus: Iterable[str]) -> None:
        """Place an order of two pieces each."""
        items = tuple(Wanted(sku=sku, quantity=2) for sku in skus)
        self.submit("orders", PlaceOrder(order_id=f"o-{number}", user_id="u-1", items=items))

    def change_mind(self, order_id: str) -> None:
        """Let a customer cancel, who may be too late."""
        try:
            self.submit("orders", CancelRequest(order_id=order_id))
        except Conflict:
            assert self.ends()[order_id] == "confirmed"

    def deliver(self, index: int, *, again: bool = False) -> None:
        """Deliver one message; `again` leaves it with the broker, as if the receipt had been lost."""
        service, fact = self.flying[index] if again else self.flying.pop(index)
        self._publish(self.worlds[service].handle(fact.event, revision=fact.revision))

    def deliver_all(self) -> None:
        """Deliver the newest first, until nothing is left."""
        while self.flying:
            self.deliver(-1)

    def expire(self, index: int) -> None:
        """Let one deadline come."""
        self.submit(*self.timers.pop(index))

    def _publish(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            self._react(fact.event)
            if fact.event.published:
                self.flying += [(s, fact) for s, rules in SERVICES.items() if fact.event.event_type in rules.events]

    def _react(self, event: Event) -> None:
        match event:
            case OrderCreated(order_id=order_id):
                self.timers.append(("orders", orders.saga.ExpireOrder(order_id=order_id)))
            case PaymentRequested(order_id=order_id, amount=amount):
                declined = PaymentDeclined(order_id=order_id, reason="declined")
                said = declined if order_id in self.broke else PaymentAuthorized(order_id=order_id, amount=amount)
                self.flying.append(("orders", Fact(said, 1)))
            case StockReserved(order_id=order_id):
                self.timers.append(("inventory", inventory.saga.CheckReservation(order_id=order_id)))
            case ReservationOverdue(order_id=order_id, items=items):
                order = self.worlds["orders"].states("order").get(order_id)
                status = order.status if order else "unknown"
                answer = inventory.saga.SettleReservation(order_id=order_id, items=items, order_status=status)
                self.timers.append(("inventory", answer))

    def check(self) -> None:
        """Hold the books against the reservations."""
        for stock in self.worlds["inventory"].states("stock").values():
            assert min(stock.available, stock.reserved, stock.committed) >= 0
            assert stock.initial == stock.available + stock.reserved + stock.committed

    def settle(self) -> None:
        """Let everything happen that is still to come."""
        while self.flying or self.timers:
            self.deliver_all()
            if self.timers:
                self.expire(0)

    def ends(self) -> dict[str, str]:
        """Say how each order ended."""
        return {name: state.status for name, state in self.worlds["orders"].states("order").items()}


@settings(max_examples=150, deadline=None)
@for_all(st.data())
def test_every_order_ends_and_the_books_balance(data: st.DataObject) -> None:
    system = System()
    for number in range(data.draw(st.integers(1, 5), label="orders")):
        system.place(number, data.draw(st.sets(st.sampled_from(sorted(STOCK)), min_size=1), label="skus"))
    system.broke = data.draw(st.sets(st.sampled_from(sorted(system.ends()))), label="broke")
    for _ in range(data.draw(st.integers(0, 20), label="steps")):
        if system.timers and data.draw(st.integers(0, 4), label="a deadline?") == 0:
            system.expire(data.draw(st.integers(0, len(system.timers) - 1), label="deadline"))
        elif system.flying:
            index = data.draw(st.integers(0, len(system.flying) - 1), label="message")
            system.deliver(index, again=data.draw(st.booleans(), label="again"))
        if data.draw(st.integers(0, 6), label="a change of mind?") == 0:
            system.change_mind(data.draw(st.sampled_from(sorted(system.ends())), label="order"))
        system.check()
    system.settle()
    system.check()
    agree(system)


def agree(system: System) -> None:
    """Expect both services to tell the same story."""
    ends = system.ends()
    assert set(ends.values()) <= {"confirmed", "cancelled"}
    reservations = system.worlds["inventory"].states("reservation")
    for order_id, end in ends.items():
        expected = {"committed"} if end == "confirmed" else {"released", "rejected"}
        assert reservations[order_id].status in expected
    sold = dict.fromkeys(STOCK, 0)
    for order_id, state in system.worlds["orders"].states("order").items():
        for line in state.items if ends[order_id] == "confirmed" else ():
            sold[line.sku] += line.quantity
    stocks = system.worlds["inventory"].states("stock")
    assert {sku: (p.committed, p.reserved) for sku, p in stocks.items()} == {sku: (n, 0) for sku, n in sold.items()}


def test_the_good_way() -> None:
    system = System()
    system.place(1, ["TEA", "CUP"])
    system.settle()
    assert system.ends() == {"o-1": "confirmed"}


def test_what_the_bank_declines_is_cancelled() -> None:
    system = System()
    system.broke = {"o-1"}
    system.place(1, ["TEA"])
    system.settle()
    assert system.ends() == {"o-1": "cancelled"}
    agree(system)


def test_what_is_not_there_cannot_be_bought() -> None:
    system = System()
    system.place(1, ["TEA", "POT"])
    system.settle()
    assert system.ends() == {"o-1": "cancelled"}
    agree(system)


def test_an_order_that_nobody_owns_gives_its_goods_back() -> None:
    """An OrderCreated published by hand: orders does not know it."""
    system = System()
    stranger = {"orderId": "x", "userId": "u-1", "items": [{"sku": "TEA", "quantity": 5, "unitPrice": 1}], "total": 5}
    system.flying.append(("inventory", Fact(OrderCreated.model_validate(stranger), 1)))
    system.settle()
    assert system.ends() == {}
    assert system.worlds["inventory"].states("reservation")["x"].status == "released"
    agree(system)


def test_a_new_price_is_known_to_orders() -> None:
    system = System()
    system.submit("inventory", ChangePrice.model_validate({"sku": "TEA", "price": 2}))
    system.deliver_all()
    system.place(1, ["TEA"])
    assert str(system.worlds["orders"].states("order")["o-1"].total) == "4.00"
