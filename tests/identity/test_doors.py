"""Components, secrets, the doors of apps and sidecars: who is not named, or has not the token, gets nothing."""

import json
from functools import partial
from itertools import product

import pytest

from chassis.sidecar import CALLER
from identity.probes import Probe, wrong
from identity.questions import PROBLEM, Question, cancelled, delivery, price
from identity.secured import TOKEN, Secured, asked
from outrigger.secretfile import read_keys
from support.http import Heard

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def test_sidecars_open_what_the_table_names_and_nothing_else(system: Secured) -> None:
    for app in system.table.apps:
        told = system.by(app, "GET", "/v1.0/metadata").json
        found = {each["name"] for each in told.get("components") or ()} | {
            e["name"] for e in told.get("httpEndpoints") or ()
        }
        assert found == set(system.table.used(app)), app
        assert {each["topic"] for each in told.get("subscriptions") or ()} == set(system.table.heard(app)), app


def test_who_may_use_a_component_may(running: Secured) -> None:
    assert running.by("users", "GET", "/v1.0/state/store/lanes").status == 200
    mail = {"operation": "create", "data": "x", "metadata": {"fileName": "by-hand.txt"}}
    assert running.by("notifications", "POST", "/v1.0/bindings/mail", mail).status in {200, 204}
    heard = running.by("payments", "POST", "/v1.0/invoke/bank/method/authorize", {"key": "by-hand", "amount": "1.00"})
    assert heard.json["status"] == "authorized", "the sidecar puts the key, which payments cannot read, on the call"
    assert running.by("payments", "POST", "/v1.0/invoke/bank/method/void", {"key": "by-hand"}).status == 200


def test_a_component_of_others_is_not_there(system: Secured) -> None:
    wish = [{"key": "smuggled", "value": 1}]
    transaction = {"operations": [{"operation": "upsert", "request": wish[0]}]}
    mail = {"operation": "create", "data": "x", "metadata": {"fileName": "smuggled.eml"}}
    doors = {
        "store": [
            ("GET", "state/store/head:0", None), ("POST", "state/store", wish), ("DELETE", "state/store/lanes", None),
            ("POST", "state/store/bulk", {"keys": ["head:0"]}), ("POST", "state/store/transaction", transaction),
        ],
        "mail": [
            ("POST", "bindings/mail", mail), ("PUT", "bindings/mail", mail),
            ("POST", "bindings/mail", {"operation": "list"}), ("POST", "bindings/%6dail", mail),
        ],
        "bank": [("POST", f"invoke/bank/method/{o}", {"key": "k", "amount": "1.00"}) for o in ("authorize", "capture")],
    }  # fmt: skip
    probes = [
        Probe(f"{app} {verb} {path}", partial(system.by, app, verb, f"/v1.0/{path}", body), lambda h: h.status >= 400)
        for name, asked_for in doors.items() for verb, path, body in asked_for
        for app in system.table.apps if app not in system.table.components[name]
    ]  # fmt: skip
    assert wrong(probes, least=35) == []


def test_without_the_key_the_bank_does_nothing(system: Secured) -> None:
    (bank,) = (part.url for part in system.plan.parts if part.command.name == "bank")
    wish = {"key": "smuggled", "amount": "1.00"}
    probes = [
        Probe(f"{app} {path}", partial(system.by, app, "POST", f"/v1.0/invoke/{bank}/method/{path}", wish), _forbidden)
        for app in system.table.apps for path in ("authorize", "void", "capture")
    ]  # fmt: skip
    assert wrong(probes, least=18) == []


def _forbidden(heard: Heard) -> bool:
    return heard.status in {401, 403}


def test_no_app_reads_a_secret(system: Secured) -> None:
    home = system.home
    hidden = [
        *read_keys(home.secrets).values(),
        *(v for f in home.credentials.iterdir() for v in read_keys(f).values()),
    ]
    names = ["bank-api-key", "password", "bank%2Dapi-key", "BANK-API-KEY", "bulk", "x%2F..%2Fpassword", "x/../bulk"]

    def silent(heard: Heard) -> bool:
        empty = heard.status == 200 and heard.json == {}  # of all secrets, those that may be read
        return (empty or heard.status >= 400) and not any(each.encode() in heard.content for each in hidden)

    probes = [
        Probe(f"{app} {store}/{name}", partial(system.by, app, "GET", f"/v1.0/secrets/{store}/{name}"), silent)
        for app, store, name in product(system.table.apps, [*system.table.secrets, "%73ecrets"], names)
    ]
    assert wrong(probes, least=150) == []


