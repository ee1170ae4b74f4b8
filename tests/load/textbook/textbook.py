"""Orders as Dapr's documentation shows it: a client per request, save the state, then publish the event.

It gives no guarantee: a crash between the two loses the event, a repeated request is a second order. It also hears
what inventory says, as proof that a service needs nothing of ours to consume our events.
"""

from typing import Annotated, Any

from dapr.clients import DaprClient
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI

from contracts.orders import OrderAccepted, OrderRequest
from load.textbook.orders import accept
from load.textbook.serve import PUBSUB, STORE, serve

TOPIC = "textbook-orders"

app = FastAPI(title="textbook")
heard: list[str] = []


@app.post("/place-order", status_code=202)
def place(wish: OrderRequest) -> OrderAccepted:
    """Accept an order."""
    accepted, order = accept(wish)
    with DaprClient() as client:
        client.save_state(STORE, accepted.order_id, order)
        client.publish_event(PUBSUB, TOPIC, order, data_content_type="application/json")
    return accepted


@DaprApp(app).subscribe(pubsub=PUBSUB, topic="inventory", route="/inventory-events")
def hear(event: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    """Take one of inventory's events: a CloudEvent whose data is the envelope."""
    heard.append(event["data"]["eventType"])
    return {"status": "SUCCESS"}


@app.get("/heard")
def what_was_heard() -> list[str]:
    """Tell the types of the events that came."""
    return heard


if __name__ == "__main__":
    serve(app)
