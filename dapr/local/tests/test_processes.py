"""Real small processes: restarted when they die, gone when they shall be."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from outrigger.commands import Command
from outrigger.processes import Backoff, Child

# A child that says its pid and waits; `stubborn` ignores SIGTERM; `parent` has a child of its own.
SAYS = "import os, signal, subprocess, sys, time; print(os.getpid(), flush=True); "
WAITS = SAYS + "time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS
PARENT = SAYS + "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('ok', flush=True); "
PARENT += "time.sleep(60)"

LAUNCHER = """
import asyncio, sys
from pathlib import Path
from outrigger.commands import Command
from outrigger.processes import Child

async def main():
    folder, python = Path(sys.argv[1]), Path(sys.executable)
    for number in range(3):
        argv = (sys.executable, "-c", sys.argv[2])
        command = Command(f"child{number}", python, argv, folder, {}, folder / f"{number}.log")
        await Child(command, lambda child: None).start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


def command(folder: Path, code: str) -> Command:
    return Command(
        "child", Path(sys.executable), (sys.executable, "-c", code), folder, dict(os.environ), folder / "log"
    )


def said(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


async def until(condition: Callable[[], object], within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_wait_doubles_to_a_limit_and_a_long_life_resets_it() -> None:
    backoff = Backoff(first=1, longest=5, forgiven_after=10)
    assert [backoff.after(0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert [backoff.after(10), backoff.after(0)] == [1, 2]


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    child = Child(command(tmp_path, WAITS), lambda _: None, Backoff(first=0.01))
    await child.start()
    first = child.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.restarts == 1 and child.pid)
    assert child.last_exit == -signal.SIGKILL
    assert child.pid != first
    await child.stop(grace=5)


async def test_every_start_and_death_is_told(tmp_path: Path) -> None:
    told: list[bool] = []
    child = Child(command(tmp_path, ""), lambda each: told.append(each.pid is not None), Backoff(first=0.01))
    await child.start()
    await until(lambda: child.restarts >= 2)
    await child.stop(grace=5)
    assert told[:4] == [True, False, True, False]


async def test_a_stopped_child_stays_stopped(tmp_path: Path) -> None:
    child = Child(command(tmp_path, WAITS), lambda _: None)
    await child.start()
    pid = child.pid
    assert pid
    await child.stop(grace=5)
    assert child.pid is None
    assert gone(pid)
    assert child.restarts == 0


async def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    child = Child(command(tmp_path, STUBBORN), lambda _: None)
    await child.start()
    await until(lambda: said(tmp_path / "log"))
    await child.stop(grace=0.1)
    assert child.last_exit == -signal.SIGKILL


async def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    child = Child(command(tmp_path, PARENT), lambda _: None)
    await child.start()
    await until(lambda: "ok" in said(tmp_path / "log"))
    assert child.pid
    (grandchild,) = psutil.Process(child.pid).children()
    await child.stop(grace=5)
    await until(lambda: gone(grandchild.pid))


async def test_a_program_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    missing = Command("child", tmp_path / "none", ("none",), tmp_path, {}, tmp_path / "log")
    with pytest.raises(FileNotFoundError):
        await Child(missing, lambda _: None).start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a dead process")
def test_nothing_is_left_when_the_launcher_is_killed(tmp_path: Path, eventually: Callable[..., None]) -> None:
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, tmp_path, STUBBORN]) as launcher:
        eventually(lambda: all(said(log) for log in logs))
        launcher.kill()
    eventually(lambda: all(gone(int(said(log)[0])) for log in logs))