# tokens


def test_an_app_s_own_door_opens_to_its_sidecar_alone(system: Secured, asking: dict[str, Question]) -> None:
    """Past every sidecar: without a token, with an empty one, and with everybody else's."""
    probes = []
    for target in [app for app in system.table.apps if app != "gateway"]:
        shown = {"nothing": {}, "empty": {TOKEN: ""}} | {
            f"{who}'s {kind}": {TOKEN: getattr(own, kind)}
            for who, own in system.tokens.items() for kind in ("api", "app") if (who, kind) != (target, "app")
        }  # fmt: skip
        for (name, headers), operation in product(shown.items(), ("POST /events", "GET /dead-letters", "GET /status")):
            verb, path = operation.split(" ")
            ask = partial(system.direct, target, verb, path, asking[operation].body, **headers)
            probes.append(Probe(f"{target} {operation} with {name}", ask, lambda heard: heard.status == 403))
    assert wrong(probes, least=150) == []
    for target in {probe.name.split(" ")[0] for probe in probes}:
        assert system.direct(target, "GET", "/status", **{TOKEN: system.tokens[target].app}).status == 200


def test_a_sidecar_opens_to_its_app_alone(system: Secured, orders: dict[str, str]) -> None:
    """An event given to a service through its own sidecar has no caller, and no policy is asked."""
    forged = cancelled(orders["confirmed"])
    doors = [
        ("POST", "/v1.0/invoke/{app}/method/events", delivery("orders", forged)),
        ("POST", "/v1.0/publish/pubsub/{app}", forged),
        ("POST", "/v1.0/state/store", [{"key": "smuggled", "value": 1}]),
        ("GET", "/v1.0/state/store/lanes", None), ("GET", "/v1.0/metadata", None),
    ]  # fmt: skip
    probes = []
    for target, (verb, path, body) in product(system.table.apps, doors):
        for who in [None, *(app for app in system.table.apps if app != target)]:
            for kind in ("api", "app"):
                headers = {TOKEN: getattr(system.tokens[who], kind)} if who else {}
                ask = partial(asked, system.sidecar(target), verb, path.format(app=target), body, headers)
                probes.append(Probe(f"{who}'s {kind} {path} of {target}", ask, lambda heard: heard.status == 401))
                url = f"/v1.0/invoke/{system.sidecar(target)}/method{path.format(app=target)}"
                if who:
                    ask = partial(system.by, who, verb, url, body)
                    probes.append(Probe(f"{who} by {url}", ask, lambda heard: heard.status == 401))
    assert wrong(probes, least=600) == []


# what the app guards itself, where a sidecar would have let it through


def test_an_app_takes_events_from_no_caller(system: Secured, orders: dict[str, str]) -> None:
    """As if access control had been passed: with the right token, and the name that sidecars give callers."""
    probes = []
    for target in [app for app in system.table.apps if system.table.heard(app)]:
        token = {TOKEN: system.tokens[target].app}
        for caller, topic in product(system.table.apps, system.table.heard(target)):
            for forged in (cancelled(orders["confirmed"]), price(0.01)):
                for body in (delivery(topic, forged), {"data": forged, "topic": topic}):
                    ask = partial(system.direct, target, "POST", "/events", body, **token, **{CALLER: caller})
                    probes.append(Probe(f"{caller} {topic} to {target}", ask, _problem))
    assert wrong(probes, least=150) == []


def test_an_app_does_nothing_for_callers_that_is_for_operators(system: Secured, asking: dict[str, Question]) -> None:
    ours = ("GET /dead-letters", "GET /dead-letter", "POST /redrive", "POST /rebuild", "GET /rebuild")
    probes = []
    for target, caller, operation in product(system.table.components["store"], system.table.apps, ours):
        verb, path = operation.split(" ")
        headers = {TOKEN: system.tokens[target].app, CALLER: caller}
        question = asking[operation]
        ask = partial(system.direct, target, verb, question.path(path), question.body, **headers)
        probes.append(Probe(f"{caller} {operation} of {target}", ask, _problem))
    assert wrong(probes, least=100) == []


def _problem(heard: Heard) -> bool:
    return heard.headers.get("content-type") == PROBLEM and json.loads(heard.content)["status"] == 403
