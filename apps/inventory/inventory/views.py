"""The list of products: what each is called and costs. Stock is not in it: it moves with every order."""

from pydantic import BaseModel, ConfigDict

from contracts.inventory import PriceChanged, ProductAdded
from contracts.money import Money
from inventory.domain import rules

ALL = "all"


class ProductRow(BaseModel):
    """One line of the list."""

    model_config = ConfigDict(frozen=True)

    sku: str
    name: str
    price: Money


product_list = rules.view("products", ProductRow, ProductAdded, PriceChanged, group=lambda _row: ALL)


@product_list.folds
def fold(_row: ProductRow | None, event: ProductAdded | PriceChanged) -> ProductRow:
    """Both facts carry the whole row; the newest wins."""
    return ProductRow(sku=event.sku, name=event.name, price=event.price)
