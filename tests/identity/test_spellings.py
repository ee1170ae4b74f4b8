"""Other spellings of paths, methods and names: none opens what is closed."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import product

import pytest

from chassis.sidecar import CALLER
from identity.grpc_door import grpc_door
from identity.probes import Probe, disguises, spellings, wrong
from identity.questions import Question
from identity.secured import TOKEN, Secured
from outrigger.ports import LOOPBACK
from support.http import Heard

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def pairs(system: Secured) -> Iterator[tuple[str, str, str, list[str]]]:
    """Go through who may ask whom for something by POST, with that and some of what may not be asked."""
    for target, caller in product(system.table.targets, system.table.apps):
        mine = [call.path[1:] for call in system.table.calls() if (call.target, call.caller) == (target, caller)]
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
            target.upper(), f"./{target}", f"x/../{target}", f"{target}%2F", f"{target}%00", f"{target};x", url,
            encoded,
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
