"""What inventory does for an order, in whatever order the news arrives."""

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from chassis.envelope import Event
from contracts.inventory import StockCommitted, StockRejected, StockReleased, StockReserved
from contracts.money import Money
from contracts.orders import Cause, OrderCancelled, OrderConfirmed, OrderCreated, OrderLine
from contracts.values import Line
from inventory.domain import StockFreed, StockHeld, StockOpened, StockSold, stock
from inventory.reservations import ReservationOverdue, Status, reservation
from inventory.saga import CheckReservation, SettleReservation, ask_orders, due, rules
from support.given import World, given
from support.outside import Elsewhere

TEA = StockOpened(sku="TEA", quantity=5)
CUP = StockOpened(sku="CUP", quantity=1)
ITEMS = (Line(sku="TEA", quantity=3), Line(sku="CUP", quantity=1))


def created(*lines: tuple[str, int], order_id: str = "o-1") -> OrderCreated:
    items = tuple(OrderLine(sku=sku, quantity=quantity, unit_price=Money(1)) for sku, quantity in lines)
    return OrderCreated(order_id=order_id, user_id="u-1", items=items, total=Money(1))


CREATED = created(("TEA", 3), ("CUP", 1))
CONFIRMED = OrderConfirmed(order_id="o-1", user_id="u-1", items=ITEMS, total=Money(1))
CANCELLED = OrderCancelled(order_id="o-1", user_id="u-1", items=ITEMS, cause=Cause.CUSTOMER, reason="changed my mind")

RESERVED = StockReserved(order_id="o-1", items=ITEMS)
HELD = (StockHeld(sku="TEA", quantity=3, order_id="o-1"), StockHeld(sku="CUP", quantity=1, order_id="o-1"))
RELEASED = StockReleased(order_id="o-1", items=ITEMS)
FREED = (StockFreed(sku="TEA", quantity=3, order_id="o-1"), StockFreed(sku="CUP", quantity=1, order_id="o-1"))
COMMITTED = StockCommitted(order_id="o-1", items=ITEMS)
SOLD = (StockSold(sku="TEA", quantity=3, order_id="o-1"), StockSold(sku="CUP", quantity=1, order_id="o-1"))
OVERDUE = ReservationOverdue(order_id="o-1", items=ITEMS)


def test_an_order_is_set_aside() -> None:
    outcome = given(rules, TEA, CUP).when(CREATED).then(RESERVED, *HELD)
    outcome.and_state(stock("TEA"), available=2, reserved=3).and_state(reservation("o-1"), status=Status.HELD)


def test_an_order_is_met_in_full_or_not_at_all() -> None:
    wants = created(("TEA", 3), ("CUP", 2))
    items = (Line(sku="TEA", quantity=3), Line(sku="CUP", quantity=2))
    outcome = given(rules, TEA, CUP).when(wants)
    outcome.then(StockRejected(order_id="o-1", items=items, reason="not enough stock of CUP"))
    outcome.and_state(stock("TEA"), available=5, reserved=0)


def test_an_unknown_product_rejects_the_order() -> None:
    items = (Line(sku="TEA", quantity=3), Line(sku="CUP", quantity=1))
    outcome = given(rules, TEA).when(CREATED)
    outcome.then(StockRejected(order_id="o-1", items=items, reason="there is no product CUP"))


def test_lines_of_one_product_count_together() -> None:
    """Orders never writes that, but an event published by hand may."""
    twice = created(("TEA", 3), ("TEA", 3))
    items = (Line(sku="TEA", quantity=6),)
    outcome = given(rules, TEA).when(twice)
    outcome.then(StockRejected(order_id="o-1", items=items, reason="not enough stock of TEA"))


def test_an_order_without_items_holds_nothing() -> None:
    given(rules).when(created()).then(StockReserved(order_id="o-1"))


def test_a_repeated_order_changes_nothing() -> None:
    given(rules, TEA, CUP, RESERVED, *HELD).when(CREATED).then_nothing()


def test_a_confirmed_order_leaves_the_stock() -> None:
    outcome = given(rules, TEA, CUP, RESERVED, *HELD).when(CONFIRMED).then(COMMITTED, *SOLD)
    outcome.and_state(stock("TEA"), available=2, reserved=0, committed=3)


