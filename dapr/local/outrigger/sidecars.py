"""Asking sidecars what they run on, and whether what is published reaches their apps."""

from collections import Counter
from typing import Any

import aiohttp

from outrigger.figures import DELIVERIES, figures_of
from outrigger.state import ServiceState

NOBODY_S = "BrokerProbe"  # a type of event that no service handles: it is delivered, and dropped


async def runs_on(http: aiohttp.ClientSession, service: ServiceState, kind: str) -> bool:
    """Tell whether a sidecar has a component of this kind, open and subscribed to."""
    return any(component["type"] == kind for component in (await _metadata(http, service)).get("components", ()))


async def topics_of(http: aiohttp.ClientSession, service: ServiceState) -> set[str]:
    """Name what a sidecar is subscribed to."""
    return {each["topic"] for each in (await _metadata(http, service)).get("subscriptions") or ()}


async def publish_probe(http: aiohttp.ClientSession, service: ServiceState, topic: str) -> bool:
    """Publish an event that changes nothing; tells whether that worked."""
    url = f"{service.sidecar_url}/v1.0/publish/pubsub/{topic}"
    try:
        async with http.post(url, json={"eventType": NOBODY_S}) as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


async def deliveries(http: aiohttp.ClientSession, service: ServiceState) -> Counter[str]:
    """Count what the broker has brought to an app, by topic."""
    found = await figures_of(http, service)
    return Counter({topic: int(count) for (name, topic), count in found.items() if name == DELIVERIES})


async def _metadata(http: aiohttp.ClientSession, service: ServiceState) -> dict[str, Any]:
    """Ask; a sidecar that does not answer tells nothing."""
    try:
        async with http.get(f"{service.sidecar_url}/v1.0/metadata") as answer:
            return await answer.json(content_type=None) if answer.ok else {}
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {}
