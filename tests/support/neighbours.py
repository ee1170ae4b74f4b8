"""Stand-ins for services that a test of orders and inventory does not run: a user register and a bank that pays."""

from collections.abc import Mapping
from typing import Any

import orjson

from chassis.envelope import Envelope
from chassis.sidecar import Answer, Entry
from chassis_testing.memory import MemoryBroker
from contracts.orders import PaymentRequested
from contracts.payments import PaymentAuthorized
from support.events import envelope

STRANGER = "nobody"


async def users(
    method: str, body: bytes | None, _query: Mapping[str, str], _headers: Mapping[str, str], _verb: str
) -> Answer:
    """Everybody may order, except `STRANGER`."""
    assert method == "user-status"
    user = orjson.loads(body or b"{}")["userId"]
    status = "unknown" if user == STRANGER else "active"
    return Answer(200, orjson.dumps({"userId": user, "status": status}), {"content-type": "application/json"})


def payments(broker: MemoryBroker) -> None:
    """Whatever is asked for is authorized."""

    async def take(_topic: str, event: dict[str, Any]) -> bool:
        if event["eventType"] == PaymentRequested.event_type:
            asked = PaymentRequested.model_validate(Envelope.parse(event).payload)
            said = PaymentAuthorized(order_id=asked.order_id, amount=asked.amount)
            bare = envelope(said.event_type, said.model_dump(mode="json", by_alias=True))
            broker.take(said.topic, [Entry(bare["eventId"], bare)])
        return True

    broker.attach(PaymentRequested.topic, take, group="payments")
