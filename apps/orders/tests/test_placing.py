"""How an order is placed: by whom, and at which prices."""

import pytest

from chassis.problems import Conflict, Invalid
from contracts.inventory import Price, PriceChanged, ProductAdded
from contracts.money import Money
from contracts.orders import OrderCreated, OrderLine, Wanted
from contracts.users import UserDeactivated, UserRegistered
from orders.domain import Status, order
from orders.placing import PlaceOrder, customer, price, rules
from support.given import given

ANNA = UserRegistered(user_id="u-1")
GONE = UserDeactivated(user_id="u-1")
TEA = ProductAdded(sku="TEA", name="Tea", price=Money(450), stock=10)
CUP = ProductAdded(sku="CUP", name="Cup", price=Money(1299), stock=10)
PLACE = PlaceOrder(order_id="o-1", user_id="u-1", items=(Wanted(sku="TEA", quantity=2), Wanted(sku="CUP", quantity=1)))
CREATED = OrderCreated(
    order_id="o-1",
    user_id="u-1",
    items=(
        OrderLine(sku="TEA", quantity=2, unit_price=Money(450)),
        OrderLine(sku="CUP", quantity=1, unit_price=Money(1299)),
    ),
    total=Money(2199),
)


def test_an_order_takes_the_prices_of_the_local_copy() -> None:
    outcome = given(rules, ANNA, TEA, CUP).when(PLACE)
    outcome.then(CREATED).and_state(order("o-1"), status=Status.PENDING, total=Money(2199), reason=None)


def test_an_unknown_product_is_refused_by_field() -> None:
    outcome = given(rules, ANNA, TEA).when(PLACE).then_refused(Invalid, field="items.1.sku")
    assert outcome.refusal
    assert outcome.refusal.extra["unknown"] == ["CUP"]


def test_a_price_just_asked_for_stands_in_for_a_missing_copy() -> None:
    asked = PLACE.model_copy(update={"quotes": (Price(sku="CUP", price=Money(1299)),)})
    given(rules, ANNA, TEA).when(asked).then(CREATED)


def test_the_copy_wins_over_a_price_that_was_asked_for() -> None:
    asked = PLACE.model_copy(update={"quotes": (Price(sku="CUP", price=Money(1)),)})
    given(rules, ANNA, TEA, CUP).when(asked).then(CREATED)


def test_an_order_id_is_used_once() -> None:
    given(rules, ANNA, TEA, CUP, CREATED).when(PLACE).then_refused(Conflict)


def test_a_total_beyond_all_measure_is_refused() -> None:
    dear = PlaceOrder(
        order_id="o-1",
        user_id="u-1",
        items=(Wanted(sku="YACHT", quantity=100),),
        quotes=(Price(sku="YACHT", price=Money(10**13)),),
    )
    given(rules, ANNA).when(dear).then_refused(Invalid, field="items")


def test_the_newest_price_stays_whatever_the_order_of_arrival() -> None:
    new = PriceChanged(sku="TEA", name="Tea", price=Money(500))
    old = PriceChanged(sku="TEA", name="Tea", price=Money(480))
    service = given(rules)
    service.when(new, revision=7)
    service.when(old, revision=5)
    service.when(TEA, revision=1).and_state(price("TEA"), price=Money(500))


def test_an_unknown_user_is_refused_by_field() -> None:
    outcome = given(rules, TEA, CUP).when(PLACE).then_refused(Invalid, field="userId")
    assert outcome.refusal
    assert outcome.refusal.extra["unknownUser"] == "u-1"


def test_all_that_is_unknown_is_told_at_once() -> None:
    outcome = given(rules, CUP).when(PLACE).then_refused(Invalid, field="userId")
    assert outcome.refusal
    assert outcome.refusal.extra["unknown"] == ["TEA"]


def test_the_word_of_users_stands_in_for_a_missing_copy() -> None:
    given(rules, TEA, CUP).when(PLACE.model_copy(update={"active": True})).then(CREATED)
    given(rules, TEA, CUP).when(PLACE.model_copy(update={"active": False})).then_refused(Conflict, field="userId")


@pytest.mark.parametrize("said", [None, True])
def test_a_deactivated_user_orders_nothing_more(said: bool | None) -> None:
    given(rules, ANNA, GONE, TEA, CUP).when(PLACE.model_copy(update={"active": said})).then_refused(
        Conflict, field="userId"
    )


def test_the_newest_word_about_a_user_stays() -> None:
    service = given(rules)
    service.when(GONE, revision=2)
    service.when(ANNA, revision=1).and_state(customer("u-1"), active=False)