def test_a_cancelled_order_is_put_back() -> None:
    outcome = given(rules, TEA, CUP, RESERVED, *HELD).when(CANCELLED).then(RELEASED, *FREED)
    outcome.and_state(stock("CUP"), available=1, reserved=0, committed=0)


def test_a_cancel_that_overtakes_its_order_bars_it() -> None:
    nothing = StockReleased(order_id="o-1")
    given(rules, TEA, CUP).when(CANCELLED).then(nothing)
    given(rules, TEA, CUP, nothing).when(CREATED).then_nothing()


@pytest.mark.parametrize("late", [CREATED, CONFIRMED, CANCELLED, CheckReservation(order_id="o-1")])
@pytest.mark.parametrize("end", [(RELEASED, *FREED), (COMMITTED, *SOLD)], ids=["released", "committed"])
def test_an_end_is_final(end: tuple[Event, ...], late: Event) -> None:
    given(rules, TEA, CUP, RESERVED, *HELD, *end).when(late).then_nothing()


def test_a_rejected_order_has_nothing_to_release() -> None:
    rejected = StockRejected(order_id="o-1", items=ITEMS, reason="not enough stock of CUP")
    given(rules, TEA, rejected).when(CANCELLED).then_nothing()


def test_a_reservation_that_waited_too_long_is_overdue() -> None:
    check = due(RESERVED, _outside=None)  # type: ignore[arg-type] - it needs nothing of the world
    given(rules, TEA, CUP, RESERVED, *HELD).when(check).then(OVERDUE)


@pytest.mark.parametrize(
    ("status", "facts"),
    [
        ("unknown", (RELEASED, *FREED)),
        ("cancelled", (RELEASED, *FREED)),
        ("confirmed", (COMMITTED, *SOLD)),
        ("pending", ()),
        ("reserved", ()),
    ],
)
async def test_orders_says_what_becomes_of_an_overdue_reservation(status: str, facts: tuple[Event, ...]) -> None:
    outside = Elsewhere({("orders", "order-status"): {"status": status}})
    settle = await ask_orders(OVERDUE, outside)
    assert outside.asked == [("orders", "order-status", {"orderId": "o-1"})]
    given(rules, TEA, CUP, RESERVED, *HELD, OVERDUE).when(settle).then(*facts)


def balanced(world: World) -> bool:
    """Check the books: every piece is somewhere, and no term is negative."""
    return all(
        min(p.available, p.reserved, p.committed) >= 0
        and p.initial + p.restocked == p.available + p.reserved + p.committed
        for p in world.states("stock").values()
    )


ORDERS = {f"o-{n}": created(("TEA", 1 + n % 3), ("CUP", 1), order_id=f"o-{n}") for n in range(4)}


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event], dict[str, str]]:
    """Draw the events of four orders, each created and then ended, some twice, in any order."""
    events: list[Event] = []
    ends = {order_id: draw(st.sampled_from(["confirmed", "cancelled"])) for order_id in ORDERS}
    for order_id, order in ORDERS.items():
        lines = tuple(Line(sku=line.sku, quantity=line.quantity) for line in order.items)
        common = {"order_id": order_id, "user_id": "u-1", "items": lines}
        confirmed = OrderConfirmed(**common, total=order.total)
        cancelled = OrderCancelled(**common, cause=Cause.OTHER, reason="any")
        events += [order, confirmed if ends[order_id] == "confirmed" else cancelled]
    repeats = draw(st.lists(st.sampled_from(events), max_size=6))
    return draw(st.permutations(events + repeats)), ends


@for_all(deliveries())
def test_any_order_of_delivery_converges(case: tuple[list[Event], dict[str, str]]) -> None:
    events, ends = case
    world = given(rules, TEA, CUP).world
    for event in events:
        world.handle(event)
        assert balanced(world)
    for order_id, state in world.states("reservation").items():  # the deadlines come
        world.handle(SettleReservation(order_id=order_id, items=state.items, order_status=ends[order_id]))
    assert balanced(world)
    assert {p.reserved for p in world.states("stock").values()} == {0}
    for order_id, state in world.states("reservation").items():
        expected = {"confirmed": {Status.COMMITTED, Status.REJECTED}, "cancelled": {Status.RELEASED, Status.REJECTED}}
        assert state.status in expected[ends[order_id]]
