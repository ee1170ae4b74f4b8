"""A circuit opens, half-opens and closes; every change is a line in the caller's log and in its figures."""

import json
import re
from typing import Any

import pytest

from support.bank import Bank
from support.customer import Customer
from support.installation import Installation, ask
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CHANGES = r'outrigger_circuit_changes_total{target="bank",method="authorize",to="([a-z-]+)"} ([0-9]+)'


def stands(system: Installation) -> str:
    """Say how payments' circuit to the bank stands, as its page shows it."""
    told = ask(system.service("payments").app_url, "GET", "/status").json["circuits"]
    return next((each["state"] for each in told if (each["app"], each["method"]) == ("bank", "authorize")), "closed")


def counted(system: Installation) -> dict[str, int]:
    """Count the changes, by the new state, as Prometheus would read them."""
    text = ask(system.service("payments").app_url, "GET", "/metrics").content.decode()
    return {state: int(float(count)) for state, count in re.findall(CHANGES, text)}


def logged(system: Installation) -> list[dict[str, Any]]:
    lines = (system.home.logs / "payments.app.log").read_text().splitlines()
    found = [json.loads(line) for line in lines if '"a circuit changed"' in line]
    return [each for each in found if each["method"] == "authorize"]


def test_the_banks_circuit_opens_when_it_fails_and_closes_when_it_is_well(
    system: Installation, customer: Customer, bank: Bank
) -> None:
    before, lines = counted(system), len(logged(system))

    def ordering(state: str) -> bool:
        """Order something, so that the bank is asked; tells whether its circuit stands so."""
        customer.accepted("MAP-COAST")
        return stands(system) == state

    bank.trouble("fail", rate=0.6)
    eventually(lambda: ordering("open"), within=40, pause=0.2)
    bank.trouble("none")
    eventually(lambda: ordering("closed"), within=90, pause=1.0, what="it is tried after 30 s, and closes")
    after = counted(system)
    gone = {state: after[state] - before.get(state, 0) for state in after}
    assert gone["open"] >= gone["closed"] >= 1
    assert gone["half-open"] >= 1
    told = logged(system)[lines:]
    assert (told[0]["level"], told[0]["was"], told[0]["now"]) == ("WARNING", "closed", "open")
    assert (told[-1]["was"], told[-1]["now"]) == ("half-open", "closed")
    assert len(told) == sum(gone.values())
    customer.ended(customer.accepted("MAP-COAST"))
