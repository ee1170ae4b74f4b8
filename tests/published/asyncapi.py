"""The AsyncAPI 3.0 document: a channel for each topic, a message for each version of an event, and who says and hears.

Made from the contracts and from what the services' rules handle, so that it cannot say more than is done.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from chassis.envelope import Envelope, Event
from chassis.rules import Rules
from contracts import language

REFERENCE = "#/components/schemas/{model}"
CLOUD_EVENT = {
    "type": "object",
    "description": "What Dapr's sidecar makes of what is published. Who publishes through a sidecar sends `data` only.",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "Dapr's own; a repeat is told by `data.eventId`"},
        "source": {"type": "string", "description": "the app id of the publisher"},
        "type": {"type": "string", "description": "Dapr's own; the kind of event is `data.eventType`"},
        "datacontenttype": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "topic": {"type": "string"},
        "pubsubname": {"type": "string"},
        "traceparent": {"type": "string"},
        "tracestate": {"type": "string"},
        "data": {"$ref": REFERENCE.format(model="Envelope")},
    },
}


def document(services: Mapping[str, Rules]) -> dict[str, Any]:
    """Describe what travels between `services`, by name."""
    spoken = [(topic, each) for topic in language.OWNERS for event in language.events(topic) for each in _all(event)]
    channels: dict[str, Any] = {topic: _channel(topic) for topic in language.OWNERS}
    for topic, event in spoken:
        channels[topic]["messages"][language.name(event)] = _ref("components", "messages", language.name(event))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Outrigger's events",
            "version": version("contracts"),
            "description": "Deliveries repeat and overtake each other: `eventId` tells repeats, `revision` the order.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": {
            **{f"{topic}-sends": _sends(topic) for topic in language.OWNERS},
            **{name: told for service, rules in services.items() for name, told in _receives(service, rules)},
        },
        "components": {
            "messages": {language.name(event): _message(event) for _, event in spoken},
            "schemas": _schemas([event for _, event in spoken]),
        },
    }


def _all(event: type[Event]) -> Iterator[type[Event]]:
    yield from language.versions(event)


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _channel(topic: str) -> dict[str, Any]:
    return {"address": topic, "description": f"All that {topic} says, in order for each `subject`.", "messages": {}}


def _message(event: type[Event]) -> dict[str, Any]:
    said = {"eventType": {"const": event.event_type}, "version": {"const": event.version}}
    payload = {"payload": _ref("components", "schemas", language.name(event))}
    return {
        "name": event.event_type,
        "title": f"{event.event_type} {event.version}",
        "summary": event.__doc__,
        "payload": {
            "allOf": [
                _ref("components", "schemas", "CloudEvent"),
                {"properties": {"data": {"properties": said | payload}}},
            ]
        },
    }


def _schemas(events: list[type[Event]]) -> dict[str, Any]:
    """Describe all payloads; what several of them share stands there once."""
    found: dict[str, Any] = {"CloudEvent": CLOUD_EVENT, "Envelope": Envelope.model_json_schema()}
    for event in events:
        schema = event.model_json_schema(ref_template=REFERENCE)
        found |= schema.pop("$defs", {})
        found[language.name(event)] = schema | {"title": language.name(event)}
    return found


def _sends(topic: str) -> dict[str, Any]:
    """An owner says the newest version only."""
    newest = [language.name(event) for event in language.events(topic)]
    return _operation("send", topic, newest, f"{topic} says what has happened there.")


def _receives(service: str, rules: Rules) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every version of what a service handles is read."""
    handled = [handler.message for handler in rules.events.values()]
    for topic in language.OWNERS:
        heard = [event for event in language.events(topic) if event in handled]
        if names := [language.name(each) for event in heard for each in _all(event)]:
            told = f"{service} acts on what {topic} says; other events of the topic are passed over."
            yield f"{service}-hears-{topic}", _operation("receive", topic, names, told)


def _operation(action: str, topic: str, names: list[str], summary: str) -> dict[str, Any]:
    messages = [_ref("channels", topic, "messages", name) for name in names]
    return {"action": action, "channel": _ref("channels", topic), "summary": summary, "messages": messages}
