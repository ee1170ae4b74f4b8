"""A server as a container: what a test may do to it, and what lies on this machine's loopback address."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from docker.errors import APIError
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer

from outrigger.ports import LOOPBACK
from support.polling import eventually

GRACE = 20  # s to end by itself


class Contained:
    """A container that is started, killed and ended. What it wrote is there when it is started again."""

    def __init__(
        self, container: DockerContainer, log: Path, answers: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        self.container = container
        self.log = log
        self._answers = answers
        self._made = False

    def start(self) -> None:
        """Start it; returns when it answers, if it is one that is asked."""
        if self._made:
            self.container.get_wrapped_container().start()
        else:
            self._made = True
            self.container.start()
        if self._answers:
            answers = self._answers
            eventually(lambda: asyncio.run(_once(answers)), within=90, what=f"{self.log.stem} answers")

    def kill(self) -> None:
        """End it without warning."""
        self.container.get_wrapped_container().kill()
        self.wait()

    def wait(self) -> None:
        """Wait until it is gone."""
        self.container.get_wrapped_container().wait(timeout=30)

    def end(self) -> None:
        """End it, as a run does."""
        self.container.get_wrapped_container().stop(timeout=GRACE)

    def close(self) -> None:
        """End it, keep what it said, and remove it."""
        if not self._made:
            return
        with suppress(APIError):  # it ended by itself, or never came to be
            self.end()
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_bytes(self.container.get_wrapped_container().logs())
        self.container.stop()


async def _once(answers: Callable[[], Awaitable[bool]]) -> bool:
    return await answers()


def publish(container: DockerContainer, port: int, *, at: int) -> None:
    """Let a container's port be reached at a port of the loopback address, the same whenever it is started."""
    # testcontainers would ask the bridge's address where it finds /.dockerenv, as some machines have it.
    testcontainers_config.tc_host_override = LOOPBACK
    testcontainers_config.connection_mode_override = ConnectionMode.docker_host
    container.ports[str(port)] = (LOOPBACK, at)  # pyright: ignore[reportArgumentType] - as Docker's client takes it
