"""The queues that must be in a new RabbitMQ before anything is published: those of every service's subscriptions.

Whoever subscribes to another topic writes it down: this prints what `definitions.json` must hold.
"""

import json
from pathlib import Path
from typing import Any

from support.system import System

DEFINITIONS = Path(__file__).resolve().parents[2] / "components/broker/rabbitmq/definitions.json"


def wanted() -> dict[str, list[dict[str, Any]]]:
    """Tell what daprd declares, to the letter: a declaration that differs from what is there is refused."""
    pairs = sorted(
        (name, subscription["topic"])
        for name, service in System({}).services.items()
        for subscription in service.subscriptions()
    )
    lasting = {"vhost": "/", "durable": True, "auto_delete": False}
    return {
        "exchanges": [
            {"name": topic, "type": "fanout", **lasting, "internal": False, "arguments": {}}
            for topic in sorted({topic for _, topic in pairs})
        ],
        "queues": [
            {"name": f"{name}-{topic}", **lasting, "arguments": {"x-queue-type": "classic"}} for name, topic in pairs
        ],
        "bindings": [
            {
                "source": topic, "destination": f"{name}-{topic}", "vhost": "/", "destination_type": "queue",
                "routing_key": "", "arguments": {},
            }
            for name, topic in pairs
        ],
    }  # fmt: skip


def test_every_subscription_has_its_queue_before_the_first_event() -> None:
    assert json.loads(DEFINITIONS.read_text()) == wanted(), f"{DEFINITIONS} must hold\n{json.dumps(wanted())}"
