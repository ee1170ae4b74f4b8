"""What the launcher changes while a system runs: its side of `outrigger swap`, `wipe-broker` and `scale`."""

import asyncio
import shutil
from typing import TYPE_CHECKING

from outrigger.choice import Broker
from outrigger.control import Tell, Wish
from outrigger.errors import LauncherError
from outrigger.parts import Part
from outrigger.resources import resource_kinds
from outrigger.swap import Swap

if TYPE_CHECKING:
    from outrigger.supervisor import Supervisor


async def carry_out(run: "Supervisor", wish: Wish, tell: Tell) -> str:
    """Do what is wished; returns what came of it, in JSON for a swap. Raises `LauncherError`."""
    match wish:
        case {"change": "swap", "broker": name}:
            return (await Swap(run, Broker(name), tell).done()).model_dump_json()
        case {"change": "wipe-broker"}:
            return await wipe(run)
        case {"change": "scale", **counts}:
            await run.scale({name: int(count) for name, count in counts.items()})
            return "done"
        case _:
            raise LauncherError(f"The launcher knows no such change: {wish}.")


async def wipe(run: "Supervisor") -> str:
    """Kill the broker, delete all that it holds, and start it, empty; returns its name."""
    if not (parts := broker_of(run)):
        raise LauncherError("This run has no broker of its own.")
    await run.remove(parts, grace=0)
    for folder in {part.command.folder for part in parts}:
        await asyncio.to_thread(shutil.rmtree, folder)
    await run.add(parts)
    return parts[-1].command.name


def broker_of(run: "Supervisor") -> list[Part]:
    """Return the parts of the broker that is in use."""
    folders = [folder for folder in run.plan.resources if folder.parent.name == "broker"]
    kinds = resource_kinds(folders)
    return [part for part in run.parts() if part.kind in kinds]
