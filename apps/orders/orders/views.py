"""Which orders a user has placed. How each stands is not in the list: the order itself knows, and changes often."""

from pydantic import BaseModel, ConfigDict

from contracts.orders import OrderCreated
from orders.domain import rules


class OrderRow(BaseModel):
    """One line of the list."""

    model_config = ConfigDict(frozen=True)

    order_id: str
    user_id: str


# An order begins once: its later facts cost this view nothing.
orders_by_user = rules.view("orders-by-user", OrderRow, OrderCreated, group=lambda row: row.user_id, births=True)


@orders_by_user.folds
def fold(_row: OrderRow | None, event: OrderCreated) -> OrderRow:
    """List the order under its customer."""
    return OrderRow(order_id=event.order_id, user_id=event.user_id)
