"""`outrigger dead-letters`: messages that a service could not handle, why, and handling them after all.

A letter is named `service:lane:number`, for instance orders:0:3; in that service's log it is dead:0:3.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from outrigger.desk import Desk, Desks, Refusal
from outrigger.errors import LauncherError
from outrigger.state import RunState, current_run

app = typer.Typer(help="Show messages that could not be handled, and handle them after all.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, alone, on stdout.")]
Service = Annotated[str | None, typer.Option("--service", "-s", help="Only this service's.")]
_NAME = re.compile(r"(?P<service>[a-z][a-z0-9-]*):(?P<place>\d{1,9}:\d{1,9})")


@app.callback(invoke_without_command=True)
def letters(context: typer.Context, service: Service = None, as_json: AsJson = False) -> None:
    """List those that are open."""
    if context.invoked_subcommand is None:
        list_letters(service, closed=False, as_json=as_json)


@app.command("list")
def list_letters(
    service: Service = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those too that were redriven.")] = False,
    as_json: AsJson = False,
) -> None:
    """List those that are open, oldest first."""
    found = asyncio.run(all_letters(current_run(), service, closed=closed))
    if as_json:
        print(json.dumps(found))
    elif found:
        Console().print(table(found))
    else:
        print("No dead letters.")


@app.command()
def show(letter: Annotated[str, typer.Argument(help="Such as orders:0:1.")], as_json: AsJson = False) -> None:
    """Show one with its message and the reason."""
    found = asyncio.run(one_letter(current_run(), letter))
    print(json.dumps(found) if as_json else told(found))


@app.command()
def redrive(
    letter: Annotated[str | None, typer.Argument(help="Such as orders:0:1.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every one that is open.")] = False,
    service: Service = None,
    as_json: AsJson = False,
) -> None:
    """Handle one after all, or all; exit code 1 if one stays as it is."""
    if bool(letter) == every:
        raise LauncherError("Name one letter (`outrigger dead-letters` lists them), or say --all.")
    done = asyncio.run(redriven(current_run(), letter, service))
    if as_json:
        print(json.dumps(done))
    else:
        print("\n".join(_outcome(each) for each in done) or "No dead letters.")
    if not all(each["redriven"] for each in done):
        raise typer.Exit(1)


async def all_letters(run: RunState, service: str | None, *, closed: bool) -> list[dict[str, Any]]:
    """Read the letters of one service, or of all."""
    async with Desks(run) as desks:
        found = await asyncio.gather(*(_of(desk, closed=closed) for desk in await desks.keepers(service)))
    return [letter for each in found for letter in each]


async def one_letter(run: RunState, name: str) -> dict[str, Any]:
    """Read one letter; raises `LauncherError` where there is none of that name."""
    async with Desks(run) as desks:
        return _named(await _there(desks, name), await _letter(desks, name))


async def redriven(run: RunState, name: str | None, service: str | None) -> list[dict[str, Any]]:
    """Redrive one letter, or all open ones, one after the other; a refusal is an outcome."""
    async with Desks(run) as desks:
        if name:
            await _letter(desks, name)
            return [await _redriven(await _there(desks, name), name)]
        open_ones = [(desk, each) for desk in await desks.keepers(service) for each in await _of(desk, closed=False)]
        return [await _redriven(desk, letter["id"]) for desk, letter in open_ones]


async def _there(desks: Desks, name: str) -> Desk:
    match = _NAME.fullmatch(name)
    if match is None:
        raise LauncherError(f"{name} names no dead letter, as orders:0:1 would: `outrigger dead-letters` lists them.")
    return desks.one(match["service"])


async def _letter(desks: Desks, name: str) -> dict[str, Any]:
    desk = await _there(desks, name)
    try:
        return await desk.get("dead-letter", id=_place(name))
    except Refusal:
        raise LauncherError(f"There is no dead letter {name}: `outrigger dead-letters` lists them.") from None


async def _redriven(desk: Desk, name: str) -> dict[str, Any]:
    try:
        await desk.post("redrive", {"id": _place(name)})
    except Refusal as refusal:
        return {"id": name, "redriven": False, "reason": str(refusal)}
    return {"id": name, "redriven": True, "reason": None}


async def _of(desk: Desk, *, closed: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {"closed": "true"} if closed else {}
    while True:
        page = await desk.get("dead-letters", **query)
        found += [_named(desk, letter) for letter in page["letters"]]
        if page["next"] is None:
            return found
        query["after"] = page["next"]


def _named(desk: Desk, letter: dict[str, Any]) -> dict[str, Any]:
    """Name a letter among those of all services."""
    return {"service": desk.service, **letter, "id": letter["id"].replace("dead", desk.service, 1)}


def _place(name: str) -> str:
    """Name a letter as its service does."""
    return f"dead:{name.partition(':')[2]}"


def table(found: Sequence[dict[str, Any]]) -> Table:
    """Draw a list for people."""
    drawn = Table("letter", "kind", "about", "when", "why")
    for letter in found:
        about = letter["eventType"] or letter["messageId"]
        kind = letter["kind"] if letter["open"] else f"{letter['kind']}, redriven"
        drawn.add_row(letter["id"], kind, about, _moment(letter), escape(letter["reason"]))
    return drawn


def told(letter: dict[str, Any]) -> str:
    """Put a letter into words, with its message as it came."""
    message = letter["message"]
    text = message if isinstance(message, str) else json.dumps(message, indent=2, ensure_ascii=False)
    state = f"open: `outrigger dead-letters redrive {letter['id']}`" if letter["open"] else "redriven"
    lines = [
        f"letter    {letter['id']} ({letter['kind']}), {state}",
        f"message   {letter['messageId']}",
        f"when      {_moment(letter)}, after {letter['attempts']} attempts",
        f"why       {letter['reason']}",
    ]
    return "\n".join([*lines, "", text])


def _moment(letter: dict[str, Any]) -> str:
    return datetime.fromtimestamp(letter["at"]).astimezone().isoformat(sep=" ", timespec="seconds")


def _outcome(done: dict[str, Any]) -> str:
    return f"{done['id']} was redriven" if done["redriven"] else f"{done['id']} stays as it is: {done['reason']}"
