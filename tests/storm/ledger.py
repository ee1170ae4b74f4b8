"""Which orders there are, and who has heard of them: what the ledgers say, whether any customer was told or not."""

from typing import Any

from outrigger.ledgers import Store, close, stores_of
from support.installation import Installation

KEEPER = "orders"


async def created(system: Installation, heard_by: str = "notifications") -> tuple[set[str], set[str]]:
    """Return all orders, and those whose event a service has handled."""
    stores = {store.service: store for store in stores_of(system.run)}
    try:
        events = await _created(stores[KEEPER])
        missing = await stores[heard_by].unhandled(events)
    finally:
        await close(stores.values())
    names = {event["payload"]["orderId"] for event in events}
    return names, names - {event["payload"]["orderId"] for event in missing}


async def _created(store: Store) -> list[dict[str, Any]]:
    ledger = await store.heads()
    assert ledger, f"{store.service} keeps no ledger"
    await store.records(ledger)
    return [event for event in ledger.events if event["eventType"] == "OrderCreated"]
