"""One event in a hundred cannot be handled: each is put aside once, with its reason, and the others hardly notice."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from support.events import envelope
from support.installation import Installation
from support.letters import BUG, copies, dead_letters, deploy, letter_of, price_changed
from support.polling import eventually
from verify.conftest import Tell

pytestmark = [pytest.mark.verify, pytest.mark.timeout(300)]

GOOD, SHARE = 2000, 100  # events a round; one in so many more is bad
ROUNDS = 9
BULK = 200
WORTH = 0.95  # of the rate without bad events
REASONS = {"price": "payload of PriceChanged 1.0", "name": "payload of PriceChanged 1.0", "version": "version 7.3"}


def fine(sku: str) -> dict[str, Any]:
    return envelope("PriceChanged", {"sku": sku, "name": "Something", "price": 9.99})


def bad(number: int) -> tuple[str, dict[str, Any]]:
    """Return a bad event and what is wrong with it: each kind in turn."""
    sku = f"BAD-{uuid4().hex}"
    kinds = [
        ("price", envelope("PriceChanged", {"sku": sku, "name": "Something", "price": "a lot"})),
        ("version", envelope("PriceChanged", {"sku": sku, "name": "Something", "price": 9.99}, version="7.3")),
        ("name", envelope("PriceChanged", {"sku": sku, "name": "x" * 5000, "price": 9.99})),
    ]
    return kinds[number % len(kinds)]


def publish(system: Installation, events: list[dict[str, Any]]) -> None:
    """Publish in bulk, through a sidecar."""
    for some in _batched(events):
        body = [{"entryId": e["eventId"], "event": e, "contentType": "application/json"} for e in some]
        heard = system.sidecar("inventory", "POST", "/v1.0-alpha1/publish/bulk/pubsub/inventory", body)
        assert heard.status == 204, heard.content


def _batched(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (events[start : start + BULK] for start in range(0, len(events), BULK))


def cpu(system: Installation) -> float:
    """Return the seconds that orders and its sidecar have worked."""
    processes = [system.state_of(f"orders.{side}").process() for side in ("app", "daprd")]
    return sum(sum(process.cpu_times()[:2]) for process in processes if process)


def known(system: Installation, skus: list[str]) -> bool:
    """Tell whether orders has heard of all these products."""
    body = {"keys": [f"doc:price:{sku}" for sku in skus], "parallelism": 10}
    heard = system.sidecar("orders", "POST", "/v1.0/state/store/bulk", body)
    return heard.status == 200 and all("data" in entry for entry in heard.json)


def work(system: Installation, poison: list[dict[str, Any]]) -> float:
    """Have the same number of good events handled, with bad ones among them; returns the CPU seconds that took."""
    skus = [f"GOOD-{uuid4().hex}" for _ in range(GOOD)]
    events = [fine(sku) for sku in skus]
    for number, event in enumerate(poison):
        events.insert(number * (SHARE + 1), event)
    began = cpu(system)
    publish(system, events)
    eventually(lambda: known(system, skus[-BULK:]), within=60, pause=0.2)
    eventually(lambda: known(system, skus), within=60, pause=0.2)
    return cpu(system) - began


def test_a_letter_is_handled_once_its_cause_is_gone(system: Installation, tell: Tell) -> None:
    module, good = copies(system)
    try:
        deploy(system, module, good + BUG)
        letter = letter_of(system, price_changed("after all"))
    finally:
        deploy(system, module, good)
    assert dead_letters(system, "redrive", letter["id"]) == [{"id": letter["id"], "redriven": True, "reason": None}]
    tell(f"{letter['id']} ({letter['reason']}) was redriven after the fix")


def test_bad_events_cost_the_good_ones_nothing(system: Installation, tell: Tell) -> None:
    work(system, [])  # warm
    poison = [bad(number) for number in range(ROUNDS * GOOD // SHARE)]
    rounds = [poison[n * GOOD // SHARE : (n + 1) * GOOD // SHARE] for n in range(ROUNDS)]
    took = [(work(system, []), work(system, [event for _, event in some])) for some in rounds]
    without, among = (min(each) for each in zip(*took, strict=True))  # what else the machine does only ever adds
    letters = eventually(lambda: letters_of(system, poison), within=60)
    tell(f"{len(poison)} bad events among {ROUNDS * GOOD}, {len(letters)} dead letters")
    shares = ", ".join(f"{alone / mixed:.2f}" for alone, mixed in took)
    tell(f"good events a CPU second, by those without bad ones: {without / among:.3f}; by rounds {shares}")
    for kind, event in poison:
        (reason,) = letters[event["eventId"]]
        assert REASONS[kind] in reason
    assert without / among >= WORTH


def letters_of(system: Installation, poison: list[tuple[str, dict[str, Any]]]) -> dict[str, list[str]] | None:
    """Return the reasons of all letters by event, once there is one for each that is bad."""
    found: dict[str, list[str]] = {}
    for letter in system.ledger("orders").letters:
        if isinstance(letter["message"], dict):
            found.setdefault(letter["message"].get("eventId", ""), []).append(letter["reason"])
    wanted = {event["eventId"] for _, event in poison}
    return {name: reasons for name, reasons in found.items() if name in wanted} if wanted <= found.keys() else None
