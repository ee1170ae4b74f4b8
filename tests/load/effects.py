"""What really happened: orders in a store's file, events in the broker's stream. No service's counter is asked."""

import sqlite3
from pathlib import Path

import valkey

from outrigger.ports import LOOPBACK


def stored(database: Path, prefix: str, status: str | None = None) -> int:
    """Count the documents whose key begins with `prefix`; only those of that status where one is given."""
    query = "SELECT count(*) FROM state WHERE key >= ? AND key < ?"
    parameters = [prefix, prefix + "\U0010ffff"]
    if status:
        query += " AND json_extract(value, '$.state.status') = ?"
        parameters.append(status)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
    try:
        return connection.execute(query, parameters).fetchone()[0]
    finally:
        connection.close()


class Streams:
    """The broker's streams, one a topic."""

    def __init__(self, port: int) -> None:
        self._client = valkey.Valkey(LOOPBACK, port)

    def published(self, topic: str) -> int:
        """Count what was ever added to a topic."""
        try:
            return int(self._client.xinfo_stream(topic)["entries-added"])  # type: ignore[index]
        except valkey.ResponseError:
            return 0  # nothing yet

    def close(self) -> None:
        """Give back the connection."""
        self._client.close()
