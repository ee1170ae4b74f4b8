"""What the table does not allow is refused, and nothing comes of it: real sidecars, certificates of a real sentry.

Every kind of refusal has its twin here, the same question from somebody who may ask it.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import product
from typing import Any

import pytest

from identity.grpc_door import grpc_door
from identity.probes import Probe, disguises, spellings, wrong
from identity.questions import CLOSED, PROBLEM, SKU, TOO_MANY, USER, Question, cancelled, delivery, price, questions
from identity.secured import TOKEN, Secured, asked, bystanders, secured
from outrigger.ports import LOOPBACK
from outrigger.secretfile import read_keys
from support.events import envelope
from support.http import Heard
from support.installation import reachable
from support.polling import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

NOBODY_S = {"eventType": "BrokerProbe"}  # an event that no service handles
ENDS = ("captured", "declined")  # of payments
CALLER = "dapr-caller-app-id"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Run it, with one order that came through and one that did not."""
    with secured(tmp_path_factory.mktemp("identity") / "a folder") as system:
        yield system


@pytest.fixture(scope="module")
def orders(running: Secured) -> dict[str, str]:
    """Place an order that is confirmed, and one that is cancelled; returns their ids."""
    for path in (f"products/{SKU}", f"users/{USER}"):
        eventually(lambda path=path: reachable(running.plan.gateway_url, f"/api/v1/{path}"), within=30, what=path)
    placed = {"confirmed": _placed(running, 1), "cancelled": _placed(running, TOO_MANY)}
    for end, order in placed.items():
        eventually(lambda end=end, order=order: _shown(running, order)["status"] == end, within=30, what=end)
    _settle(running)
    return placed


@pytest.fixture
def system(running: Secured, orders: dict[str, str]) -> Iterator[Secured]:
    """Hand it over; afterwards no ledger, no book and no mail may be other than before."""
    _settle(running)
    before = running.rows()
    yield running
    _fence(running)
    after = running.rows()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert not changed, f"something came of it: {sorted(changed)[:20]}"


@pytest.fixture
def asking(orders: dict[str, str]) -> dict[str, Question]:
    """Return a question for each operation."""
    return questions(orders["cancelled"])


def _placed(system: Secured, quantity: int) -> str:
    wish = {"userId": USER, "items": [{"sku": SKU, "quantity": quantity}]}
    heard = asked(system.plan.gateway_url, "POST", "/api/v1/orders", wish, {})
    assert heard.status == 202, heard.content
    return heard.json["orderId"]


def _shown(system: Secured, order: str) -> dict[str, Any]:
    return asked(system.plan.gateway_url, "GET", f"/api/v1/orders/{order}", None, {}).json


def _settle(system: Secured) -> None:
    """Wait until every follower of every journal is at its end, every order has its mails and its money."""
    open_: list[str] = []

    def settled() -> bool:
        rows = {key: str(value) for key, value in system.rows().items()}
        payments = {key: value for key, value in rows.items() if key.startswith("payments/doc:payment:")}
        created = sum(1 for key in rows if key.startswith("orders/doc:order:"))
        mails = sum(1 for key in rows if key.endswith(".eml"))
        open_[:] = asyncio.run(_late(system)) + [k for k, v in payments.items() if not any(end in v for end in ENDS)]
        open_.extend(["mails"] if mails != 2 * created else [])
        return not open_

    try:
        eventually(settled, within=30)
    except AssertionError:
        pytest.fail(f"not settled within 30 s: {open_}")


async def _late(system: Secured) -> list[str]:
    late: list[str] = []
    for app in system.table.components["store"]:
        async with system.ledger(app) as store:
            ledger = await store.heads()
        late += ledger.behind() if ledger else [app]
    return late


def _brought(system: Secured, app: str, topic: str) -> float:
    text = system.direct(app, "GET", "/metrics", **{TOKEN: system.tokens[app].app}).content.decode()
    found = [line.split()[-1] for line in text.splitlines() if f'outrigger_deliveries_total{{topic="{topic}"}}' in line]
    return float(found[0]) if found else 0.0


