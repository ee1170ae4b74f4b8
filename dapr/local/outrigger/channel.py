"""The line between a command and the supervisor: JSON lines one way; from `outrigger up`, one word the other.

When the line is cut without that word, the terminal is gone and the supervisor stops.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from enum import StrEnum

LEAVE = b"leave\n"  # said by the front before it goes away for good (--detach)


class Kind(StrEnum):
    """What a message of the supervisor is about."""

    NOTE = "note"
    READY = "ready"  # or done
    FAILED = "failed"


def send(channel: socket.socket, kind: Kind, text: str = "") -> None:
    """Say something to the front, if it is still there."""
    with contextlib.suppress(OSError):
        channel.sendall(line(kind, text))


def line(kind: Kind, text: str) -> bytes:
    """Write a message."""
    return json.dumps({"kind": kind, "text": text}).encode() + b"\n"


def receive(channel: socket.socket) -> Iterator[tuple[Kind, str]]:
    """Yield what the supervisor says until it is gone."""
    with channel.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)
            yield Kind(message["kind"]), message["text"]
