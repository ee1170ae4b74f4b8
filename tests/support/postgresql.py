"""PostgreSQL as the launcher starts it, alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from outrigger.choice import Choice, Store
from outrigger.home import Home
from outrigger.parts import Part, until_answering
from outrigger.plan import make_plan
from outrigger.processes import Child


@asynccontextmanager
async def postgresql(home: Home) -> AsyncIterator[tuple[Part, Child]]:
    """Run the server of an installation, with a database and a role for each service."""
    plan = make_plan(home, home.root, 20_001, Choice(store=Store.POSTGRESQL))
    plan.write_resources()
    part = next(part for part in plan.parts if part.command.name == "postgresql")
    part.prepare()
    child = Child(part.command, lambda _: None)
    await child.start()
    try:
        await until_answering(part)
        yield part, child
    finally:
        await child.stop(20)
