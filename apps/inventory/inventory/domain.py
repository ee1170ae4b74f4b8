"""Products, their stock, and which wishes about them are granted.

A product (what it is called and costs) and its stock (where its pieces are) are two documents: every order moves the
stock, hardly anything moves the product.

For each stock `initial + restocked == available + reserved + committed`, and no term is ever negative: every fact
moves pieces from one term to another, and no fact is decided that would take more than is there.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from chassis.envelope import Event
from chassis.problems import Conflict, NotFound
from chassis.rules import Context, Documents, Rules
from contracts.inventory import MAX_STOCK, AddProduct, ChangePrice, PriceChanged, ProductAdded, Restock
from contracts.money import Money
from contracts.values import Line, OrderId, Sku

rules = Rules()


class StockEvent(Event):
    """A fact about the pieces of one product; it stays in inventory's own journal."""

    aggregate: ClassVar[str] = "stock"
    key: ClassVar[str] = "sku"
    published: ClassVar[bool] = False

    sku: Sku
    quantity: int
    at: datetime | None = None


class StockOpened(StockEvent):
    """The first pieces of a new product."""


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
    """One product as it is offered."""

    model_config = ConfigDict(frozen=True)

    sku: str
    name: str
    price: Money


class StockState(BaseModel):
    """Where the pieces of one product are."""

    model_config = ConfigDict(frozen=True)

    sku: str
    initial: int
    restocked: int = 0
    available: int
    reserved: int = 0
    committed: int = 0

    def moved(self, **by: int) -> "StockState":
        """Return this stock with terms changed by so many pieces; raises if one would become negative."""
        changed = {term: getattr(self, term) + pieces for term, pieces in by.items()}
        if min(changed.values()) < 0:
            raise ValueError(f"the stock of {self.sku} would become negative: {changed}")
        return self.model_copy(update=changed)


product = rules.document("product", ProductState)
stock = rules.document("stock", StockState)


@product.evolve
def evolve_product(_state: ProductState | None, event: ProductAdded | PriceChanged) -> ProductState:
    """Fold one fact into a product: both facts carry all of it."""
    return ProductState(sku=event.sku, name=event.name, price=event.price)


@stock.evolve
def evolve_stock(state: StockState | None, event: StockEvent) -> StockState:
    """Fold one fact into a stock."""
    if isinstance(event, StockOpened):
        return StockState(sku=event.sku, initial=event.quantity, available=event.quantity)
    if state is None:
        raise ValueError(f"{event.subject} was never opened: {event.event_type}")
    return state.moved(**{term: sign * event.quantity for term, sign in _MOVES[type(event)].items()})


_MOVES: dict[type[StockEvent], dict[str, int]] = {
    Restocked: {"restocked": +1, "available": +1},
    StockHeld: {"available": -1, "reserved": +1},
    StockFreed: {"reserved": -1, "available": +1},
    StockSold: {"reserved": -1, "committed": +1},
}


def not_offered(sku: str) -> NotFound:
    """Refuse what concerns no product of ours."""
    return NotFound(f"there is no product {sku}; the list of products says what there is", field="sku")


@rules.command(AddProduct, loads=lambda c: (product(c.sku), stock(c.sku)))
def add_product(docs: Documents, command: AddProduct, context: Context) -> Sequence[Event]:
    """Put a product on offer once; refuse one that is on offer as something else."""
    offered, books = docs[product(command.sku)], docs[stock(command.sku)]
    if offered and books:
        if (offered.name, offered.price, books.initial) != (command.name, command.price, command.stock):
            raise Conflict(f"there is a product {command.sku} already, and it is another one", field="sku")
        return ()
    added = ProductAdded(
        sku=command.sku, name=command.name, price=command.price, stock=command.stock, at=context.moment
    )
    return (added, StockOpened(sku=command.sku, quantity=command.stock, at=context.moment))


@rules.command(ChangePrice, loads=lambda c: (product(c.sku),))
def change_price(docs: Documents, command: ChangePrice, context: Context) -> Sequence[Event]:
    """Announce a price that is not the present one."""
    state = docs[product(command.sku)]
    if state is None:
        raise not_offered(command.sku)
    if state.price == command.price:
        return ()
    return (PriceChanged(sku=state.sku, name=state.name, price=command.price, at=context.moment),)


@rules.command(Restock, loads=lambda c: (stock(c.sku),))
def restock(docs: Documents, command: Restock, context: Context) -> Sequence[Event]:
    """Take pieces in."""
    state = docs[stock(command.sku)]
    if state is None:
        raise not_offered(command.sku)
    if state.initial + state.restocked + command.quantity > MAX_STOCK:
        raise Conflict(f"the books of {state.sku} hold {MAX_STOCK} pieces at most", field="quantity")
    return (Restocked(sku=command.sku, quantity=command.quantity, at=context.moment),)


def demand(lines: Iterable[Line]) -> dict[str, int]:
    """Add up what is wanted of each product."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    return wanted


def shortfall(docs: Documents, wanted: dict[str, int]) -> str | None:
    """Say why the whole demand cannot be met, or None if it can."""
    for sku, quantity in wanted.items():
        state = docs[stock(sku)]
        if state is None:
            return f"there is no product {sku}"
        if state.available < quantity:
            return f"not enough stock of {sku}"
    return None
