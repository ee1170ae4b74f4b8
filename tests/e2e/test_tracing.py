"""One trace reaches from the gateway to the mail, and Zipkin draws the services as they depend on each other."""

import json
import time
from urllib.parse import quote

import pytest

from support.customer import Customer
from support.installation import Installation
from support.polling import eventually
from support.traces import EDGES, HOUR, Ask, edges, traced, whole, zipkin_of

pytestmark = pytest.mark.e2e


@pytest.fixture
def zipkin(system: Installation) -> Ask:
    return zipkin_of(system)


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
    assert edges(zipkin, time.time()) >= EDGES


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
