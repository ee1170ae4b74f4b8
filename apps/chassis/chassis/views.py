"""Read models, folded from the service's own journal into documents that nothing else writes.

A view stands in one of two slots, by its generation. A row folds its subject's events strictly by revision: what comes
early is parked in the row. Rows are listed by group, each under its number, and the group's counter gives the numbers
out. A rebuild clears the idle slot, lets followers fill it from the first record while the other is read, and moves the
pointer when every lane has caught up.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from chassis import keys
from chassis.draft import Draft
from chassis.envelope import Envelope
from chassis.executor import Executor
from chassis.journal import Lanes
from chassis.problems import Conflict
from chassis.rules import Rules, S, View
from chassis.sidecar import Delete, ETagMismatch, Put, Sidecar

PAGE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one generation of a view is stored."""

    view: str
    generation: int

    def row(self, subject: str) -> str:
        """A row and its parked events."""
        return keys.key("viewrow", self.view, self.generation % 2, subject)

    def entry(self, group: str, number: int) -> str:
        """The subject of a group's row; or the row itself, in a view of births."""
        return keys.key("viewentry", self.view, self.generation % 2, group, number)

    def group(self, group: str) -> str:
        """How many rows a group has."""
        return keys.key("viewgroup", self.view, self.generation % 2, group)

    def groups(self, number: int) -> str:
        """The name of a group."""
        return keys.key("viewgroups", self.view, self.generation % 2, number)

    @property
    def size(self) -> str:
        """How many groups there are."""
        return keys.key("viewsize", self.view, self.generation % 2)


def pointer(view: str) -> str:
    """The document that says which generation is read and which, if any, is being built."""
    return keys.key("view", view)


def generations(stored: Any) -> list[int]:
    """Return the generations that are kept up to date."""
    if stored is None:
        return [0]
    return [stored["active"]] + ([stored["building"]] if stored["building"] is not None else [])


def follower_name(view: str, generation: int) -> str:
    """The name under which a generation's mark stands in a head."""
    return f"view/{view}/{generation}"


