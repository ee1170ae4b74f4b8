"""What the services' `/metrics` say, added up."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable

import aiohttp

from outrigger.state import ServiceState

RETRIES, REPAIRED = "outrigger_publish_retries_total", "outrigger_repaired_events_total"
DELIVERIES, OPEN = "outrigger_deliveries_total", "outrigger_deliveries_open"
_LINE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? ([0-9.]+)$", re.MULTILINE)
_TOPIC = re.compile(r'topic="([^"]*)"')

Figures = Counter[tuple[str, str]]
"""By name and topic, where there is one."""


async def figures_of(http: aiohttp.ClientSession, service: ServiceState) -> Figures:
    """Ask one app; one that does not answer has none."""
    try:
        async with http.get(f"{service.app_url}/metrics") as answer:
            return read_figures(await answer.text())
    except (aiohttp.ClientError, TimeoutError):
        return Counter()


def read_figures(text: str) -> Figures:
    """Read what an app's `/metrics` say."""
    found: Figures = Counter()
    for name, labels, figure in _LINE.findall(text):
        topic = _TOPIC.search(labels)
        found[name, topic[1] if topic else ""] += int(float(figure))
    return found


async def figures(http: aiohttp.ClientSession, services: Iterable[ServiceState]) -> Figures:
    """Ask all, and add up."""
    total: Figures = Counter()
    for each in await asyncio.gather(*(figures_of(http, service) for service in services)):
        total.update(each)
    return total
