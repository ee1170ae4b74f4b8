"""Products: prices and the books of their pieces."""

import pytest
from pydantic import ValidationError

from chassis.problems import Conflict, NotFound
from contracts.inventory import MAX_STOCK, AddProduct, ChangePrice, PriceChanged, ProductAdded, Restock
from contracts.money import Money
from inventory.domain import Restocked, StockOpened, StockSold, product, rules, stock
from inventory.views import ProductRow, product_list
from support.given import given

ADDED = ProductAdded(sku="TEA", name="Tea", price=Money(450), stock=10)
OPENED = StockOpened(sku="TEA", quantity=10)
ADD = AddProduct(sku="TEA", name="Tea", price=Money(450), stock=10)
DEARER = PriceChanged(sku="TEA", name="Tea", price=Money(500))


def test_a_new_product_comes_with_its_stock() -> None:
    outcome = given(rules).when(ADD).then(ADDED, OPENED)
    outcome.and_state(stock("TEA"), initial=10, restocked=0, available=10, reserved=0, committed=0)


def test_a_product_is_added_only_once() -> None:
    given(rules, ADDED, OPENED).when(ADD).then_nothing()


@pytest.mark.parametrize("other", [{"name": "Green tea"}, {"price": Money(451)}, {"stock": 11}])
def test_another_product_of_the_same_sku_is_refused(other: dict[str, object]) -> None:
    given(rules, ADDED, OPENED).when(ADD.model_copy(update=other)).then_refused(Conflict, field="sku")


def test_a_product_that_became_dearer_is_another_one() -> None:
    given(rules, ADDED, OPENED, DEARER).when(ADD).then_refused(Conflict, field="sku")


def test_pieces_that_came_in_later_do_not_make_it_another_one() -> None:
    given(rules, ADDED, OPENED, Restocked(sku="TEA", quantity=5)).when(ADD).then_nothing()


def test_a_price_changes() -> None:
    given(rules, ADDED).when(ChangePrice(sku="TEA", price=Money(500))).then(DEARER).and_state(
        product("TEA"), price=Money(500)
    )


def test_the_same_price_is_no_news() -> None:
    given(rules, ADDED).when(ChangePrice(sku="TEA", price=Money(450))).then_nothing()


def test_pieces_come_in() -> None:
    outcome = given(rules, ADDED, OPENED).when(Restock(sku="TEA", quantity=5)).then(Restocked(sku="TEA", quantity=5))
    outcome.and_state(stock("TEA"), initial=10, restocked=5, available=15)


def test_the_books_have_an_end() -> None:
    given(rules, ADDED, OPENED).when(Restock(sku="TEA", quantity=MAX_STOCK)).then_refused(Conflict, field="quantity")


@pytest.mark.parametrize("command", [ChangePrice(sku="TEA", price=Money(1)), Restock(sku="TEA", quantity=1)])
def test_only_what_is_on_offer_can_change(command: ChangePrice | Restock) -> None:
    given(rules).when(command).then_refused(NotFound, field="sku")


def test_no_fact_makes_a_term_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        given(rules, ADDED, OPENED, StockSold(sku="TEA", quantity=1, order_id="o-1"))


def test_stock_comes_in_whole_pieces() -> None:
    with pytest.raises(ValidationError):
        Restock.model_validate({"sku": "TEA", "quantity": 1.5})


def test_the_list_shows_the_newest_price() -> None:
    row = product_list.fold(product_list.fold(None, ADDED), DEARER)
    assert row == ProductRow(sku="TEA", name="Tea", price=Money(500))
