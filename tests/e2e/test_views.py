"""A view is built anew while it is read, and is the same to the byte."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from chassis.views import Slot, pointer
from support.customer import Customer
from support.http import Heard
from support.installation import Installation, ask
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

T = TypeVar("T")
SKUS = ["DRYBAG-10", "BARREL-30", "TENT-2", "KETTLE-1", "MAP-COAST"]


class Shelf:
    """One view's documents as they stand in its service's store."""

    def __init__(self, system: Installation, service: str, view: str) -> None:
        self.system, self.service, self.view = system, service, view

    def raw(self, key: str) -> bytes:
        return self.system.sidecar(self.service, "GET", f"/v1.0/state/store/{key}").content

    def value(self, key: str) -> Any:
        return self.system.sidecar(self.service, "GET", f"/v1.0/state/store/{key}").json

    @property
    def slot(self) -> Slot:
        stored = self.raw(pointer(self.view))
        return Slot(self.view, self.value(pointer(self.view))["active"] if stored else 0)

    def documents(self) -> dict[str, bytes]:
        """Return every document of the slot that is read, by its name within the slot."""
        slot = self.slot
        names = [slot.size, *(each for n in range(self.value(slot.size)) for each in self._names(slot, n))]
        prefix = f":{slot.generation % 2}"
        return {name.replace(prefix, "", 1): self.raw(name) for name in names}

    def _names(self, slot: Slot, number: int) -> Iterator[str]:
        """Name what there is of a group; an entry names a row, or is one."""
        yield slot.groups(number)
        group = self.value(slot.groups(number))
        yield slot.group(group)
        for n in range(self.value(slot.group(group))):
            yield slot.entry(group, n)
            if isinstance(subject := self.value(slot.entry(group, n)), str):
                yield slot.row(subject)


def every_view(system: Installation) -> list[Shelf]:
    """Return every view of every service."""
    states = {name: ask(one.app_url, "GET", "/status").json for name, one in system.run.services.items()}
    return [Shelf(system, name, view) for name, told in states.items() for view in told["views"]]


def listed(customer: Customer) -> Heard:
    heard = customer.ask("GET", "/api/v1/products")
    assert heard.status == 200, heard.content
    return heard


def offered(customer: Customer) -> list[Any]:
    return listed(customer).json["products"]


def rebuild(system: Installation, view: str) -> None:
    done = system.outrigger("rebuild", view)
    assert done.returncode == 0, done.stderr
    assert f"{view} of " in done.stdout


@contextmanager
def meanwhile(work: Callable[[], T], *, hands: int = 1) -> Iterator[list[T]]:
    """Do something again and again until the block ends; collects what came of it, and raises what went wrong."""
    done, stop = list[T](), threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            done.append(work())

    with ThreadPoolExecutor(hands) as pool:
        working = [pool.submit(repeat) for _ in range(hands)]
        try:
            eventually(lambda: done, within=30)
            yield done
        finally:
            stop.set()
    for each in working:
        each.result()


def ordering(customer: Customer) -> Callable[[], str]:
    """Return what places one order, until it is accepted."""
    turn = cycle(SKUS)
    return lambda: customer.persistently(next(turn), key=str(uuid4()), within=60)


def test_rebuilt_at_rest_every_view_is_the_same_to_the_byte(system: Installation, customer: Customer) -> None:
    for order in [customer.accepted(sku) for sku in SKUS]:
        customer.ended(order)
    assert system.audit(deadline=60)["clean"]  # which waits until everything is quiet
    before = listed(customer).content
    shelves = every_view(system)
    assert "products" in [shelf.view for shelf in shelves]
    for shelf in shelves:
        documents, generation = shelf.documents(), shelf.slot.generation
        rebuild(system, shelf.view)
        assert shelf.slot.generation == generation + 1
        assert shelf.documents() == documents
    assert listed(customer).content == before


def test_rebuilt_under_load_it_is_the_same_to_the_byte_and_always_whole(
    system: Installation, customer: Customer
) -> None:
    shelf = Shelf(system, "inventory", "products")
    before, count = shelf.documents(), len(offered(customer))
    generation = shelf.slot.generation
    with meanwhile(ordering(customer), hands=4) as orders, meanwhile(lambda: len(offered(customer))) as seen:
        before_it = len(orders)
        rebuild(system, "products")
        assert len(orders) > before_it
    assert shelf.slot.generation == generation + 1
    assert shelf.documents() == before
    assert set(seen) == {count}
    for order in orders:
        customer.ended(order)


def test_what_was_rebuilt_under_load_is_what_is_rebuilt_at_rest(system: Installation, customer: Customer) -> None:
    with meanwhile(ordering(customer), hands=4) as orders:
        for shelf in every_view(system):
            rebuild(system, shelf.view)
    for order in orders:
        customer.ended(order)
    assert system.audit(deadline=60)["clean"]
    for shelf in every_view(system):
        documents = shelf.documents()
        rebuild(system, shelf.view)
        assert shelf.documents() == documents


def test_a_second_rebuild_at_once_is_refused(system: Installation) -> None:
    url, body = system.service("inventory").app_url, b'{"view": "products"}'

    def refused() -> Heard | None:
        """Ask twice; None where the first had ended before the second came, which is quick."""
        first, second = (ask(url, "POST", "/rebuild", body, {"content-type": "application/json"}) for _ in range(2))
        return second if (first.status, second.status) == (202, 409) else None

    heard = eventually(refused, within=30)
    assert heard.json["detail"] == "view products is being rebuilt already; wait for it to end"
    eventually(lambda: ask(url, "GET", "/rebuild?view=products").json["building"] is None, within=30)


def test_an_unknown_view_is_named_with_those_there_are(system: Installation) -> None:
    done = system.outrigger("rebuild", "horoscopes")
    assert done.returncode == 1
    assert "There is no view horoscopes; there are: " in done.stderr
    assert "products (inventory)" in done.stderr
