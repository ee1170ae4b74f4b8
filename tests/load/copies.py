"""Lets orders know what products cost and who may order, as their owners would: by events through the broker."""

import asyncio
import time
from typing import Any

from chassis import keys
from chassis.daprd import Daprd
from chassis.envelope import Event
from chassis.sidecar import Entry
from contracts.inventory import ProductAdded
from contracts.users import UserRegistered
from inventory.catalogue import catalogue
from load.stage import Broken, Place
from users.people import people

KNOWN_WITHIN = 30.0


def facts() -> list[Event]:
    """Return what a new shop begins with."""
    products = [ProductAdded(sku=p.sku, name=p.name, price=p.price, stock=p.stock) for p in catalogue()]
    return [*products, *(UserRegistered(user_id=person.user_id) for person in people())]


def entries(topic: str) -> list[Entry]:
    """Return what is published to a topic."""
    return [
        Entry(f"bench-{fact.event_type}-{fact.aggregate_id}", _envelope(fact))
        for fact in facts()
        if fact.topic == topic
    ]


def _envelope(fact: Event) -> dict[str, Any]:
    """Write the least that anybody may publish."""
    return {
        "eventType": fact.event_type,
        "eventId": f"bench-{fact.event_type}-{fact.aggregate_id}",
        "timestamp": "2024-01-15T10:30:00Z",
        "version": fact.version,
        "payload": fact.model_dump(mode="json", by_alias=True),
        "revision": 1,
    }


async def tell(place: Place) -> None:
    """Publish all of it through a sidecar and wait until its app has it."""
    sidecar = Daprd(place.sidecar_url)
    for topic in (ProductAdded.topic, UserRegistered.topic):
        if await sidecar.publish(topic, entries(topic)):
            raise Broken(f"what orders must know of {topic} could not be published")
    await sidecar.close()
    await known(place)


async def known(place: Place) -> None:
    """Wait until orders has its copies."""
    sidecar = Daprd(place.sidecar_url)
    wanted = [keys.document("price", product.sku) for product in catalogue()]
    wanted += [keys.document("customer", person.user_id) for person in people()]
    deadline = time.monotonic() + KNOWN_WITHIN
    try:
        while len(await sidecar.read(wanted)) < len(wanted):
            if time.monotonic() > deadline:
                raise Broken("orders does not learn what things cost and who may order")
            await asyncio.sleep(0.1)
    finally:
        await sidecar.close()
