"""How far a service is with what another one told: up to which number of each lane every event is settled here.

A cursor belongs to one journal, by its id: a store that was wiped begins another, with numbers of its own. Types of
events have beginnings of their own: one that is handled since lately gets its history, and the others are not looked
at again.

`lanes`   what is settled, by lane
`types`   what is settled of a type beyond that, by type and lane; a type that is missing here was never handled

What is swept has the same form, and follows the cursor at a distance: what it covers was settled long ago, and needs no
inbox mark any more (`sweeper`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chassis import keys

_ORIGIN = re.compile(r"([^/]+)/([^/]+)/(\d{1,9})/(\d{1,15})#\d{1,9}", re.ASCII)


def name(producer: str, journal: str) -> str:
    """Where it is stored."""
    return keys.key("cursor", producer, journal)


def swept(producer: str, journal: str) -> str:
    """Where it is stored which events need no mark any more."""
    return keys.key("swept", producer, journal)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event of some type stands; `swept` is the key of what is swept of that journal."""

    swept: str
    kind: str
    lane: int
    number: int

    def over(self, stored: Any) -> bool:
        """Tell whether the event was settled so long ago that its mark may be gone."""
        return stored is not None and settled(stored, self.kind, self.lane, self.number)


def origin(text: str | None, kind: str) -> Origin | None:
    """Read an event's origin; None for what was published by hand."""
    found = _ORIGIN.fullmatch(text or "")
    return Origin(swept(found[1], found[2]), kind, int(found[3]), int(found[4])) if found else None


def including(stored: Mapping[str, Any] | None, wanted: Mapping[str, bool], tails: Sequence[int]) -> dict[str, Any]:
    """Return the cursor with all `wanted` types; each says whether it wants its history, or only what comes."""
    lanes, types = (stored["lanes"], stored["types"]) if stored else ({}, {})
    new = {
        kind: {} if history else {str(lane): tail for lane, tail in enumerate(tails)}
        for kind, history in wanted.items() if kind not in types
    }  # fmt: skip
    if not any(wanted[kind] for kind in new):
        return {"lanes": lanes, "types": {**types, **new}}
    kept = {
        kind: {lane: max(lanes.get(lane, 0), own.get(lane, 0)) for lane in lanes | own} for kind, own in types.items()
    }
    return {"lanes": {}, "types": {**kept, **new}}


def settled(cursor: Mapping[str, Any], kind: str, lane: int, number: int) -> bool:
    """Tell whether an event of this type in this record is settled."""
    own = cursor["types"].get(kind)
    return own is not None and number <= max(cursor["lanes"].get(str(lane), 0), own.get(str(lane), 0))
