"""Who may speak to whom: of all pods, on all ports, exactly what is needed; and whom a sidecar lets in."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

import pytest

from deploy.manifests import (
    BACKING,
    NAME,
    OURS,
    OVERLAYS,
    PART_OF,
    SERVICES,
    Manifests,
    chosen,
    of,
    one,
    pod,
    rendered,
    workloads,
)
from identity.rendered import access_control
from identity.table import read
from support.installation import REPOSITORY
from support.system import System

TABLE = read()
STATEFUL = SERVICES[1:]
BROKERS = {"redis": 6379, "rabbitmq": 5672, "kafka": 9092}
JOURNAL = {("POST", f"/{name}") for name in ("journal-lanes", "journal-records", "journal-events")}
PORTS = {*BROKERS.values(), 53, 80, 443, 3500, 3501, 5432, 6500, 8080, 9090, 9411, 15012, 50001, 50002, 50005, 50006}


@dataclass(frozen=True)
class Place:
    """Somebody with an address: a pod by its namespace and labels, or somebody outside by nothing."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


INTERNET = Place("internet")
STRANGERS = {
    "dns": Place("dns", "kube-system", {"k8s-app": "kube-dns"}),
    "operator": Place("operator", "dapr-system", {"app": "dapr-operator"}),
    "sentry": Place("sentry", "dapr-system", {"app": "dapr-sentry"}),
    "scheduler": Place("scheduler", "dapr-system", {"app": "dapr-scheduler-server"}),
    "placement": Place("placement", "dapr-system", {"app": "dapr-placement-server"}),
    "nginx": Place("nginx", "ingress-nginx", {NAME: "ingress-nginx"}),
    "mesh": Place("mesh", "istio-system", {"istio": "ingressgateway"}),
    "istiod": Place("istiod", "istio-system", {"app": "istiod"}),
    "neighbour": Place("neighbour", "default", {NAME: "gateway", PART_OF: "outrigger"}),
}
ELSEWHERE = {
    **{f"{name}-db": Place(f"{name}-db", BACKING, {f"outrigger/{name}-db": "true"}) for name in STATEFUL},
    "broker": Place("broker", BACKING, {"outrigger/broker": "true"}),
    "zipkin": Place("zipkin", BACKING, {"outrigger/tracing": "true"}),
}


def places(manifests: Manifests) -> dict[str, Place]:
    """Return everybody: the pods of an overlay, what is elsewhere where that is not rendered, and strangers."""
    pods = [pod(each)["metadata"] for each in workloads(manifests)]
    made = {each["name"]: Place(each["name"], each["namespace"], each["labels"]) for each in pods}
    rest = {} if any(each.namespace == BACKING for each in made.values()) else ELSEWHERE
    return {**made, **rest, **STRANGERS, "internet": INTERNET}


def allowed(manifests: Manifests, source: Place, target: Place, port: int) -> bool:
    """Tell whether the policies let `source` open a connection to `port` of `target`."""
    out = _rules(manifests, source, "egress")
    into = _rules(manifests, target, "ingress")
    return _passes(out, "to", target, port) and _passes(into, "from", source, port)


def _rules(manifests: Manifests, place: Place, way: str) -> list[Mapping[str, Any]] | None:
    """Return the rules that hold for a place, None where no policy does, which is to allow all."""
    policies = [
        each["spec"] for each in of(manifests, "NetworkPolicy", namespace=place.namespace or "nowhere")
        if chosen(each["spec"]["podSelector"], place.labels) and way.capitalize() in each["spec"]["policyTypes"]
    ]  # fmt: skip
    return [rule for each in policies for rule in each.get(way) or ()] if policies else None


def _passes(rules: list[Mapping[str, Any]] | None, side: str, other: Place, port: int) -> bool:
    if rules is None:
        return True
    return any(
        port in {each["port"] for each in rule["ports"]} and any(_is(peer, other) for peer in rule[side])
        for rule in rules
    )


def _is(peer: Mapping[str, Any], place: Place) -> bool:
    if "ipBlock" in peer:
        return place is INTERNET
    namespaces = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": OURS}})
    return chosen(namespaces, {"kubernetes.io/metadata.name": place.namespace}) and chosen(
        peer["podSelector"], place.labels
    )


def calls() -> set[tuple[str, str, str, str]]:
    """Return what access control allows: caller, callee, verb and method."""
    return {
        (policy["appId"], callee, verb, operation["name"])
        for callee in SERVICES
        for policy in one(rendered("local"), "Configuration", callee)["spec"]["accessControl"].get("policies", ())
        for operation in policy["operations"]
        for verb in operation["httpVerb"]
    }


def needed(overlay: str) -> Iterator[tuple[str, str, int]]:
    """Say who has to reach whom; one gateway stands for both, stable and canary."""
    local, broker = overlay == "local", OVERLAYS[overlay]
    yield ("mesh" if overlay == "istio" else "nginx"), "gateway", 8080
    yield from (("gateway", name, 8080) for name in STATEFUL)
    yield from {(caller, callee, 50002) for caller, callee, _, _ in calls()}
    for name in SERVICES:
        yield from ((name, "operator", 6500), (name, "sentry", 50001), (name, "scheduler", 50006))
        yield from ((name, "dns", 53), (name, "zipkin", 9411))
        if overlay == "istio":
            yield name, "istiod", 15012
    for name in STATEFUL:
        yield name, "postgresql" if local else f"{name}-db", 5432
        yield name, "valkey" if local else "broker", BROKERS[broker]
    yield ("payments", "bank", 8080) if local else ("payments", "internet", 443)


