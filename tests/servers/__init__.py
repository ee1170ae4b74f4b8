"""The servers that tests start, kill and end: as containers or as processes, for the same tests."""

from typing import Protocol


class Server(Protocol):
    """A broker, a store or a sidecar. What it stored is there when it is started again."""

    def start(self) -> None:
        """Start it; returns when it answers. A sidecar is not asked: whoever waits for it knows what for."""
        ...

    def kill(self) -> None:
        """End it without warning."""
        ...

    def wait(self) -> None:
        """Wait until it is gone."""
        ...

    def end(self) -> None:
        """End it, as a run does."""
        ...

    def close(self) -> None:
        """End it for good."""
        ...
