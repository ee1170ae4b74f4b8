"""The language as a whole: every published event in all its versions, and the JSON Schemas that tell others of it.

What it is written to, and how a change of it is judged, is not decided here.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from chassis.envelope import Envelope, Event
from contracts import inventory, orders, payments, users

DIALECT = "https://json-schema.org/draft/2020-12/schema"
OWNERS = {module.TOPIC: module for module in (inventory, orders, payments, users)}
ENVELOPE = "envelope"


def events(topic: str) -> list[type[Event]]:
    """Return the newest classes of what the owner of a topic says, by name."""
    classes = _events(OWNERS[topic])
    bases = {base for each in classes for base in each.__mro__[1:]}
    former = {old for each in classes for old in each.older}
    newest = (each for each in classes if each not in bases | former and each.published)
    return sorted(newest, key=lambda each: each.event_type)


def versions(event: type[Event]) -> Sequence[type[Event]]:
    """Return every version that can be read, the newest last."""
    return sorted((event, *event.older), key=lambda each: tuple(map(int, each.version.split("."))))


def name(event: type[Event]) -> str:
    """Name one version: `OrderCancelled-2.0`."""
    return f"{event.event_type}-{event.version}"


def schemas() -> dict[str, dict[str, Any]]:
    """Describe the envelope and every payload, by names such as `orders/OrderCancelled-2.0`."""
    told = {ENVELOPE: {"$schema": DIALECT, **Envelope.model_json_schema()}}
    for topic in OWNERS:
        for event in events(topic):
            for each in versions(event):
                told[f"{topic}/{name(each)}"] = {"$schema": DIALECT, **each.model_json_schema(), "title": name(each)}
    return told


def _events(module: ModuleType) -> list[type[Event]]:
    classes = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    return [each for each in classes if issubclass(each, Event)]
