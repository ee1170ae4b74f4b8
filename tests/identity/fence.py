"""Knowing that what was published has arrived: something harmless is published behind it, and waited for."""

from identity.secured import TOKEN, Secured
from outrigger.figures import DELIVERIES, read_figures
from outrigger.sidecars import NOBODY_S
from support.polling import eventually

HARMLESS = {"eventType": NOBODY_S}


def _brought(system: Secured, app: str, topic: str) -> int:
    text = system.direct(app, "GET", "/metrics", **{TOKEN: system.tokens[app].app}).content.decode()
    return read_figures(text)[DELIVERIES, topic]


def fence(system: Secured) -> None:
    """Publish something harmless to every topic and wait until it is delivered, and so what came before it."""
    pairs = [(app, name) for name, topic in system.table.topics.items() for app in topic.subscribe]
    before = {pair: _brought(system, *pair) for pair in pairs}
    for name, topic in system.table.topics.items():
        assert system.by(topic.publish[0], "POST", f"/v1.0/publish/pubsub/{name}", HARMLESS).status == 204, name
    for pair in pairs:
        eventually(lambda pair=pair: _brought(system, *pair) > before[pair], within=30, what=f"{pair} hears")
