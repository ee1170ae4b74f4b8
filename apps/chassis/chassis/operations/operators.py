"""What an operator asks of a running service: how it stands, its figures, its dead letters, a view built anew.

`/status` and `/metrics` may be asked by anybody who can call the service. The rest is refused when it comes by service
invocation: an operator stands beside the app, other services do not. Figures are counted by what is there anyway and
written down when they are asked for (Prometheus text format), so that a request costs nothing more.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from chassis import keys
from chassis.envelope import Command
from chassis.followers import relayed
from chassis.journal import Lane
from chassis.operations import tracing
from chassis.operations.circuits import State
from chassis.problems import Conflict, Failed, Forbidden, Invalid, NotFound, Problem, Unprocessed
from chassis.sidecar import CALLER
from chassis.work import Redrive, Reply

if TYPE_CHECKING:
    from chassis.engine import Engine
    from chassis.service import Service

PAGE = 100
TEXT = "text/plain; version=0.0.4; charset=utf-8"
LETTER = r"^dead:(\d{1,9}):(\d{1,9})$"
log = logging.getLogger(__name__)

Figure = tuple[str, str, Sequence[tuple[Mapping[str, str], float]]]  # name, kind, values by labels


class LetterWish(Command):
    """Names a dead letter."""

    id: str = Field(pattern=LETTER)


class ViewWish(Command):
    """Names a view."""

    view: str = Field(min_length=1, max_length=100)


async def _no_service(request: Request) -> None:
    if CALLER in request.headers:
        raise Forbidden("this is for operators: ask the app itself, not by service invocation")


class Operators:
    """The operators' routes of one service."""

    def __init__(self, service: "Service") -> None:
        """Those that need an engine are there only where there is one."""
        self._service = service
        self.router = APIRouter(include_in_schema=False)
        self.router.add_api_route("/status", self.status, methods=["GET"])
        self.router.add_api_route("/metrics", self.metrics, methods=["GET"])
        if service.engine:
            own = APIRouter(dependencies=[Depends(_no_service)], include_in_schema=False)
            own.add_api_route("/dead-letters", self.letters, methods=["GET"])
            own.add_api_route("/dead-letter", self.letter, methods=["GET"])
            own.add_api_route("/redrive", self.redrive, methods=["POST"])
            own.add_api_route("/rebuild", self.rebuild, methods=["POST"])
            own.add_api_route("/rebuild", self.progress, methods=["GET"])
            self.router.include_router(own)

    # how it stands

    async def status(self) -> Response:
        """Show readiness, what is not as it should be, circuits and lanes."""
        known = await self._service.readiness()
        lanes = _lanes(self._service.engine) if self._service.engine else []
        totals = {name: sum(lane[name] for lane in lanes) for name in ("backlog", "queued", "deadLetters")}
        return Reply(200, {
            "service": self._service.name, "ready": known["ready"], "degraded": known.get("reasons", []),
            "reason": known.get("reason"), "circuits": [c.described() for c in self._service.sidecar.circuits],
            **totals, "lanes": lanes, "views": sorted(self._service.rules.views),
        }).response()  # fmt: skip

    async def metrics(self) -> Response:
        """Show the figures, for Prometheus."""
        engine = self._service.engine
        figures = [*_circuit_figures(self._service), *(_engine_figures(engine) if engine else ())]
        if walker := self._service.walker:
            repaired = [({"producer": name}, count) for name, count in sorted(walker.repaired.items())]
            lag = [({"producer": name}, records) for name, records in sorted(walker.lag.items())]
            brought = [({"topic": topic}, count) for topic, count in sorted(self._service.deliveries.items())]
            figures += [("outrigger_deliveries_total", "counter", brought)]
            figures += [("outrigger_deliveries_open", "gauge", [({}, self._service.delivering)])]
            figures += [("outrigger_repaired_events_total", "counter", repaired)]
            figures += [("outrigger_walker_lag_records", "gauge", lag)]
        return Response(exposition(figures), media_type=TEXT)

    # dead letters

    async def letters(
        self, after: Annotated[str | None, Query(pattern=LETTER)] = None, *, closed: bool = False
    ) -> Response:
        """List dead letters behind `after`, 100 looked at a time; those that were redriven only with `closed`."""
        names = list(islice(_names(await self._engine.lanes.all(), after), PAGE))
        stored = await self._service.sidecar.read(names)
        found = [{"name": n, **stored[n].value} for n in names if n in stored]
        shown = [_brief(letter) for letter in found if letter["open"] or closed]
        return Reply(200, {"letters": shown, "next": names[-1] if len(names) == PAGE else None}).response()

    async def letter(self, name: Annotated[str, Query(alias="id", pattern=LETTER)]) -> Response:
        """Show a dead letter with its message, or raise `NotFound`."""
        letter = await self._letter(name)
        return Reply(200, {**_brief({"name": name, **letter}), "message": letter["message"]}).response()

    async def redrive(self, wish: LetterWish) -> Response:
        """Do after all what a dead letter asks for; raises what stands in the way, and then it stays as it is."""
        letter = await self._letter(wish.id)
        if not letter["open"]:
            raise Conflict(f"{wish.id} was already redriven")
        again = {"event": self._handle, "reaction": self._react, "publication": self._publish}[letter["kind"]]
        if isinstance(letter["message"], dict):
            tracing.follow(letter["message"].get("traceparent"))
        try:
            await again(wish.id, letter)
        except Problem:
            raise
        except Exception as error:
            log.exception("a dead letter failed again", extra={"letter": wish.id})
            raise Failed(f"it failed again: {type(error).__name__}: {error}") from error
        return Reply(200, {"id": wish.id, "open": False}).response()

    async def _letter(self, name: str) -> dict[str, Any]:
        stored = (await self._service.sidecar.read([name])).get(name)
        if stored is None:
            raise NotFound(f"{self._service.name} has no dead letter {name}")
        return stored.value

    async def _handle(self, name: str, letter: dict[str, Any]) -> None:
        if not isinstance(letter["message"], dict):
            raise Invalid(f"this was never an event that could be read, so it stays as it is: {letter['reason']}")
        await self._service.redrive(name)

    async def _react(self, name: str, letter: dict[str, Any]) -> None:
        """Ask the reactor again, under the same key as ever, and do what it answers."""
        key, rules = letter["id"], self._service.rules
        reactor = rules.reactors.get(key.split("/")[1])
        if reactor is None:
            raise Invalid(f"there is no reactor {key.split('/')[1]} here any more")
        message = await self._engine.commands.react(reactor, letter["message"], key, letter["attempts"] + 1)
        await self._engine.submit(Redrive(name, message), keys.EVENT_BYTES)

    async def _publish(self, name: str, letter: dict[str, Any]) -> None:
        """Offer the event to the broker again; who has it from the journal already drops it."""
        event = letter["message"]
        if await self._service.sidecar.publish(self._service.name, [relayed(event)]):
            raise Unprocessed("the broker refuses this event still; see the sidecar's log for its reason")
        await self._engine.submit(Redrive(name, None), keys.EVENT_BYTES)

    # views

    async def rebuild(self, wish: ViewWish) -> Response:
        """Begin to build a view anew (202); raises `Conflict` while it is being built already."""
        await self._engine.begin_rebuild(self._known(wish.view))
        return Reply(202, await self._engine.views.progress(wish.view, self._engine.lanes)).response()

    async def progress(self, view: str) -> Response:
        """Tell how far a rebuild is: `done` of `of` records; `building` is null when none runs."""
        return Reply(200, await self._engine.views.progress(self._known(view), self._engine.lanes)).response()

    def _known(self, view: str) -> str:
        if view not in self._service.rules.views:
            views = ", ".join(sorted(self._service.rules.views)) or "none"
            raise NotFound(f"{self._service.name} has no view {view}; it has: {views}", field="view")
        return view

    @property
    def _engine(self) -> "Engine":
        assert self._service.engine  # noqa: S101 - these routes are there only with an engine
        return self._service.engine


