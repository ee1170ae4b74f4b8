"""What is printed when everything is ready: where to look, and a command that works."""

import asyncio
import json

from outrigger.edge import Busy, Edge
from outrigger.errors import LauncherError
from outrigger.state import RunState

_FALLBACK = "sku-1"
_PARTS = """Ready: {parts}

Start the services with the Dapr CLI, on the resources that were rendered for this run:
  dapr run -f .outrigger
"""


def welcome(run: RunState, *, detached: bool) -> str:
    """Return the text, with a product that is in the catalogue now; for parts alone, how to start the services."""
    if not run.services:
        return _PARTS.format(parts=", ".join(run.parts))
    order = {"userId": "user-1", "items": [{"sku": asyncio.run(_some_sku(run.gateway)), "quantity": 2}]}
    stop = "\n  outrigger down           stop it" if detached else ""
    traces = f"\n  {zipkin:<24} traces, in a few seconds" if (zipkin := run.urls.get("zipkin")) else ""
    return f"""Ready: {run.gateway}

Place an order:
  curl -i -X POST {run.gateway}/api/v1/orders -H 'content-type: application/json' \\
    -H 'Idempotency-Key: my-first' -d '{json.dumps(order)}'
and look at it under the Location that it answers.

More (in .venv/bin):
  outrigger order --count 100 --wait
  outrigger status         processes and ports
  outrigger logs -f        what they say{stop}{traces}
"""


async def _some_sku(url: str) -> str:
    try:
        async with Edge.at(url, timeout=5) as edge:
            return (await edge.products())[0]["sku"]
    except (Busy, LauncherError, LookupError, TypeError):
        return _FALLBACK
