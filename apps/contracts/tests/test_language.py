"""The language as others see it: what they may send, and what they receive."""

from typing import Any

import pytest
from pydantic import ValidationError

from chassis.envelope import Catalogue, Envelope
from contracts.inventory import ProductAdded
from contracts.money import Money
from contracts.orders import OrderCreated, OrderRequest


def request(**changes: Any) -> dict[str, Any]:
    return {"userId": "user-789", "items": [{"sku": "TEA", "quantity": 2}]} | changes


def test_a_bare_envelope_published_by_hand_is_an_order() -> None:
    envelope = Envelope.parse(
        {
            "eventType": "OrderCreated", "eventId": "e-1", "timestamp": "2024-01-15T10:30:00Z", "version": "1.0",
            "payload": {"orderId": "12345", "userId": "user-789", "items": [], "total": 99.99},
        }
    )  # fmt: skip
    catalogue = Catalogue()
    catalogue.add(OrderCreated)
    event = catalogue.read(envelope)
    assert event == OrderCreated(order_id="12345", user_id="user-789", items=(), total=Money(9999))


def test_an_event_is_camel_case_on_the_wire() -> None:
    added = ProductAdded(sku="TEA", name="Tea", price=Money(450), stock=3)
    assert added.model_dump(mode="json", by_alias=True) == {
        "sku": "TEA", "at": None, "name": "Tea", "price": 4.5, "stock": 3,
    }  # fmt: skip


def test_a_request_is_read() -> None:
    assert OrderRequest.model_validate(request()).items[0].quantity == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"userId": ""}, "userId"),
        ({"userId": "x" * 101}, "userId"),
        ({"userId": "nul\x00"}, "userId"),
        ({"items": []}, "items"),
        ({"items": [{"sku": f"S{i}", "quantity": 1} for i in range(51)]}, "items"),
        ({"items": [{"sku": "TEA", "quantity": 0}]}, "items.0.quantity"),
        ({"items": [{"sku": "TEA", "quantity": 101}]}, "items.0.quantity"),
        ({"items": [{"sku": "TEA", "quantity": "2"}]}, "items.0.quantity"),
        ({"items": [{"sku": "TEA", "quantity": True}]}, "items.0.quantity"),
        ({"items": [{"sku": "a||b", "quantity": 1}]}, "items.0.sku"),
        ({"items": [{"sku": "TEA", "quantity": 1}, {"sku": "TEA", "quantity": 2}]}, "items"),
        ({"coupon": "FREE"}, "coupon"),
    ],
)
def test_a_wrong_request_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        OrderRequest.model_validate(request(**changes))
    assert field in {".".join(map(str, error["loc"])) for error in caught.value.errors()}
