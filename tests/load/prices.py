"""Lets orders know what products cost, as inventory would: by events through the broker."""

import asyncio
import time

from chassis import keys
from chassis.daprd import Daprd
from chassis.sidecar import Entry
from contracts.inventory import ProductAdded
from inventory.catalogue import catalogue
from load.stage import Broken, Place

KNOWN_WITHIN = 30.0


def envelopes() -> list[dict[str, object]]:
    """Return the catalogue as bare envelopes, the least that anybody may publish."""
    products = catalogue()
    facts = [ProductAdded(sku=p.sku, name=p.name, price=p.price, stock=p.stock) for p in products]
    return [_envelope(fact, number) for number, fact in enumerate(facts)]


def _envelope(fact: ProductAdded, number: int) -> dict[str, object]:
    return {
        "eventType": fact.event_type, "eventId": f"bench-product-{number}", "timestamp": "2024-01-15T10:30:00Z",
        "version": fact.version, "payload": fact.model_dump(mode="json", by_alias=True), "revision": 1,
    }  # fmt: skip


async def tell(place: Place) -> None:
    """Publish the catalogue through a sidecar and wait until its app has it."""
    sidecar = Daprd(place.sidecar_url)
    failed = await sidecar.publish("inventory", [Entry(str(event["eventId"]), event) for event in envelopes()])
    await sidecar.close()
    if failed:
        raise Broken("the catalogue could not be published")
    await known(place)


async def known(place: Place) -> None:
    """Wait until a service has its copies of all prices."""
    sidecar, wanted = Daprd(place.sidecar_url), [keys.document("price", product.sku) for product in catalogue()]
    deadline = time.monotonic() + KNOWN_WITHIN
    try:
        while len(await sidecar.read(wanted)) < len(wanted):
            if time.monotonic() > deadline:
                raise Broken("orders does not learn the prices")
            await asyncio.sleep(0.1)
    finally:
        await sidecar.close()
