"""Sidecars that somebody puts beside ours: a name without its certificate is worth nothing.

The last of the modules: two of them call themselves `gateway`, and are found under that name.
"""

from functools import partial

import pytest

from identity.bystanders import bystanders
from identity.invocation import denied, invoked
from identity.probes import Probe, wrong
from identity.questions import Question
from identity.secured import Secured
from identity.table import Call
from support.http import Heard

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def test_a_name_without_its_certificate_is_worth_nothing(system: Secured, asking: dict[str, Question]) -> None:
    """Another app; our gateway's name in another namespace; the same name without any certificate."""
    probes = []
    for target, operations in system.table.targets.items():
        for operation in {**operations, "POST /events": []} if operations else ():
            elsewhere = f"{target}.{system.table.namespace}"
            for who, name, refused in (
                ("stranger", target, denied), ("impostor", elsewhere, denied), ("plain", target, _no_handshake),
            ):  # fmt: skip
                call = Call(who, name, *operation.split(" "))
                probes.append(Probe(str(call), partial(invoked, system, call, asking[operation]), refused))
    with bystanders(system):
        assert wrong(probes, least=120) == []


def _no_handshake(heard: Heard) -> bool:
    return heard.status == 500 and (b"code = Unavailable" in heard.content or b"connection is closing" in heard.content)
