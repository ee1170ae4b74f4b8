"""Bugs planted in the walk over others' journals."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from chassis.reconciliation import cursor, sweeper, walker
from chassis.reconciliation.cursor import Origin
from chassis.reconciliation.journals import Journals
from chassis.reconciliation.walker import Page, Walker, Watch
from chassis.work import Message
from simulation.planting import Patch, bug


@bug("walker")
def nobody_walks(patch: Patch) -> None:
    async def never(_self: Walker) -> bool:
        return False

    patch.setattr(Walker, "_is_its_turn", never)


@bug("walker")
def the_cursor_moves_over_what_is_missing(patch: Patch) -> None:
    async def none(_self: Walker, _events: Iterable[str]) -> set[str]:
        return set()

    patch.setattr(Walker, "_missing", none)


@bug("walker")
def the_cursor_moves_to_the_tail(patch: Patch) -> None:
    original = Walker._lane

    async def lane(self: Walker, place: Any, cursor: Any, tail: int) -> int:
        await original(self, place, cursor, tail)
        return tail

    patch.setattr(Walker, "_lane", lane)


@bug("walker")
def only_the_first_lane_is_walked(patch: Patch) -> None:
    original = Walker._lane

    async def lane(self: Walker, place: Any, cursor: Any, tail: int) -> int:
        return await original(self, place, cursor, tail) if place.lane == 0 else tail

    patch.setattr(Walker, "_lane", lane)


@bug("walker")
def what_is_missing_is_never_fetched(patch: Patch) -> None:
    patch.setattr(Watch, "stuck", lambda *_: False)


@bug("walker")
def only_the_first_that_is_missing_is_fetched_and_the_others_are_passed(patch: Patch) -> None:
    original = Page.lost

    def lost(self: Page, missing: set[str]) -> tuple[list[str], bool]:
        found, silent = original(self, missing)
        del found[1:]
        missing.clear()
        return found, silent

    patch.setattr(Page, "lost", lost)


@bug("walker")
def what_is_fetched_is_not_handled(patch: Patch) -> None:
    original = Walker._fetch

    async def fetch(self: Walker, place: Any, lost: dict[str, int]) -> None:
        deliver, self._service.deliver = self._service.deliver, _forget  # type: ignore[method-assign]
        try:
            await original(self, place, lost)
        finally:
            self._service.deliver = deliver  # type: ignore[method-assign]

    patch.setattr(Walker, "_fetch", fetch)


async def _forget(_delivered: Any) -> None:
    return None


@bug("walker")
def a_producer_tells_of_half_its_records(patch: Patch) -> None:
    original = Journals._read

    async def read(self: Journals, lane: int, numbers: Any) -> Any:
        return [(n, events if n % 2 else []) for n, events in await original(self, lane, numbers)]

    patch.setattr(Journals, "_read", read)


@bug("walker")
def a_cursor_is_settled_for_every_type(patch: Patch) -> None:
    patch.setattr(walker, "settled", lambda *_: True)


@bug("sweeper")
def what_was_swept_is_handled_when_it_comes_again(patch: Patch) -> None:
    original = Message.done
    patch.setattr(Message, "done", lambda self, draft: original(replace(self, origin=None), draft))


@bug("sweeper")
def the_marks_of_dead_letters_are_swept(patch: Patch) -> None:
    patch.setattr(sweeper, "needless", lambda _mark: True)


@bug("sweeper")
def a_new_event_is_taken_for_one_that_was_swept(patch: Patch) -> None:
    patch.setattr(Origin, "over", lambda _self, stored: stored is not None)


@bug("sweeper")
def what_is_swept_covers_the_tail(patch: Patch) -> None:
    original = cursor.settled

    def settled(stored: Any, kind: str, lane: int, number: int) -> bool:
        ahead = {own: at + 5 for own, at in stored["lanes"].items()} if "gone" in stored else stored["lanes"]
        return original({**stored, "lanes": ahead}, kind, lane, number)

    patch.setattr(cursor, "settled", settled)
