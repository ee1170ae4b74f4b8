"""Choosing free ports on the loopback address.

They are taken from below the range that the kernel gives to outgoing connections: a sidecar that is restarted must find
its port free again, and an outgoing connection could sit on it in the meantime.
"""

import random
import socket
from contextlib import ExitStack

import psutil

from outrigger.errors import LauncherError

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000
_ATTEMPTS = 2_000
_WAITING = 2048  # connections that nobody has taken yet, as uvicorn has it


def free_ports(count: int, *, avoid: frozenset[int] = frozenset()) -> list[int]:
    """Return that many different ports that nobody listens on."""
    chosen: list[int] = []
    with ExitStack() as held:  # all stay bound until the last is found, so that none comes twice
        for port in random.sample(range(_LOWEST, _HIGHEST), _ATTEMPTS):
            if len(chosen) == count:
                return chosen
            if port not in avoid and (listener := _bound(port)):
                held.enter_context(listener)
                chosen.append(port)
    raise LauncherError(f"No {count} free ports between {_LOWEST} and {_HIGHEST}: something holds them all.")


def require_free(port: int) -> None:
    """Raise `LauncherError`, naming the holder where we may know it, if the port is taken."""
    open_door(port).close()


def open_door(port: int) -> socket.socket:
    """Listen, for an app that takes the connections; as long as this is open, they wait for one. Else as above."""
    listener = _bound(port, reuse=True, waiting=_WAITING)
    if listener is None:
        raise LauncherError(
            f"Port {port} is taken{_holder(port)}: stop that, or choose another with `outrigger up --port {port + 1}`."
        )
    return listener


def _bound(port: int, *, reuse: bool = False, waiting: int = 1) -> socket.socket | None:
    """Bind the port; None if it is taken. With `reuse`, connections that are closing down do not count."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(waiting)
    except OSError:
        listener.close()
        return None
    return listener


def _holder(port: int) -> str:
    """Name the process that listens, as in ` by nginx (pid 12)`; empty if that is not for us to see."""
    try:
        found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        pid = next(each.pid for each in found if each.laddr and each.laddr.port == port and each.pid)
        return f" by {psutil.Process(pid).name()} (pid {pid})"
    except (psutil.Error, StopIteration, OSError):
        return ""
