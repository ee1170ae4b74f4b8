"""Who hears of the textbook's orders, written as Dapr's documentation shows it. Nobody kills it: it only counts."""

import os
from pathlib import Path
from typing import Annotated, Any

from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI

from load.textbook.serve import PUBSUB, serve
from load.textbook.textbook import TOPIC

app = FastAPI(title="listener")


@DaprApp(app).subscribe(pubsub=PUBSUB, topic=TOPIC, route="/order-events")
def hear(event: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    """Write down of which order this is."""
    with Path(os.environ["HEARD"]).open("a") as file:
        file.write(f"{event['data']['orderId']}\n")
    return {"status": "SUCCESS"}


if __name__ == "__main__":
    serve(app)
