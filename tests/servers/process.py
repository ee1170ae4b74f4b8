"""A server as a process of this machine: the launcher's own command lines."""

import asyncio
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

from outrigger.commands import Command
from outrigger.parts import Part, until_answering


class Process:
    """A process that a test starts, kills and ends."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        command = self.command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            self._process = subprocess.Popen(
                command.argv, executable=command.executable, cwd=command.folder, env=dict(command.env),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip

    def kill(self) -> None:
        """End it without warning."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process
        self._process.send_signal(number)

    def wait(self) -> None:
        """Wait until it is gone."""
        assert self._process
        self._process.wait(30)

    def end(self) -> None:
        """End it, as a run does."""
        if self._process and self._process.poll() is None:
            self.signal(self.command.farewell)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """End it for good."""
        self.end()


class PartProcess(Process):
    """A part of a run; started, it answers."""

    def __init__(self, part: Part) -> None:
        super().__init__(part.command)
        self.part = part
        self._prepared = False

    def start(self) -> None:
        """Start it, and wait until it serves."""
        if not self._prepared:
            self.command.folder.mkdir(parents=True, exist_ok=True)
            self.part.prepare()
            self._prepared = True
        super().start()
        with ThreadPoolExecutor(1) as thread:  # a loop may run in this one
            thread.submit(asyncio.run, until_answering(self.part)).result()
