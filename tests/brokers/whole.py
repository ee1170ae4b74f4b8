"""The whole system on a chosen broker and store, in a folder with a space in its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chassis_testing.sidecars import untested
from support.installation import Installation

SERVERS = {"redis": "valkey", "rabbitmq": "rabbitmq", "kafka": "kafka"}
ORDER_DEADLINE = 30.0
SETTINGS = {"ORDER_DEADLINE_SECONDS": str(ORDER_DEADLINE), "RESERVATION_DEADLINE_SECONDS": "25", "LEASE": "3"}


@contextmanager
def running_on(folder: Path, broker: str, store: str, **more: str) -> Iterator[Installation]:
    """Run it and leave no process; where the machine lacks something the test is skipped, and fails in CI."""
    choice = ("--broker", broker, "--store", store)
    with _up(Installation.at(folder / "a folder", {**SETTINGS, **more}, choice), broker, store) as system:
        yield system


@contextmanager
def edited_for(folder: Path, broker: str, store: str) -> Iterator[Installation]:
    """Run it likewise, but the choice is one line each of `dapr/dapr.yaml`, and the command line says nothing."""
    system = Installation.at(folder / "a folder", SETTINGS)
    template = system.home.template.read_text()
    for usual, wanted in (("broker/redis", f"broker/{broker}"), ("store/sqlite", f"store/{store}")):
        assert template.count(usual) == 1
        template = template.replace(usual, wanted)
    system.home.template.write_text(template)
    with _up(system, broker, store):
        yield system


@contextmanager
def _up(system: Installation, broker: str, store: str) -> Iterator[Installation]:
    require(system, broker, store)
    system.up()
    try:
        yield system
    finally:
        system.down()


def require(system: Installation, broker: str, store: str) -> None:
    """Skip the test where the machine lacks something for this broker and this store; fail in CI."""
    looked = system.outrigger("doctor", "--broker", broker, "--store", store)
    if missing := [line for line in looked.stdout.splitlines() if line.startswith("BAD") and "port" not in line]:
        untested(f"NOT TESTED on {broker} and {store}: {'; '.join(missing)}")


def in_order(system: Installation) -> None:
    """Audit, when everything serves."""
    system.settle()
    found = system.audit(deadline=2 * ORDER_DEADLINE)
    assert found["clean"], "\n".join(found["violations"])


def broker_of(system: Installation) -> str:
    """Name the broker's process."""
    return SERVERS[system.run.broker]


def pids_of(system: Installation) -> dict[str, int | None]:
    """Name the processes of apps and sidecars."""
    pairs = (process for one in system.run.services.values() for process in (one.app, one.sidecar))
    return {process.name: process.pid for process in pairs}
