"""The simulation's broker: it delivers in bulk to one replica of each subscriber, again and again until all is settled.

It can lose, double, delay and refuse what it is given, be wiped, and be swapped for another one. What it lost it
remembers, so that the world is not called quiet before those who should have had it have found it in the journals.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from chassis import keys
from chassis.reconciliation.cursor import origin
from chassis.sidecar import Entry
from chassis_testing.memory import MemoryBroker
from simulation.bodies import RULES

if TYPE_CHECKING:
    from simulation.town import Town

TICK = 0.01  # seconds that a bulk is waited for
AGAIN = 0.3  # until what was not settled is brought again
ACK_WITHIN = 4.0
BULK = 100
MOVES = (0.0, 0.02, 0.3, 1.0, 2.5)  # seconds from the beginning of a swap until a service's sidecars take part in it
STILL = 0.5  # of what is published to a broker that is on its way out is not taken
Parcel = tuple[str, bytes]  # the subscriber, the event as JSON


class Broker(MemoryBroker):
    """Takes entries from relays; subscribers are services."""

    def __init__(self, town: "Town", subscribers: Mapping[str, Sequence[str]]) -> None:
        """`subscribers`: topic -> services."""
        super().__init__()
        self.town, self.subscribers = town, subscribers
        self.armed: Counter[tuple[str, str]] = Counter()  # (kind, topic) -> how many more
        self.waiting: dict[str, list[bytes]] = {}
        self.lost: list[Parcel] = []
        self.flying = 0
        self.newest = 0  # of the brokers that there have been, the last, and
        self.connected = dict.fromkeys(RULES, 0)  # which each service's sidecars use
        self.early: list[tuple[int, str, list[bytes]]] = []  # on a broker that their subscriber does not use yet
        self.refuse = lambda topic, _entry: self._struck("event refused", topic) or self._stands_still(topic)

    @property
    def idle(self) -> bool:
        """Tell whether nothing is on its way."""
        return not self.flying and not self.early and not any(self.waiting.values())

    def _accept(self, topic: str, entry: Entry) -> None:
        event = orjson.dumps(entry.event)
        self.published.setdefault(topic, []).append(dict(entry.event))
        lost = self._struck("event lost after its 204", topic)
        copies = 1 + self._struck("event duplicated", topic)
        late = self.town.dice.choice((0.2, 1.0, 3.0)) if self._struck("event delayed", topic) else 0.0
        for service in self.subscribers.get(topic, ()):
            if lost:
                self.lost.append((service, event))
            for copy in range(0 if lost else copies):
                self._later(
                    late + copy * self.town.dice.choice((0.0, 0.1, 2.0)), service, [event], self.connected[topic]
                )

    def _struck(self, kind: str, topic: str) -> bool:
        if self.armed[kind, topic] <= 0:
            return False
        self.armed[kind, topic] -= 1
        self.town.hit(kind)
        return True

    def put(self, service: str, event: dict[str, Any]) -> None:
        """Let somebody publish by hand."""
        self._later(0.0, service, [orjson.dumps(event)], self.newest)

    def _later(self, delay: float, service: str, events: list[bytes], on: int) -> None:
        self.flying += len(events)
        delay += self.town.dice.choice((0.0, 0.0, 0.002, 0.01))
        self.town.loop.call_later(delay, self._arrive, service, events, on)

    def _arrive(self, service: str, events: list[bytes], on: int) -> None:
        self.flying -= len(events)
        if on > self.connected[service]:
            self.early.append((on, service, events))
            return
        if on < self.connected[service]:
            self.lost += [(service, event) for event in events]
            return
        queue = self.waiting.setdefault(service, [])
        if not queue:
            self.town.loop.call_later(TICK, self._bring, service)
        queue.extend(events)

    def _bring(self, service: str) -> None:
        bulk, self.waiting[service] = self.waiting[service][:BULK], self.waiting[service][BULK:]
        if self.waiting[service]:
            self.town.loop.call_later(TICK, self._bring, service)
        if bulk:
            self.flying += len(bulk)
            self.town.start(self._deliver(service, bulk))

    async def _deliver(self, service: str, bulk: list[bytes]) -> None:
        on = self.connected[service]
        entries = [{"entryId": str(n), "event": {"data": orjson.Fragment(event)}} for n, event in enumerate(bulk)]
        heard = await self.town.reach(service, "POST", "/events", orjson.dumps({"entries": entries}), {}, ACK_WITHIN)
        done = set()
        if heard and heard.status == 200:
            done = {s["entryId"] for s in heard.json["statuses"] if s["status"] == "SUCCESS"}
            self._check(service, [event for n, event in enumerate(bulk) if str(n) in done])
        self.flying -= len(bulk)
        left = [event for n, event in enumerate(bulk) if str(n) not in done]
        if left:
            self._later(AGAIN, service, left, on)

    def _check(self, service: str, taken: list[bytes]) -> None:
        """Who says that an event is settled has it in the store: the walk over journals must not be what saves it."""
        for event in map(orjson.loads, taken):
            if self._is_wanted(service, event):
                self.town.wrong.append(
                    f"{service} took {event['eventType']} {event['subject']}, and has not settled it"
                )

    def wipe(self) -> int:
        """Lose all that waits."""
        return sum(map(self._lose, self.waiting))

    def _lose(self, service: str) -> int:
        gone, self.waiting[service] = self.waiting.get(service, []), []
        self.lost += [(service, event) for event in gone]
        return len(gone)

    def swap(self) -> None:
        """Begin to use an empty one, each service from its own moment on; what lies on the old one is lost."""
        self.newest += 1
        for service in self.connected:
            self.flying += 1
            self.town.loop.call_later(self.town.dice.choice(MOVES), self._move, service, self.newest)

    def _move(self, service: str, to: int) -> None:
        self.flying -= 1
        left = self._lose(service)
        self.connected[service] = to
        early, self.early = self.early, []
        for on, subscriber, events in early:
            self._later(0.0, subscriber, events, on)
        if left or early:
            self.town.hit("broker swapped")

    def _stands_still(self, topic: str) -> bool:
        """Tell whether the broker that a producer uses still does not answer, as it is about to be stopped."""
        return self.connected[topic] < self.newest and self.town.dice.random() < STILL

    def missed(self) -> list[str]:
        """Name what was lost, is handled by somebody, and has not been by them."""
        self.lost = [(service, event) for service, event in self.lost if self._is_wanted(service, orjson.loads(event))]
        return [service for service, _ in self.lost]

    def _is_wanted(self, service: str, event: dict[str, Any]) -> bool:
        place = origin(event.get("origin"), event["eventType"])
        if place is None or event["eventType"] not in RULES[service].events:
            return False
        known = self.town.value(service, keys.inbox(event["eventId"])) is not None
        return not known and not place.over(self.town.value(service, place.swept))
