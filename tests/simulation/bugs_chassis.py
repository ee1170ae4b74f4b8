"""Bugs planted in the chassis: in commits, verdicts, lanes, followers, copies, letters, views and the edge."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from chassis import keys
from chassis.draft import Doc, Draft
from chassis.engine import Engine
from chassis.executor import Attempt, Executor
from chassis.followers import PUBLISH_ENTRIES, Progress, Reaction, Relay, relayed
from chassis.journal import Head, Lane, Lanes
from chassis.rules import Ref
from chassis.service import IdempotencyKey, Service
from chassis.sidecar import ETagMismatch, Operation, Put, SidecarError, Unanswered
from chassis.views import Fold, Views
from chassis.work import Letter, Message, Redrive
from simulation.planting import Patch, bug


def _rewritten(patch: Patch, change: Any) -> None:
    original = Draft.operations

    def operations(self: Draft, head: Head, record: dict[str, Any] | None) -> list[Operation]:
        return [changed for each in original(self, head, record) if (changed := change(each))]

    patch.setattr(Draft, "operations", operations)


@bug("inbox")
def inbox_marks_are_not_looked_at(patch: Patch) -> None:
    patch.setattr(Message, "run", lambda self, draft: (draft.get(keys.inbox(self.id)), self.handle(draft))[1])


@bug("inbox")
def inbox_marks_of_events_are_not_written(patch: Patch) -> None:
    original = Draft.put

    def put(self: Draft, key: str, value: Any, *, ttl: int | None = None) -> None:
        if not (key.startswith("inbox:") and value == 1):
            original(self, key, value, ttl=ttl)

    patch.setattr(Draft, "put", put)


@bug("inbox")
def a_repeated_key_gets_a_new_answer(patch: Patch) -> None:
    patch.setattr(Message, "_again", lambda self, _known: self.reply)


@bug("inbox")
def the_idempotency_key_is_ignored(patch: Patch) -> None:
    patch.setattr(Service, "key", lambda _self, _request, **_more: None)


@bug("inbox")
def the_key_is_of_the_caller_alone(patch: Patch) -> None:
    def key(_self: Service, request: Any, *, caller: str, body: bytes) -> IdempotencyKey | None:
        found = request.headers.get("idempotency-key")
        return (
            IdempotencyKey(f"command/{keys.fingerprint(caller)}", keys.fingerprint(body), len(body)) if found else None
        )

    patch.setattr(Service, "key", key)


@bug("inbox")
def marks_are_of_subjects_instead_of_events(patch: Patch) -> None:
    original = Service.message

    def message(self: Service, data: Any) -> Message:
        made = original(self, data)
        return dataclasses.replace(made, id=f"{data.get('subject')}/{data['eventType']}".replace("/", "."))

    patch.setattr(Service, "message", message)


@bug("commit")
def published_before_the_commit(patch: Patch) -> None:
    original = Executor._attempt

    def attempt(self: Executor, draft: Draft, outcomes: list[Any]) -> Attempt:
        made = original(self, draft, outcomes)
        events = [relayed(e) for e in (made.record or {"events": []})["events"] if not e.get("private")]
        if events:
            asyncio.get_running_loop().create_task(_early(self, events[:PUBLISH_ENTRIES]))
        return made

    patch.setattr(Executor, "_attempt", attempt)


async def _early(owner: Executor, events: Sequence[Any]) -> None:
    with contextlib.suppress(SidecarError):
        await owner.sidecar.publish(owner.service, events)


@bug("commit")
def acknowledged_before_the_commit(patch: Patch) -> None:
    original = Engine.deliver

    async def deliver(self: Engine, work: Any, size: int) -> None:
        later = asyncio.get_running_loop().create_task(original(self, work, size))
        later.add_done_callback(lambda done: done.cancelled() or done.exception())

    patch.setattr(Engine, "deliver", deliver)


@bug("commit")
def the_head_is_not_in_the_transaction(patch: Patch) -> None:
    _rewritten(patch, lambda o: None if o.key.startswith("head:") else o)


@bug("commit")
def the_head_is_written_whatever_it_is(patch: Patch) -> None:
    _rewritten(patch, lambda o: o._replace(etag=None) if o.key.startswith("head:") else o)


@bug("commit")
def documents_are_written_whatever_they_are(patch: Patch) -> None:
    def blind(o: Operation) -> Operation:
        return Put(o.key, o.value) if isinstance(o, Put) and o.key.startswith("doc:") else o

    _rewritten(patch, blind)


@bug("commit")
def the_record_is_left_out(patch: Patch) -> None:
    _rewritten(patch, lambda o: None if o.key.startswith("journal:") and o.key.endswith("7") else o)


@bug("commit")
def documents_and_marks_in_two_transactions(patch: Patch) -> None:
    from simulation.replica import Wire  # noqa: PLC0415 - what it patches belongs to the simulation's own sidecar

    original = Wire.transact

    async def transact(self: Wire, operations: Sequence[Operation]) -> None:
        marks = [o for o in operations if o.key.startswith("inbox:")]
        rest = [o for o in operations if not o.key.startswith("inbox:")]
        await original(self, rest or marks)
        if marks and rest:
            await original(self, marks)

    patch.setattr(Wire, "transact", transact)


@bug("commit")
def absent_documents_are_not_guarded(patch: Patch) -> None:
    patch.setattr(Draft, "guard", lambda _self, _refs: None)


@bug("commit")
def later_messages_do_not_see_earlier_ones_changes(patch: Patch) -> None:
    original = Draft.get

    def get(self: Draft, key: str) -> Any:
        if self.parent and key.startswith("doc:") and key not in self.values:
            stored = self.base.stored.get(key)
            original(self, key)
            return stored.value if stored else None
        return original(self, key)

    patch.setattr(Draft, "get", get)


@bug("commit")
def documents_are_remembered_from_batch_to_batch(patch: Patch) -> None:
    remembered: dict[tuple[int, str], Doc] = {}
    original = Draft.doc

    def doc(self: Draft, ref: Ref[Any]) -> Doc:
        if not isinstance(self.get(ref.key), Doc):
            known = remembered.setdefault((id(self.base.rules), ref.key), original(self, ref))
            return known if known.state is not None else original(self, ref)
        return original(self, ref)

    patch.setattr(Draft, "doc", doc)
    _forget_with_each_world(patch, remembered)


def _forget_with_each_world(patch: Patch, memory: dict[Any, Any]) -> None:
    from simulation.town import Town  # noqa: PLC0415

    original = Town.__init__

    def init(self: Town, *args: Any) -> None:
        memory.clear()
        original(self, *args)

    patch.setattr(Town, "__init__", init)


@bug("commit")
def a_refused_batch_is_given_up_whole(patch: Patch) -> None:
    async def halve(_self: Executor, items: Sequence[Any], _error: Exception) -> None:
        for item in items:
            item.settle(getattr(item.work, "reply", None))

    patch.setattr(Executor, "_halve", halve)


@bug("verdict")
def the_verdict_is_taken_from_one_inbox_key(patch: Patch) -> None:
    original = Executor._prepare

    async def prepare(self: Executor, items: Sequence[Any], last: Attempt | None) -> Attempt | None:
        names = [keys.inbox(i.work.id) for i in items if isinstance(i.work, Message)]
        if last and names and await self.sidecar.read(names[:1]):
            self._answer(items, last.outcomes)
            return None
        return await original(self, items, last)

    patch.setattr(Executor, "_prepare", prepare)


@bug("verdict")
def an_unknown_outcome_is_taken_for_a_success(patch: Patch) -> None:
    original = Executor._prepare

    async def prepare(self: Executor, items: Sequence[Any], last: Attempt | None) -> Attempt | None:
        if last:
            self._committed(items, last)
            return None
        return await original(self, items, last)

    patch.setattr(Executor, "_prepare", prepare)


@bug("verdict")
def an_unknown_outcome_is_taken_for_a_failure(patch: Patch) -> None:
    async def settle(_self: Lanes, _number: int, _commit_before: str) -> None:
        await asyncio.sleep(0)

    patch.setattr(Lanes, "settle", settle)


@bug("verdict")
def a_refusal_leaves_no_trace(patch: Patch) -> None:
    patch.setattr(Message, "_refuse", lambda _self, _draft, problem: problem)


@bug("lanes")
def the_epoch_is_not_looked_at(patch: Patch) -> None:
    original = Executor._head

    def head(self: Executor, stored: Any) -> Head:
        return dataclasses.replace(original(self, stored), epoch=self.head.epoch)

    patch.setattr(Executor, "_head", head)


@bug("lanes")
def a_takeover_keeps_the_epoch(patch: Patch) -> None:
    original = Lanes.take

    async def take(self: Lanes, lane: Lane, followers: dict[str, bool]) -> Head | None:
        return await original(self, dataclasses.replace(lane, head=dataclasses.replace(lane.head, epoch=0)), followers)

    patch.setattr(Lanes, "take", take)


@bug("lanes")
def abandoned_lanes_stay_abandoned(patch: Patch) -> None:
    async def adopt(_self: Engine, _lane: Lane) -> None:
        await asyncio.sleep(0)

    patch.setattr(Engine, "_adopt", adopt)


@bug("lanes")
def a_takeover_is_believed_without_a_look(patch: Patch) -> None:
    async def write(self: Lanes, lane: Lane, head: Head) -> bool:
        put = Put(keys.head(lane.number), head.value(), etag=lane.etag, insert=lane.etag is None)
        with contextlib.suppress(ETagMismatch, Unanswered):
            await self.sidecar.transact([put])
        return True

    patch.setattr(Lanes, "_write", write)


@bug("lanes")
def a_new_owner_begins_at_the_tail(patch: Patch) -> None:
    original = Lanes.take

    async def take(self: Lanes, lane: Lane, followers: dict[str, bool]) -> Head | None:
        marks = dict.fromkeys(lane.head.followers, lane.head.tail)
        head = dataclasses.replace(lane.head, published=lane.head.tail, followers=marks)
        return await original(self, dataclasses.replace(lane, head=head), followers)

    patch.setattr(Lanes, "take", take)


@bug("lanes")
def numbers_begin_anew_with_a_new_owner(patch: Patch) -> None:
    original = Lanes.take

    async def take(self: Lanes, lane: Lane, followers: dict[str, bool]) -> Head | None:
        head = dataclasses.replace(lane.head, tail=max(0, lane.head.tail - 1))
        return await original(self, dataclasses.replace(lane, head=head), followers)

    patch.setattr(Lanes, "take", take)


@bug("followers")
def a_cursor_moves_when_work_begins(patch: Patch) -> None:
    def begin(self: Progress, number: int, count: int) -> None:
        self._open[number] = count
        self.settled = number

    patch.setattr(Progress, "begin", begin)
    patch.setattr(Progress, "_advance", lambda _self: None)


@bug("followers")
def the_highest_number_is_the_cursor(patch: Patch) -> None:
    def done(self: Progress, number: int) -> int:
        self.settled = max(self.settled, number)
        return self.settled

    patch.setattr(Progress, "done", done)


@bug("followers")
def entries_that_the_broker_refused_count_as_published(patch: Patch) -> None:
    original = Relay._publish

    async def publish(self: Relay, batch: list[Any]) -> list[Any]:
        failed = await original(self, batch)
        return failed if len(failed) == len(batch) else []

    patch.setattr(Relay, "_publish", publish)


@bug("followers")
def a_publish_without_an_answer_counts_as_done(patch: Patch) -> None:
    original = Relay._publish

    async def publish(self: Relay, batch: list[Any]) -> list[Any]:
        failed = await original(self, batch)
        return [] if len(failed) == len(batch) else failed

    patch.setattr(Relay, "_publish", publish)


@bug("followers")
def private_facts_are_published(patch: Patch) -> None:
    original = Relay._queue

    def queue(records: Any, waiting: Any, progress: Any) -> int:
        shown = [
            (n, {**record, "events": [{k: v for k, v in e.items() if k != "private"} for e in record["events"]]})
            for n, record in records
        ]
        return original(shown, waiting, progress)

    patch.setattr(Relay, "_queue", staticmethod(queue))


@bug("followers")
def a_reaction_that_failed_is_not_repeated(patch: Patch) -> None:
    async def settled(self: Reaction, owner: Executor, event: dict[str, Any]) -> None:
        await self._attempt(owner, event, f"{self.name}/{event['eventId']}", 1)

    patch.setattr(Reaction, "_until_settled", settled)


@bug("followers")
def reactors_follow_only_the_lane_of_their_own_process(patch: Patch) -> None:
    original = Engine._serve

    async def serve(self: Engine, running: Any) -> bool:
        if running.adopted:
            running.executor.stop()
            for name in [n for n in running.executor.marks if n.startswith("reactor/")]:
                running.executor.marks[name] = running.executor.head.tail
        return await original(self, running)

    patch.setattr(Engine, "_serve", serve)


@bug("copies")
def the_last_to_arrive_wins(patch: Patch) -> None:
    def fold(self: Message, draft: Draft, kind: Any, event: Any) -> None:
        ref = kind(event.aggregate_id)
        draft.put(ref.key, Doc.of(self.context.revision or 0, kind.apply(draft.doc(ref).state, event)))

    patch.setattr(Message, "_fold_copy", fold)


@bug("copies")
def the_first_to_arrive_stays(patch: Patch) -> None:
    original = Message._fold_copy

    def fold(self: Message, draft: Draft, kind: Any, event: Any) -> None:
        if draft.doc(kind(event.aggregate_id)).state is None:
            original(self, draft, kind, event)

    patch.setattr(Message, "_fold_copy", fold)


@bug("letters")
def a_letter_leaves_no_mark(patch: Patch) -> None:
    original = Letter.run

    def run(self: Letter, draft: Draft) -> None:
        original(self, draft)
        draft.values.pop(keys.inbox(self.message_id), None)

    patch.setattr(Letter, "run", run)


@bug("letters")
def letters_are_numbered_anew(patch: Patch) -> None:
    original = Letter.run

    def run(self: Letter, draft: Draft) -> None:
        original(self, draft)
        draft.dead_letters = 0

    patch.setattr(Letter, "run", run)


@bug("letters")
def a_redrive_does_not_look(patch: Patch) -> None:
    def run(self: Redrive, draft: Draft) -> None:
        letter = draft.get(self.letter)
        draft.get(keys.inbox(letter["id"]))
        assert self.message
        self.message.handle(draft)
        draft.put(self.letter, {**letter, "open": False})

    patch.setattr(Redrive, "run", run)


@bug("letters")
def a_redrive_leaves_the_key_as_it_was(patch: Patch) -> None:
    def run(self: Redrive, draft: Draft) -> None:
        letter = draft.get(self.letter)
        if letter["open"] and self.message:
            for event in self.message.handler.decide(draft, self.message.message, self.message.context):
                draft.emit(event, self.message.cause)
        draft.put(self.letter, {**letter, "open": False})

    patch.setattr(Redrive, "run", run)
    patch.setattr(Message, "done", lambda self, draft: draft.get(keys.inbox(self.id)) == 1
                  or (draft.get(keys.inbox(self.id)) or {}).get("hash") is not None)  # fmt: skip


@bug("letters")
def a_redrive_closes_the_letter_and_does_nothing(patch: Patch) -> None:
    def run(self: Redrive, draft: Draft) -> None:
        draft.put(self.letter, {**draft.get(self.letter), "open": False})

    patch.setattr(Redrive, "run", run)


@bug("views")
def a_view_folds_whatever_comes_first(patch: Patch) -> None:
    original = Fold._apply

    def apply(self: Fold, draft: Draft, event: dict[str, Any]) -> Any:
        name = self.slot.row(event["subject"])
        row = draft.get(name)
        if row and row["revision"] + 1 != event["revision"]:
            draft.put(name, {**row, "revision": event["revision"] - 1, "parked": {}})
        return original(self, draft, event)

    patch.setattr(Fold, "_apply", apply)


@bug("views")
def a_row_is_listed_with_every_event(patch: Patch) -> None:
    original = Draft.put

    def put(self: Draft, key: str, value: Any, *, ttl: int | None = None) -> None:
        if key.startswith("viewrow:"):
            value = {**value, "listed": False}
        original(self, key, value, ttl=ttl)

    patch.setattr(Draft, "put", put)


@bug("views")
def a_rebuilt_view_is_shown_too_early(patch: Patch) -> None:
    original = Views.finish_rebuild

    async def none() -> list[Any]:
        return []

    async def finish(self: Views, name: str, _lanes: Any) -> bool:
        done = await original(self, name, cast("Any", SimpleNamespace(all=none)))
        self.building.clear()
        return done

    patch.setattr(Views, "finish_rebuild", finish)


@bug("views")
def a_view_misses_what_other_replicas_wrote(patch: Patch) -> None:
    original = Views.followers

    async def followers(self: Views) -> Any:
        return [f for f in await original(self) if not f.name.startswith("view/") or _even(self)]

    patch.setattr(Views, "followers", followers)


def _even(views: Views) -> bool:
    return getattr(views._sidecar, "process").slot.name == "a"  # noqa: B009 - the simulation's own sidecar