def _names(lanes: Iterable[Lane], after: str | None) -> Iterator[str]:
    first, last = map(int, after.split(":")[1:]) if after else (0, 0)
    for lane in lanes:
        if lane.number >= first:
            begin = last + 1 if lane.number == first else 1
            yield from (keys.dead_letter(lane.number, n) for n in range(begin, lane.head.dead_letters + 1))


def _brief(letter: dict[str, Any]) -> dict[str, Any]:
    message = letter["message"]
    kind = message.get("eventType") if isinstance(message, dict) else None
    return {
        "id": letter["name"], "kind": letter["kind"], "messageId": letter["id"], "eventType": kind,
        "reason": letter["reason"], "attempts": letter["attempts"], "at": letter["at"], "open": letter["open"],
    }  # fmt: skip


def _lanes(engine: "Engine") -> list[dict[str, Any]]:
    return [
        {
            "lane": number, "adopted": r.adopted, "tail": r.executor.head.tail, "backlog": r.executor.backlog,
            "queued": r.executor.queued, "deadLetters": r.executor.head.dead_letters, "behind": _behind(r.executor),
        }
        for number, r in sorted(engine.running.items())
    ]  # fmt: skip


def _behind(executor: Any) -> dict[str, int]:
    """Records that each follower has yet to settle; a deadline's are behind on purpose."""
    return {name: executor.head.tail - mark for name, mark in sorted(executor.marks.items())}


def _circuit_figures(service: "Service") -> Iterator[Figure]:
    circuits = [({"target": c.app, "method": c.method}, c) for c in service.sidecar.circuits]
    stands = [({**name, "state": s}, float(c.state is s)) for name, c in circuits for s in State]
    yield "outrigger_circuit", "gauge", stands
    changes = [({**name, "to": s}, float(count)) for name, c in circuits for s, count in sorted(c.changes.items())]
    yield "outrigger_circuit_changes_total", "counter", changes


def _engine_figures(engine: "Engine") -> Iterator[Figure]:
    yield "outrigger_commands_accepted_total", "counter", [({}, engine.accepted)]
    lanes = [({"lane": str(number)}, r.executor) for number, r in sorted(engine.running.items())]
    yield "outrigger_commits_total", "counter", [(lane, x.commits) for lane, x in lanes]
    yield "outrigger_conflicts_total", "counter", [(lane, x.conflicts) for lane, x in lanes]
    yield "outrigger_queued", "gauge", [(lane, x.queued) for lane, x in lanes]
    yield "outrigger_backlog_records", "gauge", [(lane, x.backlog) for lane, x in lanes]
    yield "outrigger_dead_letters_total", "counter", [(lane, x.head.dead_letters) for lane, x in lanes]
    relays = [({"lane": str(number)}, r.relay.retried) for number, r in sorted(engine.running.items()) if r.relay]
    yield "outrigger_publish_retries_total", "counter", relays
    lags = [({**lane, "follower": name}, lag) for lane, x in lanes for name, lag in _behind(x).items()]
    yield "outrigger_follower_lag_records", "gauge", lags


def exposition(figures: Iterable[Figure]) -> str:
    """Write figures in Prometheus' text format."""
    lines = []
    for name, kind, values in figures:
        lines.append(f"# TYPE {name} {kind}")
        for labels, value in values:
            told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{name}{{{told}}} {value}" if told else f"{name} {value}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
