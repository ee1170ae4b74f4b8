"""The supervisor's process: a session of its own, the instance lock, signals, and the way back to the front."""

import asyncio
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from outrigger.channel import LEAVE, Kind, send
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.instance import claim
from outrigger.leftovers import clear_leftovers, put_logs_aside
from outrigger.plan import Plan
from outrigger.supervisor import Supervisor

Make = Callable[[], Plan]


def fork_supervisor(home: Home, make: Make) -> tuple[int, socket.socket]:
    """Start the supervisor in a forked process, where `make` makes its plan; returns its pid and the line to it.

    Forked, not started anew: everything is imported already. It must be the leader of a session, which a process that a
    shell started cannot become itself.
    """
    front, back = socket.socketpair()
    pid = os.fork()
    if pid:
        back.close()
        return pid, front
    front.close()
    os._exit(_main(home, make, back))


def _main(home: Home, make: Make, channel: socket.socket) -> int:
    """Run to the end; whatever goes wrong is told to the front in words."""
    try:
        os.setsid()
        lock = claim(home.root)  # held until this process is gone
        _redirect(home.logs / "launcher.log")
        _run(home, make, channel)
        lock.release()
    except LauncherError as error:
        send(channel, Kind.FAILED, str(error))
        return 1
    except BaseException:  # noqa: BLE001 - the last line of a process: nothing above could handle it
        traceback.print_exc()
        sys.stderr.flush()
        send(channel, Kind.FAILED, f"The launcher itself failed; see {home.logs / 'launcher.log'}.")
        return 1
    return 0


def _run(home: Home, make: Make, channel: socket.socket) -> None:
    clear_leftovers(home)
    put_logs_aside(home)
    asyncio.run(_supervise(make(), channel))


async def _supervise(plan: Plan, channel: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(channel, _listen, channel, stop)

    def tell(text: str) -> None:
        print(time.strftime("%H:%M:%S"), text, flush=True)
        send(channel, Kind.NOTE, text)

    supervisor = Supervisor(plan, tell)
    await supervisor.run(stop, lambda: send(channel, Kind.READY))


def _listen(channel: socket.socket, stop: asyncio.Event) -> None:
    """Hear the front: it leaves us to ourselves, or it is gone."""
    if channel.recv(len(LEAVE)) != LEAVE:
        stop.set()
    asyncio.get_running_loop().remove_reader(channel)


def _redirect(log: Path) -> None:
    """Give away the terminal: what is said from here on goes to a log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