@dataclass(frozen=True, slots=True)
class Fold:
    """Fold some records of a lane into one generation of a view, and move its mark, in one transaction."""

    view: View[Any]
    slot: Slot
    rules: Rules
    events: Sequence[dict[str, Any]]
    after: int
    upto: int

    def keys(self) -> Iterator[str]:
        """Look at the rows, and at the counters of the lists in which new ones come to stand."""
        yield from (pointer(self.view.name), self.slot.size)
        for event in self.events:
            if not self.view.births:
                yield self.slot.row(event["subject"])
            if event["revision"] == 1 and self.view.takes(event):
                yield self.slot.group(self.view.group(self._fold(None, event)))

    def run(self, draft: Draft) -> None:
        """Apply each event once, in the order of its subject's revisions. Raises `Conflict` if it came too late."""
        if self.slot.generation not in generations(draft.get(pointer(self.view.name))):  # its slot is another's now
            raise Conflict(f"generation {self.slot.generation} of view {self.view.name} is over")
        name = follower_name(self.slot.view, self.slot.generation)
        if draft.mark(name) > self.after:
            raise Conflict(f"{name} has these records already")
        apply = self._born if self.view.births else self._apply
        new = [listed for event in self.events if (listed := apply(draft, event))]
        draft.need(self.slot.group(group) for group, _ in new)  # of rows whose first event was not theirs
        for group, entry in new:
            if self._append(draft, self.slot.group(group), partial(self.slot.entry, group), entry) == 0:
                self._append(draft, self.slot.size, self.slot.groups, group)
        draft.marks[name] = self.upto

    def give_up(self, draft: Draft, reason: Exception) -> Any:
        """A fold that raises is a bug to be seen, not an event to be lost: the follower stays and tries again."""
        raise reason

    def _born(self, _draft: Draft, event: dict[str, Any]) -> tuple[str, Any]:
        """Return group and state of a row that one event makes; the follower's mark alone sees to it that it is one."""
        state = self._fold(None, event)
        return self.view.group(state), state.model_dump(mode="json")

    def _apply(self, draft: Draft, event: dict[str, Any]) -> tuple[str, Any] | None:
        """Fold an event; returns group and subject of a row that is to be listed."""
        name = self.slot.row(event["subject"])
        row = draft.get(name) or {"revision": 0, "state": None, "parked": {}, "listed": False}
        if event["revision"] <= row["revision"] or str(event["revision"]) in row["parked"]:
            return None
        row = {**row, "parked": {**row["parked"], str(event["revision"]): event}}
        while (due := row["parked"].get(str(row["revision"] + 1))) is not None:
            row = self._folded(row, due)
        new = row["state"] is not None and not row["listed"]
        draft.put(name, {**row, "listed": row["listed"] or new})
        return (self.view.group(self.view.row.model_validate(row["state"])), event["subject"]) if new else None

    def _folded(self, row: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        state = None if row["state"] is None else self.view.row.model_validate(row["state"])
        if self.view.takes(event):
            state = self._fold(state, event)
        revision = row["revision"] + 1
        parked = {r: e for r, e in row["parked"].items() if int(r) > revision}
        return {**row, "revision": revision, "parked": parked, "state": state and state.model_dump(mode="json")}

    def _fold(self, state: Any, event: dict[str, Any]) -> Any:
        return self.view.fold(state, self.rules.catalogue.read(Envelope.parse(event)))

    @staticmethod
    def _append(draft: Draft, counter: str, place: Callable[[int], str], value: Any) -> int:
        count = draft.get(counter) or 0
        draft.place(place(count), value)
        draft.put(counter, count + 1)
        return count


class ViewFollower:
    """Keeps one generation of a view up to date with one lane."""

    history = True

    def __init__(self, view: View[Any], generation: int, rules: Rules) -> None:
        """Follow for `generation`."""
        self._view, self._rules, self._slot = view, rules, Slot(view.name, generation)
        self.name = follower_name(view.name, generation)

    async def follow(self, executor: Executor) -> None:
        """Fold from the mark on; lanes without anything for this view cost one mark a step."""
        while True:
            after = executor.marks.get(self.name, 0)
            records = await executor.records(after)
            events = [e for _, r in records for e in r["events"] if self._concerns(e)]
            if events:
                await executor.submit(Fold(self._view, self._slot, self._rules, events, after, records[-1][0]))
            executor.marks[self.name] = records[-1][0]

    def _concerns(self, event: dict[str, Any]) -> bool:
        """A row counts every revision of its subject, except where it needs the first one only."""
        if self._view.births:
            return self._view.takes(event)
        return any(event["subject"].startswith(f"{e.aggregate}/") for e in self._view.on)


class Views:
    """Reads views, and rebuilds them while they are read."""

    def __init__(self, sidecar: Sidecar, rules: Rules) -> None:
        """Serve the views that `rules` declare."""
        self._sidecar, self._rules = sidecar, rules
        self.building: list[str] = []

    async def followers(self) -> list[ViewFollower]:
        """Return one follower for every generation that is kept up to date."""
        names = list(self._rules.views)
        stored = await self._sidecar.read([pointer(n) for n in names]) if names else {}
        current = {n: stored[pointer(n)].value if pointer(n) in stored else None for n in names}
        self.building = [n for n, value in current.items() if value and value["building"] is not None]
        return [ViewFollower(self._rules.views[n], g, self._rules) for n in names for g in generations(current[n])]

    async def page(self, view: View[S], group: str, number: int) -> list[S]:
        """Return up to 100 rows, in order of first appearance; empty beyond the last."""
        slot = await self._active(view)
        return await self._rows(view, slot, group, range(number * PAGE_ROWS, (number + 1) * PAGE_ROWS))

    async def newest(self, view: View[S], group: str, before: int | None, count: int) -> tuple[list[S], int | None]:
        """Return up to `count` (at most 100) rows, newest first, and the `before` that continues, None at the end."""
        slot = await self._active(view)
        total = await self._value(slot.group(group)) or 0
        end = total if before is None else max(0, min(before, total))
        start = max(0, end - count)
        return await self._rows(view, slot, group, range(end - 1, start - 1, -1)), start or None

    async def _active(self, view: View[Any]) -> Slot:
        return Slot(view.name, generations(await self._value(pointer(view.name)))[0])

    async def _rows(self, view: View[S], slot: Slot, group: str, numbers: range) -> list[S]:
        states = await self._values([slot.entry(group, n) for n in numbers])
        if not view.births:
            states = [row["state"] for row in await self._values([slot.row(subject) for subject in states])]
        return [view.row.model_validate(state) for state in states]

    async def begin_rebuild(self, name: str) -> int:
        """Clear the idle slot and let followers fill it; returns the new generation. Raises `Conflict` if one runs."""
        stored = (await self._sidecar.read([pointer(name)])).get(pointer(name))
        value = stored.value if stored else {"active": 0, "building": None}
        if value["building"] is not None:
            raise Conflict(f"view {name} is being rebuilt already; wait for it to end")
        generation = value["active"] + 1
        await self._clear(Slot(name, generation))
        await self._point(name, stored.etag if stored else None, {**value, "building": generation})
        return generation

    async def finish_rebuild(self, name: str, lanes: Lanes) -> bool:
        """Move the pointer if the new slot has all that the old one has; tells whether no rebuild runs any more.

        Not "all that there is": under load no follower is ever at the tail.
        """
        stored = (await self._sidecar.read([pointer(name)]))[pointer(name)]
        if (building := stored.value["building"]) is None:
            return True
        old, new = (follower_name(name, each) for each in generations(stored.value))
        marks = [lane.head.followers for lane in await lanes.all()]
        if any(each.get(new, 0) < each.get(old, 0) for each in marks):
            return False
        await self._point(name, stored.etag, {"active": building, "building": None})
        return True

    async def progress(self, name: str, lanes: Lanes) -> dict[str, Any]:
        """Tell which generation is read and built, and how many of how many records are folded into the newest."""
        kept = generations(await self._value(pointer(name)))
        heads = [lane.head for lane in await lanes.all()]
        done = sum(head.followers.get(follower_name(name, kept[-1]), 0) for head in heads)
        building = kept[1] if len(kept) > 1 else None
        return {"view": name, "active": kept[0], "building": building, "done": done, "of": sum(h.tail for h in heads)}

    async def _point(self, name: str, etag: str | None, value: dict[str, Any]) -> None:
        try:
            await self._sidecar.transact([Put(pointer(name), value, etag=etag, insert=etag is None)])
        except ETagMismatch:
            raise Conflict(f"view {name} was changed by another replica; look again") from None

    async def _clear(self, slot: Slot) -> None:
        """Delete all of a slot, rows before the lists that name them, so that a broken-off clearing can be repeated."""
        births = self._rules.views[slot.view].births
        groups = range(await self._value(slot.size) or 0)
        for start in groups[::PAGE_ROWS]:
            for group in await self._values([slot.groups(n) for n in groups[start : start + PAGE_ROWS]]):
                await self._clear_group(slot, group, births=births)
        await self._delete([*map(slot.groups, groups), slot.size])

    async def _clear_group(self, slot: Slot, group: str, *, births: bool) -> None:
        numbers = range(await self._value(slot.group(group)) or 0)
        for start in numbers[::PAGE_ROWS]:
            entries = [slot.entry(group, n) for n in numbers[start : start + PAGE_ROWS]]
            await self._delete([] if births else [slot.row(subject) for subject in await self._values(entries)])
            await self._delete(entries)
        await self._delete([slot.group(group)])

    async def _delete(self, names: list[str]) -> None:
        for start in range(0, len(names), PAGE_ROWS):
            stored = await self._sidecar.read(names[start : start + PAGE_ROWS])
            if stored:  # by ETag: a deletion that lands late must not hit what was written since
                await self._sidecar.transact([Delete(n, s.etag) for n, s in sorted(stored.items())])

    async def _value(self, key: str) -> Any:
        return next(iter(await self._values([key])), None)

    async def _values(self, names: Sequence[str]) -> list[Any]:
        """Read some keys; absent ones are left out."""
        stored = await self._sidecar.read(names)
        return [stored[name].value for name in names if name in stored]
