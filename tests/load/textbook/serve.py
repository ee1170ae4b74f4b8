"""Serves an app exactly as the chassis does, so that the server is no difference."""

import os

import uvicorn
from fastapi import FastAPI

PUBSUB, STORE = "pubsub", "store"


def ready() -> dict[str, str]:
    """Say that requests are answered."""
    return {}


def serve(app: FastAPI) -> None:
    """Serve on the port that the launcher gave, which asks whether we are ready."""
    app.add_api_route("/ready", ready)
    port = int(os.environ["APP_PORT"])
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_config=None, access_log=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
