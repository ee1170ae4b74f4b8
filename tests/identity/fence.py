"""Knowing that what was published has arrived: something harmless is published behind it, and waited for."""

from identity.secured import TOKEN, Secured
from support.polling import eventually

NOBODY_S = {"eventType": "BrokerProbe"}  # an event that no service handles


def _brought(system: Secured, app: str, topic: str) -> float:
    text = system.direct(app, "GET", "/metrics", **{TOKEN: system.tokens[app].app}).content.decode()
    found = [line.split()[-1] for line in text.splitlines() if f'outrigger_deliveries_total{{topic="{topic}"}}' in line]
    return float(found[0]) if found else 0.0


def fence(system: Secured) -> None:
    """Publish something harmless to every topic and wait until it is delivered, and so what came before it."""
    pairs = [(app, name) for name, topic in system.table.topics.items() for app in topic.subscribe]
    before = {pair: _brought(system, *pair) for pair in pairs}
    for name, topic in system.table.topics.items():
        assert system.by(topic.publish[0], "POST", f"/v1.0/publish/pubsub/{name}", NOBODY_S).status == 204, name
    for pair in pairs:
        eventually(lambda pair=pair: _brought(system, *pair) > before[pair], within=30, what=f"{pair} hears")
