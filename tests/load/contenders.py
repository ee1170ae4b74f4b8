"""Who competes: four apps with one endpoint and one request model, and where their effects can be counted.

And the whole system, which competes with nobody: orders go in at the gateway and end confirmed.
"""

import sys
from dataclasses import dataclass, field

from outrigger.home import Home
from outrigger.template import App, Template

HOUR = "3600"  # no deadline may fall into a measurement


@dataclass(frozen=True, slots=True)
class Contender:
    """An app, by its id. `stored` begins the keys of its orders, `topic` is where it publishes; none for no effect.

    `keeper` is the app whose store has the orders, where it is another one.
    """

    name: str
    stored: str | None = None
    topic: str | None = None
    path: str = "/place-order"
    keeper: str = ""
    keys: bool = False  # whether each request carries an Idempotency-Key
    env: dict[str, str] = field(default_factory=dict)


OURS = Contender("orders", "orders||doc:order:", "orders", keys=True, env={"ORDER_DEADLINE_SECONDS": HOUR})
GATEWAY = Contender("gateway", OURS.stored, path="/api/v1/orders", keeper=OURS.name, keys=True)
SYSTEM = (
    GATEWAY,
    OURS,
    Contender("inventory", env={"RESERVATION_DEADLINE_SECONDS": HOUR}),
    Contender("users"),
    Contender("payments", env={"PAYMENT_DEADLINE_SECONDS": HOUR}),
    Contender("notifications"),
)
TEXTBOOK = Contender("textbook", "textbook||", "textbook-orders")
TUNED = Contender("tuned", "tuned||", "tuned-orders")
NOOP = Contender("noop")


def app_of(contender: Contender, template: Template, home: Home) -> App:
    """Return the run template's own entry, or that of orders with a baseline in the app's place."""
    own = {app.app_id: app for app in template.apps}
    if contender.name in own:
        return own[contender.name].model_copy(update={"env": contender.env})
    return own["orders"].model_copy(update={
        "app_id": contender.name, "app_dir_path": "../tests/load",
        "command": [sys.executable, "-m", f"load.textbook.{contender.name}"],
        "env": {"PYTHONPATH": str(home.root / "tests")},
    })  # fmt: skip
