"""`outrigger up` and `down`: the side with the terminal."""

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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's background jobs ignore the first
        signal.signal(number, _interrupt)
    make = partial(make_plan, home, binary, port, choice, parts_only=parts_only, replicas=replicas)
    pid, channel = fork_supervisor(home, make)
    try:
        _until_ready(channel, console)
        _say_welcome(home, detach=detach)
        if detach:
            channel.sendall(LEAVE)
            return
        _stay(channel, console)
    except KeyboardInterrupt:
        _stop(pid, channel, console)
    finally:
        channel.close()


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


def _until_ready(channel: socket.socket, console: Console) -> None:
    with console.status("Starting"):
        for kind, text in receive(channel):
            if kind is Kind.READY:
                return
            if kind is Kind.FAILED:
                raise LauncherError(text)
            console.print(f"  {text}", markup=False)
    raise LauncherError("The launcher ended before everything was ready; see .outrigger/logs/launcher.log.")


def _stay(channel: socket.socket, console: Console) -> None:
    """Show what happens until the supervisor ends by itself (`outrigger down`, `dapr stop`) or Ctrl-C."""
    console.print("Ctrl-C stops it.")
    for _, text in receive(channel):
        console.print(f"  {text}", markup=False)
    console.print("Stopped.")


def _stop(pid: int, channel: socket.socket, console: Console) -> None:
    """Stop it; a second Ctrl-C does so at once: the kernel ends what the supervisor watches."""
    try:
        os.kill(pid, signal.SIGTERM)
        with console.status("Stopping (Ctrl-C again kills)"):
            for _ in receive(channel):
                pass
        os.waitpid(pid, 0)
        console.print("Stopped.")
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGKILL)
        sys.exit(130)


def _say_welcome(home: Home, *, detach: bool) -> None:
    if run := read_run(home.run_file):
        print(welcome(run, detached=detach), flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape that signal asks for
    raise KeyboardInterrupt
