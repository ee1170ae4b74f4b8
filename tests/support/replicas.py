"""What is expected of several replicas of each service, on whatever broker and store."""

import json
import re
from collections import Counter

from support.customer import ENDED, Crowd, Customer
from support.installation import Installation, ask
from support.polling import eventually

SKUS = ["DRYBAG-10", "BARREL-30", "TENT-2", "KETTLE-1", "MAP-COAST"]
SERVICES = ("orders", "inventory", "users", "payments", "notifications")
ORDERS = 60
COMMITS = re.compile(r'^outrigger_commits_total{lane="(\d+)"} (\S+)$', re.MULTILINE)


def names(system: Installation, service: str) -> list[str]:
    """Name the replicas of a service, as `outrigger status` shows them."""
    shown = json.loads(system.outrigger("status", "--json").stdout)["services"]
    return [each["name"] for each in shown if each["appId"] == service]


def commits(system: Installation, replica: str) -> Counter[str]:
    """Count what a replica has committed, by lane; a lane that is given back takes its count along."""
    told = ask(system.service(replica).app_url, "GET", "/metrics").content.decode()
    return Counter({lane: int(float(count)) for lane, count in COMMITS.findall(told)})


def share_the_work(system: Installation, customer: Customer, count: int) -> None:
    """Each replica commits while orders come, and every order ends."""
    replicas = names(system, "orders")
    assert replicas == ["orders", *(f"orders-{number}" for number in range(1, count))]
    before = {replica: commits(system, replica) for replica in replicas}
    with Crowd(customer, SKUS, ORDERS) as crowd:
        pass
    assert {customer.ended(order, within=60)["status"] for order in crowd.accepted.values()} <= ENDED
    # An idle one commits too, for its lease; a busy one does so for every batch.
    shares = {replica: (commits(system, replica) - before[replica]).total() for replica in replicas}
    assert min(shares.values()) >= 5, shares


def scaled_in_mid_order(system: Installation, customer: Customer, count: int) -> None:
    """What the replicas that go had in hand is finished by those that stay; they leave nothing behind."""
    gone = [system.state_of(f"{name}.{kind}").process() for service in SERVICES
            for name in names(system, service)[count:] for kind in ("app", "daprd")]  # fmt: skip
    with Crowd(customer, SKUS, ORDERS) as crowd:
        eventually(lambda: len(crowd.accepted) >= ORDERS // 5, within=30, pause=0.005)
        system.scale(count)
    assert [len(names(system, service)) for service in SERVICES] == [count] * len(SERVICES)
    assert not [process for process in gone if process and process.is_running()]
    assert {customer.ended(order, within=90)["status"] for order in crowd.accepted.values()} <= ENDED
    assert crowd.again() == crowd.accepted, "a repeated request gave another order"


def owned(system: Installation, service: str) -> dict[str, list[int]]:
    """Tell who owns which lanes."""
    found: dict[str, list[int]] = {}
    for lane, head in system.ledger(service).heads.items():
        found.setdefault(head["owner"] or "", []).append(lane)
    return found


def a_paused_owner_is_fenced(system: Installation, customer: Customer, service: str) -> None:
    """Stopped for longer than its lease, and revived: it finds its lane taken, and goes on in another."""
    paused, instance = f"{service}-1.app", f"{service}-1"
    before = owned(system, service)[instance]
    epochs = {lane: system.ledger(service).heads[lane]["epoch"] for lane in before}
    with Crowd(customer, SKUS, ORDERS) as crowd:
        eventually(lambda: len(crowd.accepted) >= ORDERS // 5, within=30, pause=0.005)
        with system.frozen(paused):
            eventually(lambda: not set(before) & set(owned(system, service).get(instance, ())), within=40, pause=0.5)
    eventually(lambda: owned(system, service).get(instance), within=40, pause=0.5, what="it owns a lane again")
    heads = system.ledger(service).heads
    assert all(heads[lane]["epoch"] > epoch for lane, epoch in epochs.items())
    assert "fenced" in system.outrigger("logs", paused).stdout
    assert {customer.ended(order, within=90)["status"] for order in crowd.accepted.values()} <= ENDED
    assert crowd.again() == crowd.accepted, "a repeated request gave another order"
