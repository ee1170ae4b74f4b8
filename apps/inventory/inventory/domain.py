"""Products and what is set aside of them: the facts, and which wishes are granted.

For each product `initial + restocked == available + reserved + committed`, and no term is ever negative: every fact
moves a quantity from one term to another, and no fact is decided that would take more than is there.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from chassis.envelope import Command, Event
from chassis.problems import Conflict, NotFound
from chassis.rules import Context, Documents, Ref, Rules
from contracts.inventory import MAX_STOCK, PriceChanged, ProductAdded, ProductEvent, Stock
from contracts.money import Money
from contracts.values import Line, Name, OrderId, Sku

rules = Rules()


class AddProduct(Command):
    """Put a product on offer. One that is on offer already stays as it is, so this may be repeated."""

    sku: Sku
    name: Name
    price: Money
    stock: Stock


class ChangePrice(Command):
    """Ask another price from now on; accepted orders keep theirs."""

    sku: Sku
    price: Money


class Restock(Command):
    """Add pieces to the stock."""

    sku: Sku
    quantity: int = Field(strict=True, ge=1, le=MAX_STOCK)


class StockEvent(ProductEvent):
    """A movement of one product's stock; it stays in inventory's own journal."""

    published: ClassVar[bool] = False

    quantity: int


class Restocked(StockEvent):
    """Came in: available grows."""


class OrderStockEvent(StockEvent):
    """A movement for the sake of one order."""

    order_id: OrderId


class StockHeld(OrderStockEvent):
    """Available became reserved."""


class StockFreed(OrderStockEvent):
    """Reserved became available again."""


class StockSold(OrderStockEvent):
    """Reserved became committed."""


class ProductState(BaseModel):
    """One product, its price and where its pieces are."""

    model_config = ConfigDict(frozen=True)

    sku: str
    name: str
    price: Money
    initial: int = Field(ge=0)
    restocked: int = Field(default=0, ge=0)
    available: int = Field(ge=0)
    reserved: int = Field(default=0, ge=0)
    committed: int = Field(default=0, ge=0)

    def moved(self, **by: int) -> "ProductState":
        """Return this product with terms changed by so many pieces; raises if one would become negative."""
        changed = {term: getattr(self, term) + pieces for term, pieces in by.items()}
        if min(changed.values()) < 0:
            raise ValueError(f"the stock of {self.sku} would become negative: {changed}")
        return self.model_copy(update=changed)


product = rules.document("product", ProductState)


@product.evolve
def evolve(state: ProductState | None, event: Event) -> ProductState:
    """Fold one fact into a product."""
    if isinstance(event, ProductAdded):
        return ProductState(
            sku=event.sku, name=event.product_name, price=event.price, initial=event.stock, available=event.stock
        )
    if state is None:
        raise ValueError(f"{event.subject} has no stock yet: {event.name}")
    match event:
        case PriceChanged():
            return state.model_copy(update={"price": event.price})
        case Restocked(quantity=n):
            return state.moved(restocked=n, available=n)
        case StockHeld(quantity=n):
            return state.moved(available=-n, reserved=n)
        case StockFreed(quantity=n):
            return state.moved(reserved=-n, available=n)
        case StockSold(quantity=n):
            return state.moved(reserved=-n, committed=n)
        case _:
            raise TypeError(f"a product has no fact {event.name}")


def offered(docs: Documents, sku: str) -> ProductState:
    """Return the product, or refuse because it is not on offer."""
    state = docs[product(sku)]
    if state is None:
        raise NotFound(f"no product {sku}; GET products lists what there is", field="sku")
    return state


@rules.command(AddProduct, loads=lambda c: (product(c.sku),))
def add_product(docs: Documents, command: AddProduct, context: Context) -> Sequence[Event]:
    """Put a product on offer once."""
    if docs[product(command.sku)] is not None:
        return ()
    added = ProductAdded(
        sku=command.sku, product_name=command.name, price=command.price, stock=command.stock, at=context.moment
    )
    return (added,)


@rules.command(ChangePrice, loads=lambda c: (product(c.sku),))
def change_price(docs: Documents, command: ChangePrice, context: Context) -> Sequence[Event]:
    """Announce a price that is not the present one."""
    state = offered(docs, command.sku)
    if state.price == command.price:
        return ()
    return (PriceChanged(sku=state.sku, product_name=state.name, price=command.price, at=context.moment),)


@rules.command(Restock, loads=lambda c: (product(c.sku),))
def restock(docs: Documents, command: Restock, context: Context) -> Sequence[Event]:
    """Take pieces in."""
    state = offered(docs, command.sku)
    if state.initial + state.restocked + command.quantity > MAX_STOCK:
        raise Conflict(f"the books of {state.sku} hold {MAX_STOCK} pieces at most", field="quantity")
    return (Restocked(sku=command.sku, quantity=command.quantity, at=context.moment),)


def products(lines: Iterable[Line]) -> tuple[Ref[ProductState], ...]:
    """Name the products of some lines, each once."""
    return tuple(product(sku) for sku in demand(lines))


def demand(lines: Iterable[Line]) -> dict[str, int]:
    """Add up what is wanted of each product."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    return wanted


def shortfall(docs: Documents, wanted: dict[str, int]) -> str | None:
    """Say why the whole demand cannot be met, or None if it can."""
    for sku, quantity in wanted.items():
        state = docs[product(sku)]
        if state is None:
            return f"there is no product {sku}"
        if state.available < quantity:
            return f"not enough stock of {sku}"
    return None
