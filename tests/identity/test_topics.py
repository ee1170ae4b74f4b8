"""Who publishes and hears which topic, and whose word counts there."""

from contextlib import ExitStack
from functools import partial
from itertools import product

import pytest

from identity.fence import fence
from identity.grpc_door import grpc_door
from identity.probes import Probe, wrong
from identity.questions import SKU, USER, cancelled, price
from identity.secured import Secured
from support.events import envelope
from support.http import Heard
from support.polling import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def test_every_topic_is_heard_by_those_whom_the_table_names(running: Secured) -> None:
    fence(running)


def test_events_of_their_owner_are_taken(running: Secured) -> None:
    """The twin of all that was forged: the same event, published by who may."""
    key = f"orders/doc:price:{SKU}"
    before = running.rows()[key]
    assert running.by("inventory", "POST", "/v1.0/publish/pubsub/inventory", price(2480.0)).status == 204
    eventually(lambda: running.rows()[key] != before, within=15, what="orders has the price")


def test_nobody_hears_another_s_topic(system: Secured) -> None:
    """As a subscription that is made while the app runs; those of the table are made at its start."""
    probes = []
    with ExitStack() as doors:
        for app in system.table.apps:
            door = doors.enter_context(grpc_door(system, app))
            topics = {*system.table.topics, "users-dead", "nowhere", "ORDERS"} - {*system.table.heard(app)}
            probes += [Probe(f"{app} hears {t}", partial(door.subscribe, t), _unheard) for t in sorted(topics)]
        assert wrong(probes, least=50) == []
    fence(system)


def _unheard(heard: Heard) -> bool:
    return heard.status != 200 and (b"is not allowed" in heard.content or b"not found" in heard.content)


def test_nobody_publishes_on_another_s_topic(system: Secured, orders: dict[str, str]) -> None:
    forged = {"orders": cancelled(orders["confirmed"]), "inventory": price(0.01)}
    names = [*system.table.topics, "users-dead", "gateway", "ORDERS", "orders%2F..%2Fusers", "%6frders", "nowhere"]
    probes = []
    for app, topic in product(system.table.apps, names):
        if topic in system.table.published(app) or (app == "orders" and topic == "%6frders"):
            continue
        event = forged.get(topic, cancelled(orders["confirmed"]))
        bulk = [{"entryId": "1", "event": event, "contentType": "application/json"}]
        for door, body in (("v1.0/publish", event), ("v1.0-alpha1/publish/bulk", bulk)):
            ask = partial(system.by, app, "POST", f"/{door}/pubsub/{topic}", body)
            probes.append(Probe(f"{app} {door} {topic}", ask, _unpublished))
    assert wrong(probes, least=120) == []


def _unpublished(heard: Heard) -> bool:
    return heard.status in {400, 403, 404} and (b"ERR_PUBSUB" in heard.content or heard.status == 404)


def test_nobody_tells_another_s_events_on_its_own_topic(system: Secured) -> None:
    """Its sidecar lets it publish there, whatever it is; those who hear it go by the owner."""
    told = {"inventory": price(0.01), "users": envelope("UserDeactivated", {"userId": USER})}
    for app in ("users", "inventory", "payments"):
        for event in (told[owner] for owner in told if owner != app):
            assert system.by(app, "POST", f"/v1.0/publish/pubsub/{app}", event).status == 204
