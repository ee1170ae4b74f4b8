"""One trace reaches from the gateway to the mail, and Zipkin draws the services as they depend on each other."""

import json
import os
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from support.customer import Customer
from support.installation import Installation, ask
from support.polling import eventually

pytestmark = pytest.mark.e2e

EDGES = {
    ("gateway", "orders"), ("orders", "inventory"), ("inventory", "orders"), ("orders", "payments"),
    ("payments", "bank"), ("orders", "notifications"), ("notifications", "mail"),
}  # fmt: skip
MAILS = 2  # created, confirmed
HOUR = 3_600_000  # ms
Ask = Callable[[str], Any]


@pytest.fixture
def zipkin(system: Installation) -> Ask:
    """Return what asks Zipkin; None where it has no answer."""
    url = system.run.urls.get("zipkin", "")
    if not url:
        assert not os.environ.get("CI"), "Zipkin is missing: `make setup` fetches it"
        pytest.skip("Zipkin is not there: `make setup` fetches it")

    def asked(path: str) -> Any:
        try:
            heard = ask(url, "GET", path)
        except OSError:
            return None  # it starts behind everything else
        return heard.json if heard.status == 200 else None

    eventually(lambda: asked("/health"), within=90, what="Zipkin answers")
    return asked


def traced(customer: Customer) -> tuple[str, str]:
    """Place an order that is traced; returns its id and its trace's."""
    heard = eventually(lambda: _kept(customer), within=20, pause=0.5, what="an order's trace is kept")
    return heard.json["orderId"], heard.headers["traceresponse"].split("-")[1]


def _kept(customer: Customer) -> Any:
    heard = customer.order("OAR-PAIR")
    assert heard.status == 202, heard.content
    return heard if "traceresponse" in heard.headers else None


def mailed(spans: list[dict[str, Any]]) -> int:
    return sum(span.get("remoteEndpoint", {}).get("serviceName") == "mail" for span in spans)


def whole(zipkin: Ask, trace: str) -> list[dict[str, Any]]:
    """Return a trace's spans when the last mail is in it and nobody's parent is missing."""

    def look() -> tuple[list[dict[str, Any]], list[str]]:
        spans = zipkin(f"/api/v2/trace/{trace}") or []
        ids = {span["id"] for span in spans}
        orphans = [span for span in spans if span.get("parentId") and span["parentId"] not in ids]
        return spans, [f"{span['localEndpoint']['serviceName']}: {span.get('name')}" for span in orphans]

    def found() -> list[dict[str, Any]] | None:
        spans, orphans = look()
        return spans if mailed(spans) >= MAILS and not orphans else None

    try:
        return eventually(found, within=60, what=f"trace {trace} is whole")
    except AssertionError as late:
        spans, orphans = look()
        told = f"{mailed(spans)} mails in {len(spans)} spans, without parents: {orphans}"
        raise AssertionError(f"{late}; {told}") from None


def test_one_trace_reaches_from_the_gateway_to_the_mail(customer: Customer, zipkin: Ask) -> None:
    order, trace = traced(customer)
    assert customer.ended(order)["status"] == "confirmed"
    spans = whole(zipkin, trace)
    services = {span["localEndpoint"]["serviceName"] for span in spans}
    assert services >= {"gateway", "orders", "inventory", "payments", "notifications"}
    (root,) = [span for span in spans if "parentId" not in span]
    assert (root["localEndpoint"]["serviceName"], root["name"]) == ("gateway", "post /api/v1/orders")


def test_the_graph_has_the_edges_of_the_flow(customer: Customer, zipkin: Ask) -> None:
    order, trace = traced(customer)
    customer.ended(order)
    whole(zipkin, trace)
    links = zipkin(f"/api/v2/dependencies?endTs={int(time.time() * 1000)}&lookback={HOUR}")
    assert {(link["parent"], link["child"]) for link in links} >= EDGES


def test_an_order_s_trace_is_found_by_its_id(customer: Customer, zipkin: Ask) -> None:
    order, trace = traced(customer)
    wanted = f"/api/v2/traces?annotationQuery={quote(f'order={order}')}&lookback={HOUR}"
    found = eventually(lambda: zipkin(wanted), within=30, what="Zipkin finds the order")
    assert {span["traceId"] for spans in found for span in spans} == {trace}


def test_no_span_names_a_person(customer: Customer, zipkin: Ask) -> None:
    order, trace = traced(customer)
    customer.ask("GET", f"/api/v1/users/{customer.user}")
    customer.ask("GET", f"/api/v1/users/{customer.user}/orders")
    whole(zipkin, trace)
    spans = json.dumps(zipkin(f"/api/v2/traces?limit=1000&lookback={HOUR}"))
    assert order in spans
    assert customer.user not in spans
    assert "@" not in spans
