"""The words that all baselines share: what is stored and published of an accepted order, and its answer."""

import json
from uuid import uuid4

from contracts.orders import OrderAccepted, OrderRequest


def accept(wish: OrderRequest) -> tuple[OrderAccepted, str]:
    """Give the order an id; returns the answer and the order as JSON. No price is looked up, nothing is checked."""
    accepted = OrderAccepted(order_id=str(uuid4()), status="pending")
    order = {**wish.model_dump(by_alias=True), **accepted.model_dump(by_alias=True)}
    return accepted, json.dumps(order)
