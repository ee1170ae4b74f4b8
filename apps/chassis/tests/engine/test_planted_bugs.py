"""The machine finds what it is there to find: each defence is taken out, and it must notice within so many examples.

The slow ones need a rare interleaving (some hundred examples); the others usually fall within ten.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis.stateful import run_state_machine_as_test
from test_state_machine import HUNT, Anything, Purchases

from chassis import executor, keys
from chassis.draft import Draft
from chassis.engine import Engine
from chassis.executor import Attempt, Executor
from chassis.followers import Commands, Progress
from chassis.journal import Head, Lane, Lanes
from chassis.sidecar import ETagMismatch, Operation, Put, Unanswered
from chassis.work import Letter, Message, Redrive

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
BUGS: list[Any] = []


def bug(plant: Plant) -> Plant:
    BUGS.append(pytest.param(plant, Anything, id=plant.__name__))
    return plant


def rare_bug(machine: type[Purchases]) -> Callable[[Plant], Plant]:
    def register(plant: Plant) -> Plant:
        BUGS.append(pytest.param(plant, machine, id=plant.__name__, marks=pytest.mark.slow))
        return plant

    return register


@rare_bug(Purchases)
def an_unknown_outcome_is_taken_for_a_failure(patch: Patch) -> None:
    async def settle(_self: Lanes, _number: int, _commit_before: str) -> None:
        await asyncio.sleep(0)

    patch.setattr(Lanes, "settle", settle)


@bug
def inbox_marks_are_ignored(patch: Patch) -> None:
    patch.setattr(Message, "run", lambda self, draft: (draft.get(keys.inbox(self.id)), self.handle(draft))[1])


@bug
def the_epoch_is_not_checked(patch: Patch) -> None:
    original = Executor._head

    def head(self: Executor, stored: Any) -> Head:
        return dataclasses.replace(original(self, stored), epoch=self.head.epoch)

    patch.setattr(Executor, "_head", head)


@bug
def a_takeover_keeps_the_epoch(patch: Patch) -> None:
    original = Lanes.take

    async def take(self: Lanes, lane: Lane, followers: dict[str, bool]) -> Head | None:
        return await original(self, dataclasses.replace(lane, head=dataclasses.replace(lane.head, epoch=0)), followers)

    patch.setattr(Lanes, "take", take)


@rare_bug(Anything)
def the_verdict_is_taken_from_one_inbox_key(patch: Patch) -> None:
    original = Executor._prepare

    async def prepare(self: Executor, items: Sequence[Any], last: Attempt | None) -> Attempt | None:
        names = [keys.inbox(i.work.id) for i in items if isinstance(i.work, Message)]
        if last and names and await self.sidecar.read(names[:1]):
            self._answer(items, last.outcomes)
            return None
        return await original(self, items, last)

    patch.setattr(Executor, "_prepare", prepare)


@bug
def an_unknown_outcome_is_taken_for_a_success(patch: Patch) -> None:
    original = Executor._prepare

    async def prepare(self: Executor, items: Sequence[Any], last: Attempt | None) -> Attempt | None:
        if last:
            self._answer(items, last.outcomes)
            return None
        return await original(self, items, last)

    patch.setattr(Executor, "_prepare", prepare)


@bug
def what_a_failed_handler_changed_stays(patch: Patch) -> None:
    def merged(draft: Draft, run: Any) -> Any:
        fork = draft.fork()
        try:
            return run(fork)
        finally:
            draft.merge(fork)

    patch.setattr(executor, "_merged", merged)


def _rewritten(patch: Patch, change: Callable[[Operation], Operation | None]) -> None:
    original = Draft.operations

    def operations(self: Draft, head: Head, record: dict[str, Any] | None) -> list[Operation]:
        return [changed for each in original(self, head, record) if (changed := change(each))]

    patch.setattr(Draft, "operations", operations)


@bug
def the_head_is_not_in_the_transaction(patch: Patch) -> None:
    _rewritten(patch, lambda o: None if o.key.startswith("head:") and o.key != "head:0" else o)


@bug
def the_head_is_written_whatever_it_is(patch: Patch) -> None:
    _rewritten(patch, lambda o: o._replace(etag=None) if o.key.startswith("head:") else o)


@bug
def documents_are_written_whatever_they_are(patch: Patch) -> None:
    def blind(o: Operation) -> Operation:
        return Put(o.key, o.value) if isinstance(o, Put) and o.key.startswith("doc:") else o

    _rewritten(patch, blind)


@bug
def marks_are_advanced_when_work_begins(patch: Patch) -> None:
    def begin(self: Progress, number: int, count: int) -> None:
        self._open[number] = count
        self.settled = number

    patch.setattr(Progress, "begin", begin)
    patch.setattr(Progress, "_advance", lambda _self: None)


@rare_bug(Anything)
def the_highest_number_is_the_mark(patch: Patch) -> None:
    def done(self: Progress, number: int) -> int:
        self.settled = max(self.settled, number)
        return self.settled

    patch.setattr(Progress, "done", done)


@rare_bug(Anything)
def a_reaction_has_a_new_id_every_time(patch: Patch) -> None:
    original = Commands.reaction

    def reaction(self: Commands, command: Any, key: str, event: Any) -> Message:
        made = original(self, command, key, event)
        return dataclasses.replace(made, id=f"{key}/{made.cause.seed}")

    patch.setattr(Commands, "reaction", reaction)


@bug
def abandoned_lanes_stay_abandoned(patch: Patch) -> None:
    async def adopt(_self: Engine, _lane: Lane) -> None:
        await asyncio.sleep(0)

    patch.setattr(Engine, "_adopt", adopt)


@bug
def older_copies_win(patch: Patch) -> None:
    def fold(self: Message, draft: Draft, kind: Any, event: Any) -> None:
        ref = kind(event.aggregate_id)
        doc = draft.doc(ref)
        draft.put(ref.key, type(doc).of(self.context.revision or 0, kind.apply(doc.state, event)))

    patch.setattr(Message, "_fold_copy", fold)


@bug
def a_letter_is_written_for_what_was_done(patch: Patch) -> None:
    def run(self: Letter, draft: Draft) -> None:
        draft.dead_letters += 1
        name = keys.dead_letter(draft.base.lane, draft.dead_letters)
        draft.get(keys.inbox(self.message_id))
        draft.put(keys.inbox(self.message_id), {"dead": name})
        draft.place(name, {"id": self.message_id, "kind": self.kind, "message": self.message, "open": True})

    patch.setattr(Letter, "run", run)
    patch.setattr(executor.GivenUp, "run", lambda self, draft: self.work.give_up(draft, self.reason))


@rare_bug(Anything)
def a_redrive_does_not_look(patch: Patch) -> None:
    def run(self: Redrive, draft: Draft) -> None:
        letter = draft.get(self.letter)
        draft.get(keys.inbox(letter["id"]))
        assert self.message
        self.message.handle(draft)
        draft.put(self.letter, {**letter, "open": False})

    patch.setattr(Redrive, "run", run)


@rare_bug(Purchases)
def a_refusal_leaves_no_trace(patch: Patch) -> None:
    patch.setattr(Message, "_refuse", lambda _self, _draft, problem: problem)


@bug
def a_takeover_is_believed_without_a_look(patch: Patch) -> None:
    async def write(self: Lanes, lane: Lane, head: Head) -> bool:
        put = Put(keys.head(lane.number), head.value(), etag=lane.etag, insert=lane.etag is None)
        with contextlib.suppress(ETagMismatch, Unanswered):
            await self.sidecar.transact([put])
        return True

    patch.setattr(Lanes, "_write", write)


@pytest.mark.timeout(1800)  # a changed literal deals other examples
@pytest.mark.parametrize(("plant", "machine"), BUGS)
def test_is_found(plant: Plant, machine: type[Purchases], monkeypatch: Patch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=HUNT)
