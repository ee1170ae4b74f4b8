"""A counter that loses nothing and counts nothing twice: the smallest service on the chassis."""

from collections.abc import Sequence

from fastapi import Request, Response
from pydantic import BaseModel

from chassis.envelope import Command, Event
from chassis.problems import NotFound
from chassis.rules import Context, Documents, Rules
from chassis.service import Reply, Service

rules = Rules()


class Count(Command):
    """Count one more."""

    name: str


class Counted(Event):
    """One more was counted."""

    aggregate = "counter"
    key = "name"

    name: str


class Counter(BaseModel):
    """What is stored."""

    value: int


counter = rules.document("counter", Counter)


@counter.evolve
def evolve(state: Counter | None, _event: Counted) -> Counter:
    """Fold a fact."""
    return Counter(value=state.value + 1 if state else 1)


@rules.command(Count, loads=lambda command: (counter(command.name),))
def count(_docs: Documents, command: Count, _context: Context) -> Sequence[Event]:
    """Decide: here everybody may count."""
    return (Counted(name=command.name),)


service = Service("counter", rules)
app = service.app


@app.post("/count")
async def post(command: Count, request: Request) -> Response:
    """Count once for an Idempotency-Key, however often it comes."""
    key = service.key(request, caller="", body=await request.body())
    return (await service.submit(command, Reply(202), key=key)).response()


@app.get("/counter")
async def show(name: str) -> Counter:
    """Show a counter."""
    if (state := await service.read(counter(name))) is None:
        raise NotFound(f"nobody has counted {name} yet")
    return state


if __name__ == "__main__":
    service.run()
