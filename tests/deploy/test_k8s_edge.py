"""The outside's way in: what the paths of api.example.com become, and that each of them is the gateway's."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from deploy.manifests import OVERLAYS, Manifest, of, one, rendered, scaled_by_events
from support.system import System

# What a client asks for, and what the gateway gets; None where nobody is asked.
PATHS = {
    "/users": "/api/v1/users",
    "/users/user-1": "/api/v1/users/user-1",
    "/users/user-1/orders": "/api/v1/users/user-1/orders",
    "/orders": "/api/v1/orders",
    "/orders/7": "/api/v1/orders/7",
    "/orders/7/cancel": "/api/v1/orders/7/cancel",
    "/api/v1/orders/7": "/api/v1/orders/7",
    "/api/v1/products": "/api/v1/products",
    "/usersandmore": None,
    "/events": None,
    "/metrics": None,
    "/status": None,
    "/": None,
}
REWRITE, REGEX = (f"nginx.ingress.kubernetes.io/{name}" for name in ("rewrite-target", "use-regex"))


def by_nginx(path: str) -> str | None:
    """Do as ingress-nginx does: the first pattern that the path begins with, longest patterns first."""
    found = [(rule["path"], each) for each in _ingresses() for rule in _rules(each)]
    for pattern, ingress in sorted(found, key=lambda pair: len(pair[0]), reverse=True):
        annotations = ingress["metadata"].get("annotations", {})
        if (match := re.match(pattern if REGEX in annotations else f"{pattern}(/|$)", path)) is not None:
            target = annotations.get(REWRITE)
            return match.expand(re.sub(r"\$(\d)", r"\\\1", target)) if target else path
    return None


def by_mesh(path: str) -> str | None:
    """Do as Envoy does: the first route that holds; a regular expression has to match all of the path."""
    for route in one(rendered("istio"), "VirtualService", "gateway")["spec"]["http"]:
        (match,) = (each["uri"] for each in route["match"])
        if "regex" in match and re.fullmatch(match["regex"], path):
            rule = route["rewrite"]["uriRegexRewrite"]
            return re.sub(rule["match"], rule["rewrite"], path)
        if "prefix" in match and path.startswith(match["prefix"]):
            return path
    return None


def _ingresses() -> list[Manifest]:
    return of(rendered("rabbitmq"), "Ingress")


def _rules(ingress: Manifest) -> list[Mapping[str, Any]]:
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "api.example.com"
    return rule["http"]["paths"]


@pytest.mark.parametrize("through", [by_nginx, by_mesh])
@pytest.mark.parametrize("path", PATHS)
def test_a_path_becomes_the_gateway_s(through: Callable[[str], str | None], path: str) -> None:
    assert through(path) == PATHS[path]


def test_the_gateway_has_them_all() -> None:
    known = System({}).services["gateway"].app.openapi()["paths"]
    shapes = [re.compile(re.sub(r"\{\w+\}", "[^/]+", each)) for each in known]
    assert [path for path in PATHS.values() if path and not any(each.fullmatch(path) for each in shapes)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_way_in_ends_at_the_gateway(overlay: str) -> None:
    backends = {
        rule["backend"]["service"]["name"] for each in of(rendered(overlay), "Ingress") for rule in _rules(each)
    }
    routes = [
        r for each in of(rendered(overlay), "VirtualService") for http in each["spec"]["http"] for r in http["route"]
    ]
    hosts = {route["destination"]["host"] for route in routes}
    assert (backends, hosts) == ((set(), {"gateway"}) if overlay == "istio" else ({"gateway"}, set()))
    kinds = {each["spec"].get("type", "ClusterIP") for each in of(rendered(overlay), "Service")}
    assert kinds == {"ClusterIP", "ExternalName"}


def test_the_paths_are_those_that_were_ordered() -> None:
    assert {rule["path"] for each in _ingresses() for rule in _rules(each)} == {
        "/users(/|$)(.*)", "/orders(/|$)(.*)", "/api/v1",
    }  # fmt: skip


def test_the_mesh_is_strict_and_one_request_in_ten_meets_the_canary() -> None:
    manifests = rendered("istio")
    assert one(manifests, "PeerAuthentication", "default")["spec"] == {"mtls": {"mode": "STRICT"}}
    subsets = one(manifests, "DestinationRule", "gateway")["spec"]["subsets"]
    pods = {
        name: one(manifests, "Deployment", name)["spec"]["template"]["metadata"]["labels"]["outrigger/track"]
        for name in ("gateway", "gateway-canary")
    }
    assert {each["name"]: each["labels"]["outrigger/track"] for each in subsets} == {
        "stable": "stable",
        "canary": "canary",
    }
    assert pods == {"gateway": "stable", "gateway-canary": "canary"}
    for route in one(manifests, "VirtualService", "gateway")["spec"]["http"]:
        assert {each["destination"]["subset"]: each["weight"] for each in route["route"]} == {
            "stable": 90,
            "canary": 10,
        }


@pytest.mark.parametrize("overlay", ["local", "rabbitmq", "kafka"])
def test_keda_watches_every_queue_that_events_wait_in(overlay: str) -> None:
    watched = set()
    for each in of(scaled_by_events(overlay), "ScaledObject"):
        assert each["spec"]["minReplicaCount"] >= 1
        for trigger in each["spec"]["triggers"]:
            data = trigger["metadata"]
            pair = (data.get("consumerGroup", ""), data.get("stream") or data.get("topic"))
            if trigger["type"] != "cpu":
                watched.add(data.get("queueName") or "-".join(pair))
                assert (data.get("queueName") or pair[0]).startswith(each["metadata"]["name"])
    wanted = {
        f"{name}-{subscription['topic']}"
        for name, service in System({}).services.items()
        for subscription in service.subscriptions()
        if not subscription["topic"].endswith("-dead")
    }
    assert watched == wanted
