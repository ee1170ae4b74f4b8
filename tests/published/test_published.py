"""What is published is what the code does, is valid, and breaks nobody."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from chassis.envelope import Envelope
from contracts import language
from contracts.compatibility import breaks
from published.documents import CURRENT, documents, released, texts, written
from support.events import envelope

HERE = Path(__file__).parent
MADE = documents()
ORDER = {"orderId": "o-1", "userId": "u-1"}


def test_what_is_committed_is_current() -> None:
    wanted = {name: written(document) for name, document in MADE.items()}
    lying = texts(CURRENT)
    stale = sorted(name for name in wanted.keys() | lying.keys() if wanted.get(name) != lying.get(name))
    assert not stale, "run `make contracts` and commit what it writes"


def test_nobody_who_knows_what_was_released_is_broken() -> None:
    assert breaks(released(), language.schemas()) == []


def test_what_was_released_is_held_to_something() -> None:
    assert {"envelope", "orders/OrderCancelled-1.0", "payments/PaymentCaptured-1.0"} <= released().keys()


@pytest.mark.parametrize("name", language.schemas())
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(MADE[f"{name}.json"])


def test_the_asyncapi_document_is_one() -> None:
    """By AsyncAPI's own schema: npm package @asyncapi/specs 6.11.1, Apache-2.0, unchanged."""
    schema = json.loads(gzip.decompress((HERE / "asyncapi-3.0.0.schema.json.gz").read_bytes()))
    wrong = [error.message[:300] for error in Draft7Validator(schema).iter_errors(MADE["asyncapi.json"])]
    assert not wrong


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    found = list(references(MADE["asyncapi.json"]))
    assert len(found) > 50
    for reference in found:
        place = MADE["asyncapi.json"]
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in references(each)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [found for each in value.values() for found in references(each)]


def test_an_owner_says_the_newest_version_and_others_read_all() -> None:
    operations = MADE["asyncapi.json"]["operations"]
    said = [message["$ref"].rpartition("/")[2] for message in operations["orders-sends"]["messages"]]
    assert said == ["OrderCancelled-2.0", "OrderConfirmed-1.0", "OrderCreated-1.0", "PaymentRequested-1.0"]
    for hearer in ("inventory", "notifications", "payments"):
        heard = [message["$ref"].rpartition("/")[2] for message in operations[f"{hearer}-hears-orders"]["messages"]]
        assert {"OrderCancelled-1.0", "OrderCancelled-2.0"} <= set(heard)


def test_the_openapi_document_is_one() -> None:
    assert not [str(error) for error in OpenAPIV31SpecValidator(MADE["openapi.json"]).iter_errors()]


@pytest.mark.parametrize(
    ("kind", "payload", "good"),
    [
        ("OrderCancelled", ORDER | {"reason": "x"}, True),
        ("OrderCancelled", ORDER, False),
        ("OrderCreated", ORDER | {"items": [{"sku": "A", "quantity": 1, "unitPrice": 0.07}], "total": 0.07}, True),
        ("OrderCreated", ORDER | {"items": [], "total": -1}, False),
        ("PaymentRequested", ORDER | {"amount": 99.99}, True),
        ("PaymentRequested", ORDER | {"amount": 1e12}, False),
    ],
)
def test_the_schemas_say_what_the_classes_say(kind: str, payload: dict[str, Any], *, good: bool) -> None:
    event = next(each for each in language.events("orders") if each.event_type == kind)
    read = language.versions(event)[0]
    assert Draft202012Validator(MADE[f"orders/{kind}-1.0.json"]).is_valid(payload) is good
    assert Draft202012Validator(MADE["envelope.json"]).is_valid(envelope(kind, payload))
    assert Envelope.parse(envelope(kind, payload))
    if good:
        read.model_validate(payload)
    else:
        with pytest.raises(ValueError, match="validation error"):
            read.model_validate(payload)
