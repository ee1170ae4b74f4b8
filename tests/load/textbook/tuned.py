"""The textbook's order of steps, as fast as the SDK does it: one asynchronous client for all requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dapr.aio.clients import DaprClient
from dapr.clients.health import DaprHealth
from fastapi import FastAPI, Request

from contracts.orders import OrderAccepted, OrderRequest
from load.textbook.orders import accept
from load.textbook.serve import PUBSUB, STORE, serve

TOPIC = "tuned-orders"


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    """Wait for the sidecar beside the loop, or the client's constructor would wait on it."""
    await asyncio.to_thread(DaprHealth.wait_for_sidecar)
    async with DaprClient() as app.state.dapr:
        yield


app = FastAPI(title="tuned", lifespan=connected)


@app.post("/place-order", status_code=202)
async def place(wish: OrderRequest, request: Request) -> OrderAccepted:
    """Accept an order."""
    accepted, order = accept(wish)
    client: DaprClient = request.app.state.dapr
    await client.save_state(STORE, accepted.order_id, order)
    await client.publish_event(PUBSUB, TOPIC, order, data_content_type="application/json")
    return accepted


if __name__ == "__main__":
    serve(app)
