"""The same endpoint without an effect: what FastAPI, the model and the server cost alone."""

from fastapi import FastAPI

from contracts.orders import OrderAccepted, OrderRequest
from load.textbook.orders import accept
from load.textbook.serve import serve

app = FastAPI(title="noop")


@app.post("/place-order", status_code=202)
async def place(wish: OrderRequest) -> OrderAccepted:
    """Answer as if."""
    return accept(wish)[0]


if __name__ == "__main__":
    serve(app)
