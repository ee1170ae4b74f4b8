"""`outrigger up` and `down`: the side with the terminal."""

import contextlib
import os
import signal
import socket
import sys
from functools import partial
from types import FrameType

import psutil
from rich.console import Console

from outrigger.background import fork_supervisor
from outrigger.channel import LEAVE, Kind, receive
from outrigger.choice import Choice
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.leftovers import clear_leftovers, end
from outrigger.plan import kinds_of, make_plan
from outrigger.runtime import daprd
from outrigger.servers import provide
from outrigger.state import RunState, read_run
from outrigger.welcome import welcome

_STOP_WITHIN = 90.0  # s; above all the supervisor's own limits together


def up(home: Home, choice: Choice, *, port: int | None, detach: bool, parts_only: bool, replicas: int) -> None:
    """Bring the system up. With `detach` return when it is ready, else stay until Ctrl-C and stop it then."""
    console = Console(stderr=True, highlight=False)
    binary = daprd(home)
    provide(kinds_of(home, choice))
    make = partial(make_plan, home, binary, port, choice, parts_only=parts_only, replicas=replicas)
    pid, channel = fork_supervisor(home, make)
    with channel:
        wish = Interrupts(pid, channel)
        ready = _until_ready(channel, console)
        if ready and not wish.times:
            _say_welcome(home, detach=detach)
            if detach:
                channel.sendall(LEAVE)
                return
            _stay(channel, console)
        if wish.times:
            _stop(pid, wish, console)
        elif not ready:
            raise LauncherError("The launcher ended before everything was ready; see .outrigger/logs/launcher.log.")
    console.print("Stopped.")


def down(home: Home) -> bool:
    """Stop this folder's run and clear what it left; tells whether there was one."""
    run = read_run(home.run_file)
    launcher = run.launcher.process() if run else None
    if run is None or launcher is None:
        return clear_leftovers(home) > 0
    launcher.terminate()
    _, still = psutil.wait_procs([launcher], timeout=_STOP_WITHIN)
    if still:
        end([*still, *_alive(run)])
    return True


def _alive(run: RunState) -> list[psutil.Process]:
    return [process for state in run.processes() if (process := state.process())]


class Interrupts:
    """What the terminal asks for: that the supervisor stops (Ctrl-C, SIGTERM, SIGHUP), and a second time, at once.

    Nothing is raised for it: that could happen in a destructor, and nobody would hear of it. Whoever listens to the
    supervisor just comes to an end.
    """

    def __init__(self, pid: int, channel: socket.socket) -> None:
        """`pid` is the supervisor's."""
        self.times = 0
        self._pid, self._channel = pid, channel
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's background jobs ignore the first
            signal.signal(number, self._come)

    def _come(self, number: int, frame: FrameType | None) -> None:
        self.times += 1
        with contextlib.suppress(OSError):  # it has ended by itself
            os.kill(self._pid, signal.SIGTERM if self.times == 1 else signal.SIGKILL)
            self._channel.shutdown(socket.SHUT_RD)


def _until_ready(channel: socket.socket, console: Console) -> bool:
    """Show what happens until all is ready (True) or there is nothing more to hear."""
    with console.status("Starting"):
        for kind, text in receive(channel):
            if kind is Kind.READY:
                return True
            if kind is Kind.FAILED:
                raise LauncherError(text)
            console.print(f"  {text}", markup=False)
    return False


def _stay(channel: socket.socket, console: Console) -> None:
    """Show what happens until the supervisor ends by itself (`outrigger down`, `dapr stop`) or Ctrl-C."""
    console.print("Ctrl-C stops it.")
    for _, text in receive(channel):
        console.print(f"  {text}", markup=False)


def _stop(pid: int, wish: Interrupts, console: Console) -> None:
    """Wait until it has stopped; after a second Ctrl-C the kernel ends what it watched."""
    with console.status("Stopping (Ctrl-C again kills)"):
        os.waitpid(pid, 0)
    if wish.times > 1:
        sys.exit(130)


def _say_welcome(home: Home, *, detach: bool) -> None:
    if run := read_run(home.run_file):
        print(welcome(run, detached=detach), flush=True)