def _fence(system: Secured) -> None:
    """Publish something harmless to every topic and wait until it is delivered: what came before it is delivered too."""
    pairs = [(app, name) for name, topic in system.table.topics.items() for app in topic.subscribe]
    before = {pair: _brought(system, *pair) for pair in pairs}
    for name, topic in system.table.topics.items():
        assert system.by(topic.publish[0], "POST", f"/v1.0/publish/pubsub/{name}", NOBODY_S).status == 204, name
    for pair in pairs:
        eventually(lambda pair=pair: _brought(system, *pair) > before[pair], within=30, what=f"{pair} hears")


# what is allowed


def test_an_order_passes_through_everything(running: Secured, orders: dict[str, str]) -> None:
    """Calls, topics, stores, the bank with its key, mails: all that the table allows is enough."""
    assert set(orders) == {"confirmed", "cancelled"}
    for app in running.table.apps:
        log = (running.home.logs / f"{app}.app.log").read_text()
        assert "access control policy has denied" not in log
        assert "ERR_PUBSUB_FORBIDDEN" not in log


def test_every_call_of_the_table_is_answered(running: Secured, asking: dict[str, Question]) -> None:
    failed = []
    for call in running.table.calls():
        question = asking[f"{call.verb} {call.path}"]
        heard = _invoked(running, call.caller, call.target, call.verb, call.path, question)
        if not question.answered(heard):
            failed.append(f"{call}: {heard.status} {heard.content[:200]!r}")
    assert failed == []


def test_every_topic_is_heard_by_those_whom_the_table_names(running: Secured) -> None:
    _fence(running)


def _invoked(
    system: Secured, caller: str, target: str, verb: str, path: str, question: Question, **headers: str
) -> Heard:
    there = f"/v1.0/invoke/{target}/method{question.path(path)}"
    return system.by(caller, verb, there, question.body if verb != "GET" else None, **headers)


# calls


def denied(heard: Heard) -> bool:
    """Tell whether the called one's sidecar refused."""
    return heard.status == 403 and b"access control policy has denied access" in heard.content


def test_every_other_call_is_refused_by_the_sidecar(system: Secured, asking: dict[str, Question]) -> None:
    assert wrong(_calls(system, asking), least=2000) == []


def _calls(system: Secured, asking: dict[str, Question]) -> Iterator[Probe]:
    """Try every caller, target, path and verb; and again under another's name."""
    allowed = set(system.table.calls())
    for target, operations in system.table.targets.items():
        ours = [tuple(operation.split(" ")) for operation in {**operations, **dict.fromkeys(CLOSED, [])}]
        also = [(verb, path) for _, path in ours for verb in ("PUT", "GET", "POST")]
        for caller, (verb, path) in product(system.table.apps, sorted({*ours, *also})):
            if caller == target or (caller, target, verb, path) in allowed:
                continue
            question = asking.get(f"{verb} {path}") or next(q for name, q in asking.items() if name.endswith(f" {path}"))
            ask = partial(_invoked, system, caller, target, verb, path, question)
            yield Probe(f"{caller} {verb} {target}{path}", ask, denied)
            if (verb, path) in ours:
                for name in ("gateway", target):
                    named = {CALLER: name, "Dapr-Caller-App-Id": name, "dapr-caller-namespace": "outrigger"}
                    yield Probe(f"{caller} as {name} {verb} {target}{path}", partial(ask, **named), denied)


# other spellings


def pairs(system: Secured) -> Iterator[tuple[str, str, str, list[str]]]:
    """Go through who may ask whom for something by POST, with that and some of what may not be asked."""
    for target, caller in product(system.table.targets, system.table.apps):
        mine = [c.path[1:] for c in system.table.calls() if (c.target, c.caller) == (target, caller)]
        posts = [name.split(" /") for name in system.table.targets[target]]
        others = [path for verb, path in posts if verb == "POST" and path not in mine]
        if mine:
            yield caller, target, mine[0], ["events", *others[:1], *others[-1:]]


