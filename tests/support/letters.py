"""Events that orders cannot handle, because they are bad or because orders is, and the letters that come of them."""

import json
from pathlib import Path
from typing import Any

from support.events import envelope
from support.installation import Installation, ask
from support.polling import eventually


def price_changed(name: str, **more: Any) -> dict[str, Any]:
    return envelope("PriceChanged", {"sku": "KETTLE-1", "name": name, "price": 9.99}, **more)


def dead_letters(system: Installation, *command: str, code: int = 0) -> Any:
    """Ask the command line for JSON."""
    done = system.outrigger("dead-letters", *command, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def letter_of(system: Installation, event: dict[str, Any]) -> dict[str, Any]:
    """Publish an event through a sidecar and wait for the dead letter that comes of it at orders."""
    before = len(kept(system))
    system.publish("inventory", event)
    (name,) = eventually(lambda: kept(system)[before:], within=20)
    (letter,) = (each for each in dead_letters(system, "list", "-s", "orders") if each["id"] == name)
    return letter


def kept(system: Installation) -> list[str]:
    """Return the names of all letters of orders, those that were redriven too."""
    heard = ask(system.service("orders").app_url, "GET", "/dead-letters?closed=true")
    return [letter["id"].replace("dead", "orders") for letter in heard.json["letters"]]


BUG = "\n\n@price.evolve\ndef buggy(_state: object, _event: object) -> PriceState:\n    raise LookupError('a bug')\n"


def deploy(system: Installation, module: Path, text: str) -> None:
    """Write other code for orders, and start it again."""
    module.write_text(text)
    eventually(system.kill("orders.app"), within=30)
    system.settle()


def copies(system: Installation) -> tuple[Path, str]:
    """Find the module of orders that copies prices, and what is in it."""
    module = system.home.root / "apps" / "orders" / "orders" / "placing.py"
    good = module.read_text()
    assert "@price.evolve" in good, "the copy of prices, which is to be broken here, is somewhere else now"
    return module, good
