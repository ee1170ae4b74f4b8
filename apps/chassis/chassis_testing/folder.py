"""An output binding in memory: what `bindings.localstorage` does with what it is given to keep."""

import base64
import binascii
from collections.abc import Mapping
from posixpath import normpath

from chassis.sidecar import Unanswered

NAME_BYTES = 255  # of a file, on every usual file system


class Folder:
    """A folder of files. Calling it is calling the binding."""

    def __init__(self) -> None:
        """Start empty."""
        self.files: dict[str, bytes] = {}

    def __call__(self, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Write a file, over what was there. No name leads out of the folder; what daprd answers 500 raises."""
        name = normpath("/" + metadata.get("fileName", "")).lstrip("/")
        if operation != "create" or not name or any(len(part.encode()) > NAME_BYTES for part in name.split("/")):
            raise Unanswered(f"error invoking output binding: {operation} {name!r}")
        self.files[name] = _decoded(data.encode())


def _decoded(data: bytes) -> bytes:
    """Decode what happens to be base64, as the real one does."""
    try:
        return base64.b64decode(data.replace(b"\r", b"").replace(b"\n", b""), validate=True)
    except binascii.Error:
        return data
