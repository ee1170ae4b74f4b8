"""Ctrl-C is heard wherever it comes."""

import subprocess
import sys

# One that stands for the supervisor, and a signal that comes while a destructor runs: what is raised there is lost.
SCRIPT = """
import os, signal, socket, subprocess
from outrigger.channel import receive
from outrigger.up import Interrupts

class Destroyed:
    def __del__(self):
        signal.raise_signal(signal.{name})

front, back = socket.socketpair()
ignored = [signal.SIGTERM] if {times} > 1 else []  # one that will not end in good order
child = subprocess.Popen(["sleep", "60"], preexec_fn=lambda: [signal.signal(each, signal.SIG_IGN) for each in ignored])
wish = Interrupts(child.pid, front)
for _ in range({times}):
    Destroyed()
assert list(receive(front)) == []
print(wish.times, signal.Signals(-child.wait()).name)
"""


def after(name: str, times: int) -> str:
    argv = [sys.executable, "-c", SCRIPT.format(name=name, times=times)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def test_what_comes_while_a_destructor_runs_is_heard() -> None:
    assert [after(name, 1) for name in ("SIGINT", "SIGTERM", "SIGHUP")] == ["1 SIGTERM"] * 3


def test_the_second_one_ends_it_at_once() -> None:
    assert after("SIGINT", 2) == "2 SIGKILL"
