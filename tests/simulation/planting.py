"""The table of planted bugs: each is a defence taken out, in memory, of code that otherwise runs as it is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chassis.rules import Handler, Reactor
from simulation.bodies import RULES, rules_of

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """One of them, named by what is no longer done."""

    name: str
    where: str
    plant: Plant


BUGS: list[Bug] = []


def bug(where: str) -> Callable[[Plant], Plant]:
    """Enter a bug into the table; its name is the function's."""

    def register(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__.strip("_").replace("_", " "), where, plant))
        return plant

    return register


def decides(patch: Patch, service: str, message: str, decide: Callable[..., Any]) -> None:
    """Let a service decide about a message otherwise."""
    for table in (RULES[service].events, RULES[service].commands):
        if message in table:
            patch.setitem(table, message, replace(table[message], decide=decide))
            return
    raise LookupError(f"{service} handles no {message}")


def handler(service: str, message: str) -> Handler:
    """Return how it is decided now."""
    rules = RULES[service]
    return rules.events.get(message) or rules.commands[message]


def reacts(patch: Patch, service: str, reactor: str, react: Callable[..., Any]) -> None:
    """Let a reactor do something else."""
    reactors = rules_of(service).reactors
    patch.setitem(reactors, reactor, replace(reactors[reactor], react=react))


def reactor_of(service: str, name: str) -> Reactor:
    """Return a reactor as it is now."""
    return rules_of(service).reactors[name]


def never(patch: Patch, service: str, message: str) -> None:
    """Let nothing follow from a message."""
    decides(patch, service, message, lambda _docs, _message, _context: ())
