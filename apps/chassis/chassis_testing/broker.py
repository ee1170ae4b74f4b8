"""A broker in memory, for tests: it keeps what was published and delivers when asked to."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import orjson

from chassis.keys import MAX_INTEGER
from chassis.sidecar import Entry, Refused

Subscriber = Callable[[str, dict[str, Any]], Awaitable[bool]]
_DIFFERENT = re.compile(rb"[:,\[]-?\d(?:\d*\.0+[,}\]]|[\d.]*e|\d{15}|(?<=-0)[,}\]])")  # that Go writes otherwise
_WHOLE = re.compile(rb'(?<![\\:,\[{])":-?\d{1,15}\.0(?=[,}\]])')  # of these, whole numbers behind a key: most of all
DIGITS = len(str(MAX_INTEGER))
WHOLE = 1e21  # Go writes larger floats with an exponent


class MemoryBroker:
    """Remembers what was published, and hands it to the subscribers when `deliver` is awaited."""

    def __init__(self) -> None:
        """Start with no subscriber, losing nothing."""
        self.published: dict[str, list[dict[str, Any]]] = {}
        self.lose: Callable[[str, Entry], bool] = lambda _topic, _entry: False
        self.duplicate: Callable[[str, Entry], bool] = lambda _topic, _entry: False
        self.refuse: Callable[[str, Entry], bool] = lambda _topic, _entry: False
        self._groups: dict[tuple[str, str], list[Subscriber]] = {}
        self._waiting: list[tuple[tuple[str, str], str, str]] = []

    def attach(self, topic: str, subscriber: Subscriber, *, group: str = "") -> Callable[[], None]:
        """Subscribe; members of a group take turns. It answers True for done, False for "again". Returns a detach."""
        members = self._groups.setdefault((topic, group), [])
        members.append(subscriber)
        return lambda: members.remove(subscriber)

    def take(self, topic: str, entries: Sequence[Entry]) -> set[str]:
        """Accept entries for delivery; returns the ids of those it refused."""
        ids = {entry.entry_id for entry in entries}
        if len(ids) < len(entries) or "" in ids:
            raise Refused("entryId is duplicated or not present")
        refused = {entry.entry_id for entry in entries if self.refuse(topic, entry)}
        for entry in entries:
            if entry.entry_id not in refused:
                self._accept(topic, entry)
        return refused

    def _accept(self, topic: str, entry: Entry) -> None:
        event = json.dumps(entry.event)
        self.published.setdefault(topic, []).append(json.loads(event))
        copies = 0 if self.lose(topic, entry) else 2 if self.duplicate(topic, entry) else 1
        groups = [group for group in self._groups if group[0] == topic]
        self._waiting += [(group, topic, event) for group in groups for _ in range(copies)]

    async def deliver(self) -> int:
        """Hand over all that waits, concurrently; what is not done waits again. Returns how many were done."""
        waiting, self._waiting = self._waiting, []
        done = await asyncio.gather(*(self._hand(*each) for each in waiting))
        self._waiting += [each for each, ok in zip(waiting, done, strict=True) if not ok]
        return sum(done)

    async def _hand(self, group: tuple[str, str], topic: str, event: str) -> bool:
        members = self._groups[group]
        if not members:
            return False
        members.append(members.pop(0))
        return await members[-1](topic, json.loads(event))

    def wipe(self) -> int:
        """Lose all that waits, as a broker whose data is deleted; returns how many that were."""
        waiting, self._waiting = self._waiting, []
        return len(waiting)


def through_go(value: Any) -> Any:
    """Return what is left of a JSON value after daprd: sorted keys, float64 numbers (beyond 2^53 digits are lost)."""
    return orjson.loads(_written_by_go(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))


def as_stored(value: Any) -> bytes:
    """Return what `through_go` would leave, as JSON: most values come through as they are. Raises `Refused`."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise Refused(f"not JSON: {error}") from error
    return _written_by_go(data)


def _written_by_go(data: bytes) -> bytes:
    """Rewrite numbers; what is not plainly a value behind a key is left to a parser."""
    if data[0] not in b"{[":
        return data if data.isdigit() and len(data) < DIGITS else _reparsed(data)
    if b".0" in data:
        data = _WHOLE.sub(_without_fraction, data)
    return data if _DIFFERENT.search(data) is None else _reparsed(data)


def _without_fraction(found: re.Match[bytes]) -> bytes:
    return found[0][:-2]


def _reparsed(data: bytes) -> bytes:
    return orjson.dumps(json.loads(data, parse_int=_integer, parse_float=_number))


def _integer(text: str) -> int | float:
    return int(text) if len(text) < DIGITS else _number(text)


def _number(text: str) -> int | float:
    number = float(text)
    if not number.is_integer() or abs(number) >= WHOLE:
        return number
    return int(number) if abs(number) < MAX_INTEGER else int(Decimal(repr(number)))
