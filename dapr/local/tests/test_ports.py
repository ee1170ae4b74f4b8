"""Free ports, and the sentence about one that is not."""

import os
import socket

import pytest

from outrigger.errors import LauncherError
from outrigger.ports import LOOPBACK, free_ports, open_door, require_free


def test_they_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        require_free(port)


def test_they_lie_below_the_range_of_outgoing_connections() -> None:
    assert max(free_ports(20)) < 32_768


def test_some_are_avoided() -> None:
    avoided = frozenset(range(20_000, 26_000))
    assert not avoided & set(free_ports(50, avoid=avoided))


def test_a_taken_port_names_its_holder_and_the_way_out() -> None:
    with socket.create_server((LOOPBACK, 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(
            LauncherError, match=rf"Port {port} is taken by .* \(pid {os.getpid()}\).*--port {port + 1}"
        ):
            require_free(port)


def test_who_comes_to_an_open_door_waits_until_somebody_takes_them() -> None:
    (port,) = free_ports(1)
    with open_door(port) as door:
        with pytest.raises(LauncherError, match=f"Port {port} is taken"):
            require_free(port)
        with socket.create_connection((LOOPBACK, port), timeout=5) as client:
            client.sendall(b"hello")
            with socket.socket(fileno=os.dup(door.fileno())) as app:  # one that inherited it, and goes
                assert app.getsockname()[1] == port
            taken, _ = door.accept()
            with taken:
                assert taken.recv(5) == b"hello"
    require_free(port)