def test_no_spelling_of_a_path_opens_it(system: Secured, asking: dict[str, Question]) -> None:
    """Some get past the sidecar (CVE-2026-41491); to the app they are no path of its own."""
    probes = []
    for caller, target, mine, others in pairs(system):
        for other in others:
            question = asking[f"POST /{other}"]
            for spelt in spellings(other, mine):
                ask = partial(system.by, caller, "POST", f"/v1.0/invoke/{target}/method/{spelt}", question.body)
                probes.append(Probe(f"{caller} {target}/{spelt}", ask, partial(_unanswered, question)))
    assert wrong(probes, least=1400) == []


def _unanswered(question: Question, heard: Heard) -> bool:
    return not question.answered(heard)


def test_an_app_knows_no_path_by_another(system: Secured, asking: dict[str, Question]) -> None:
    """As if a sidecar had taken it for the allowed one: with the right token."""
    probes = []
    for caller, target, mine, others in pairs(system):
        headers = {TOKEN: system.tokens[target].app, CALLER: caller}
        for other in others:
            question = asking[f"POST /{other}"]
            for spelt in disguises(other, mine):
                ask = partial(system.direct, target, "POST", f"/{spelt}", question.body, **headers)
                probes.append(Probe(f"{caller} {target}/{spelt}", ask, partial(_unanswered, question)))
    assert wrong(probes, least=500) == []


def test_no_spelling_of_a_name_opens_it(system: Secured, asking: dict[str, Question]) -> None:
    probes = []
    for caller, target, _, others in pairs(system):
        url = f"http://{LOOPBACK}:{system.service(target).ports.app}"
        encoded = url.replace(":", "%3A").replace("/", "%2F")
        spelt = f"%{ord(target[0]):02x}{target[1:]}"
        names = [
            spelt, f"{target}.outrigger", f"{target}%2Eoutrigger", f"{spelt}.outrigger", f"{target}.elsewhere",
            target.upper(), f"./{target}", f"x/../{target}", f"{target}%2F", f"{target}%00", f"{target};x", url, encoded,
        ]  # fmt: skip
        for other in others[:2]:
            question = asking[f"POST /{other}"]
            refused = partial(_unanswered, question)
            for name in names:
                ask = partial(system.by, caller, "POST", f"/v1.0/invoke/{name}/method/{other}", question.body)
                probes.append(Probe(f"{caller} {name}/{other}", ask, refused))
            ask = partial(system.by, caller, "POST", f"/{other}", question.body, **{"dapr-app-id": target})
            probes.append(Probe(f"{caller} {target}/{other} by header", ask, refused))
    assert wrong(probes, least=300) == []


def test_another_spelling_of_what_is_allowed_is_allowed(system: Secured, asking: dict[str, Question]) -> None:
    question = asking["POST /order-status"]
    for path in ("/v1.0/invoke/%6frders/method/order-status", "/v1.0/invoke/orders.outrigger/method/%6frder-status"):
        heard = system.by("inventory", "POST", path, question.body)
        assert question.answered(heard), heard.content


def test_no_name_of_a_method_opens_it_by_grpc(system: Secured, asking: dict[str, Question]) -> None:
    probes = []
    with ExitStack() as doors:
        open_doors = {app: doors.enter_context(grpc_door(system, app)) for app in system.table.apps}
        for caller, target, mine, others in pairs(system):
            for other in others[:2]:
                question = asking[f"POST /{other}"]
                refused = partial(_unanswered, question)
                body = json.dumps(question.body).encode()
                for spelt in [other, *spellings(other, mine)]:
                    ask = partial(open_doors[caller].invoke, target, spelt, body)
                    probes.append(Probe(f"{caller} {target} {spelt} by gRPC", ask, refused))
        assert wrong(probes, least=900) == []
        question = asking["POST /order-status"]
        heard = open_doors["inventory"].invoke("orders", "order-status", json.dumps(question.body).encode())
        assert question.answered(heard), heard.content


