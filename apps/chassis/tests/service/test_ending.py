"""A process that is told to end cuts nobody off: real processes, real connections, SIGTERM."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException

from outrigger.ports import LOOPBACK, free_ports, open_door
from support.polling import eventually

PROGRAM = "import chassis.service as s; s.LINGER = {linger}; s.Service('plain').run()"
LONG = 60.0  # s: whoever is answered within it, however slow the machine, ends it at once
CUSTOMERS = 50
CLIENTS, RESTARTS, BETWEEN = 8, 2, 200
CUT = 0  # in place of a status


@contextlib.contextmanager
def served(port: int, door: socket.socket | None = None, linger: float = LONG) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service; it is told to end at the latest at the end, and must do so in good order."""
    given = {"APP_PORT": str(port)} | ({"APP_FD": str(door.fileno())} if door else {})
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(linger=linger)], env={**os.environ, **given},
        pass_fds=[door.fileno()] if door else (), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def connected(port: int) -> Iterator[HTTPConnection]:
    connection = HTTPConnection(LOOPBACK, port, timeout=30)
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def accepts(port: int) -> bool:
    try:
        with connected(port):
            return True
    except ConnectionError:  # refused, or reset in the queue of a listener that was closed
        return False


def ask(connection: HTTPConnection) -> int:
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException):
        return CUT
    return answer.status


def test_who_was_accepted_is_answered_by_a_process_that_ends() -> None:
    (port,) = free_ports(1)
    with served(port) as process, contextlib.ExitStack() as doors:
        eventually(lambda: accepts(port), within=30)
        new, used = ([doors.enter_context(connected(port)) for _ in range(CUSTOMERS)] for _ in range(2))
        assert {ask(one) for one in used} == {200}  # so whoever came before the last of them was accepted too
        process.terminate()
        eventually(lambda: not accepts(port), within=30, pause=0)
        assert Counter(map(ask, [*new, *used])) == {200: 2 * CUSTOMERS}
        assert process.wait(30) == -signal.SIGTERM, "every answer ended its connection"


def test_who_says_nothing_holds_up_no_end() -> None:
    (port,) = free_ports(1)
    with served(port, linger=0.1) as process:
        eventually(lambda: accepts(port), within=30)
        with connected(port) as silent:
            process.terminate()
            assert process.wait(30) == -signal.SIGTERM
            assert ask(silent) == CUT


def test_who_comes_while_one_ends_and_another_begins_is_answered() -> None:
    (port,) = free_ports(1)
    answers: Counter[int] = Counter()
    enough = threading.Event()

    def come() -> None:
        while not enough.is_set():
            with connected(port) as connection:
                answers[ask(connection)] += 1

    with open_door(port) as door:
        clients = [threading.Thread(target=come, daemon=True) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(RESTARTS):
            with served(port, door):
                wanted = answers.total() + BETWEEN
                eventually(lambda wanted=wanted: answers.total() > wanted, within=60)
        with served(port, door):
            enough.set()
            for client in clients:
                client.join(30)
    assert answers.keys() == {200}, answers
