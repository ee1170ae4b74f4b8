"""What cannot be handled is put aside with its reason, looked at, and handled once it has become good."""

from typing import Any
from uuid import uuid4

import pytest

from support.events import envelope
from support.installation import Installation
from support.letters import BUG, copies, dead_letters, deploy, letter_of, price_changed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


BAD = {
    "of an unknown version": (price_changed("x", version="7.3"), "PriceChanged version 7.3 is unknown here"),
    "malformed": (envelope("PriceChanged", {"sku": "KETTLE-1", "price": "a lot"}), "the payload of PriceChanged 1.0"),
    "too large": (price_changed("x" * 300_000), "bytes; the limit is 262144"),
}


@pytest.mark.parametrize(("event", "why"), BAD.values(), ids=BAD)
def test_a_bad_event_is_put_aside_with_its_reason_and_stays_as_long_as_it_is_bad(
    system: Installation, event: dict[str, Any], why: str
) -> None:
    letter = letter_of(system, {**event, "eventId": str(uuid4())})
    assert why in letter["reason"]
    shown = system.outrigger("dead-letters", "show", letter["id"])
    assert why in shown.stdout
    assert "PriceChanged" in shown.stdout
    refused = system.outrigger("dead-letters", "redrive", letter["id"])
    assert refused.returncode == 1
    assert f"{letter['id']} stays as it is: " in refused.stdout
    assert why in refused.stdout
    assert letter in dead_letters(system, "list", "--service", "orders")


def test_a_letter_of_a_handler_that_was_mended_is_handled_after_all(system: Installation) -> None:
    module, good = copies(system)
    event = price_changed("after all", eventId=str(uuid4()))
    try:
        deploy(system, module, good + BUG)
        letter = letter_of(system, event)
        assert letter["reason"] == "LookupError: a bug"
        (refused,) = dead_letters(system, "redrive", letter["id"], code=1)
        assert refused["reason"] == "it failed again: LookupError: a bug"
    finally:
        deploy(system, module, good)
    assert dead_letters(system, "redrive", letter["id"]) == [{"id": letter["id"], "redriven": True, "reason": None}]
    price = system.document("orders", "price/KETTLE-1")
    assert price
    assert price["price"] == 9.99
    assert letter["id"] not in [each["id"] for each in dead_letters(system, "list")]
    again = system.outrigger("dead-letters", "redrive", letter["id"])
    assert (again.returncode, "was already redriven" in again.stdout) == (1, True)


def test_all_are_redriven_and_what_stays_is_told(system: Installation) -> None:
    letter = letter_of(system, price_changed("x", version="8.1", eventId=str(uuid4())))
    told = {each["id"]: each["redriven"] for each in dead_letters(system, "redrive", "--all", code=1)}
    assert told[letter["id"]] is False


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("show", "orders:0:999"), "There is no dead letter orders:0:999"),
        (("redrive", "orders:0:999"), "There is no dead letter orders:0:999"),
        (("show", "kitchen:0:1"), "There is no service kitchen"),
        (("show", "the last one"), "names no dead letter"),
        (("redrive",), "or say --all"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(system: Installation, command: tuple[str, ...], why: str) -> None:
    done = system.outrigger("dead-letters", *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_service_redrives_anothers(system: Installation) -> None:
    heard = system.sidecar("gateway", "POST", "/v1.0/invoke/orders/method/redrive", {"id": "dead:0:1"})
    assert heard.json["title"] == "Forbidden"