def flows(manifests: Manifests) -> set[tuple[str, str, int]]:
    """Return who may reach whom, where one of both is ours."""
    everybody = places(manifests)
    ours = {name for name, each in everybody.items() if each.namespace == OURS}
    return {
        (source.removesuffix("-canary"), target.removesuffix("-canary"), port)
        for source, target, port in product(everybody, everybody, PORTS)
        if {source, target} & ours and allowed(manifests, everybody[source], everybody[target], port)
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_exactly_what_is_needed_is_allowed(overlay: str) -> None:
    assert flows(rendered(overlay)) == set(needed(overlay))


@pytest.mark.parametrize(
    "without", ["default-deny", "dns", "dapr-control-plane", "tracing", "broker", "orders", "bank"]
)
def test_each_policy_counts(without: str) -> None:
    rest = [
        each for each in rendered("kafka") if (each["kind"], each["metadata"]["name"]) != ("NetworkPolicy", without)
    ]
    if without == "default-deny":  # every pod of ours has policies of its own for both ways; another one has none
        newcomer = Place("newcomer", OURS, {NAME: "newcomer"})
        assert allowed(rest, newcomer, INTERNET, 443)
        assert not allowed(rendered("kafka"), newcomer, INTERNET, 443)
    else:
        assert flows(rest) < set(needed("kafka"))


def test_the_canary_may_do_what_the_gateway_may() -> None:
    everybody = places(rendered("istio"))
    both = [
        {
            (way, name, port)
            for name, port in product(everybody, PORTS)
            for way, pair in {"to": (gateway, name), "from": (name, gateway)}.items()
            if allowed(rendered("istio"), everybody[pair[0]], everybody[pair[1]], port)
        }
        for gateway in ("gateway", "gateway-canary")
    ]
    assert both[0] == both[1] != set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_denied_all_that_is_not_said(overlay: str) -> None:
    for each in workloads(rendered(overlay)):
        meta = pod(each)["metadata"]
        policies = of(rendered(overlay), "NetworkPolicy", namespace=meta["namespace"])
        closed = [
            p for p in policies if p["spec"]["podSelector"] == {} and not {"ingress", "egress"} & p["spec"].keys()
        ]
        assert [p["spec"]["policyTypes"] for p in closed] == [["Ingress", "Egress"]]


def test_private_addresses_are_no_outside() -> None:
    (rule,) = one(rendered("rabbitmq"), "NetworkPolicy", "bank")["spec"]["egress"]
    ((block,), ports) = ([peer["ipBlock"] for peer in rule["to"]], [each["port"] for each in rule["ports"]])
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(block["except"])
    assert ports == [443]


# Access control: what callers ask for, as the code has it.


@cache
def served() -> dict[str, set[tuple[str, str]]]:
    """Return what each service answers to others: its methods and routes, without the platform's and operators'."""
    own = {"/health", "/ready", "/status", "/metrics", "/dapr/subscribe", "/dapr/config", "/events", "/openapi.json"}
    operators = {"/dead-letters", "/dead-letter", "/redrive", "/rebuild"}
    found = {}
    for name, service in System({}).services.items():
        methods = {("POST", path) for path in service._methods}
        routes = {(verb, path) for path, verbs in _routes(service.app) for verb in verbs - {"HEAD"}}
        found[name] = {each for each in methods | routes if each[1] not in own | operators}
    return found


def _routes(app: Any) -> Iterator[tuple[str, set[str]]]:
    for path, verbs in app.openapi()["paths"].items():
        yield path, {verb.upper() for verb in verbs}


ASKED = re.compile(r"""(?:invoke|\.call|_ask)\(\s*"(\w+)",\s*"([\w-]+)"(, \{|, body)?""")
UPSTREAM = re.compile(r"""self\._(users|inventory|orders)\.(get|post)\(\s*"([\w-]+)\"""")


def asked() -> Iterator[tuple[str, str, str, str]]:
    """Read from the sources what each service asks the others for; and who follows whose journal."""
    for name in SERVICES:
        for source in (REPOSITORY / "apps" / name / name).glob("*.py"):
            text = source.read_text()
            yield from ((name, callee, "POST", f"/{method}") for callee, method, _ in ASKED.findall(text))
            yield from ((name, callee, verb.upper(), f"/{m}") for callee, verb, m in UPSTREAM.findall(text))
    for name, service in System({}).services.items():
        topics = {each["topic"] for each in service.subscriptions()} - {f"{name}-dead"}
        yield from ((name, topic, *method) for topic in topics for method in JOURNAL)
    yield from (("gateway", name, "GET", "/status") for name in STATEFUL)
    yield from (("gateway", name, "GET", "/ready") for name in ("users", "orders", "inventory"))


def test_access_control_allows_what_is_asked_and_nothing_else() -> None:
    assert calls() == set(asked())


def test_every_method_has_somebody_who_may_ask_for_it() -> None:
    allowed = {(callee, verb, name) for _, callee, verb, name in calls()}
    served_by_all = {(name, *each) for name in STATEFUL for each in served()[name]}
    followed = {each["topic"] for service in System({}).services.values() for each in service.subscriptions()}
    unheard = {(name, *each) for name in STATEFUL for each in JOURNAL if name not in followed}
    assert served_by_all - allowed == unheard


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_access_control_denies_by_default(overlay: str) -> None:
    for name in SERVICES:
        control = one(rendered(overlay), "Configuration", name)["spec"]["accessControl"]
        assert control == access_control(TABLE, name)
        assert control["defaultAction"] == "deny"
        for policy in control.get("policies", ()):
            assert (policy["defaultAction"], policy["namespace"]) == ("deny", OURS)
            assert all(each["action"] == "allow" for each in policy["operations"])
        assert one(rendered(overlay), "Configuration", name)["spec"]["mtls"]["enabled"] is True
