"""Events as anybody may write them by hand."""

from typing import Any
from uuid import uuid4


def envelope(event_type: str, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the five members that everybody must give; `more` adds to them or replaces them."""
    return {
        "eventType": event_type,
        "eventId": str(uuid4()),
        "timestamp": "2026-01-01T00:00:00Z",
        "version": "1.0",
        "payload": payload,
        **more,
    }