# topics


def test_nobody_hears_another_s_topic(system: Secured) -> None:
    """As a subscription that is made while the app runs; those of the table are made at its start."""
    probes = []
    with ExitStack() as doors:
        for app in system.table.apps:
            door = doors.enter_context(grpc_door(system, app))
            topics = {*system.table.topics, "users-dead", "nowhere", "ORDERS"} - {*system.table.heard(app)}
            probes += [Probe(f"{app} hears {t}", partial(door.subscribe, t), _unheard) for t in sorted(topics)]
        assert wrong(probes, least=50) == []
    _fence(system)


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


# components


def test_sidecars_open_what_the_table_names_and_nothing_else(system: Secured) -> None:
    for app in system.table.apps:
        told = system.by(app, "GET", "/v1.0/metadata").json
        found = {each["name"] for each in told.get("components") or ()} | {e["name"] for e in told.get("httpEndpoints") or ()}
        assert found == set(system.table.used(app)), app
        assert {each["topic"] for each in told.get("subscriptions") or ()} == set(system.table.heard(app)), app


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


def test_who_may_use_a_component_may(running: Secured) -> None:
    assert running.by("users", "GET", "/v1.0/state/store/lanes").status == 200
    mail = {"operation": "create", "data": "x", "metadata": {"fileName": "by-hand.txt"}}
    assert running.by("notifications", "POST", "/v1.0/bindings/mail", mail).status in {200, 204}
    heard = running.by("payments", "POST", "/v1.0/invoke/bank/method/authorize", {"key": "by-hand", "amount": "1.00"})
    assert heard.json["status"] == "authorized", "the sidecar puts the key, which payments cannot read, on the call"
    assert running.by("payments", "POST", "/v1.0/invoke/bank/method/void", {"key": "by-hand"}).status == 200


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


# secrets


def test_no_app_reads_a_secret(system: Secured) -> None:
    home = system.home
    hidden = [*read_keys(home.secrets).values(), *(v for f in home.credentials.iterdir() for v in read_keys(f).values())]
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
        ("POST", "/v1.0/publish/pubsub/{app}", forged), ("POST", "/v1.0/state/store", [{"key": "smuggled", "value": 1}]),
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


def test_events_of_their_owner_are_taken(running: Secured) -> None:
    """The twin of all that was forged: the same event, published by who may."""
    key = f"orders/doc:price:{SKU}"
    before = running.rows()[key]
    assert running.by("inventory", "POST", "/v1.0/publish/pubsub/inventory", price(2480.0)).status == 204
    eventually(lambda: running.rows()[key] != before, within=15, what="orders has the price")


# The last one: sidecars that call themselves `gateway` are found under that name.


def test_a_name_without_its_certificate_is_worth_nothing(system: Secured, asking: dict[str, Question]) -> None:
    """Another app; our gateway's name in another namespace; the same name without any certificate."""
    probes = []
    for target, operations in system.table.targets.items():
        for operation in {**operations, "POST /events": []} if operations else ():
            verb, path = operation.split(" ")
            for who, there in (("stranger", target), ("impostor", f"{target}.{system.table.namespace}")):
                ask = partial(_invoked, system, who, there, verb, path, asking[operation])
                probes.append(Probe(f"{who} {operation} of {target}", ask, denied))
            ask = partial(_invoked, system, "plain", target, verb, path, asking[operation])
            probes.append(Probe(f"plain {operation} of {target}", ask, _no_handshake))
    with bystanders(system):
        assert wrong(probes, least=120) == []


def _no_handshake(heard: Heard) -> bool:
    return heard.status == 500 and (b"code = Unavailable" in heard.content or b"connection is closing" in heard.content)
