"""What an earlier run left: processes, if it could not clean up (rare: the kernel takes them along), and its logs."""

import contextlib

import psutil

from outrigger.home import Home
from outrigger.state import read_run

_GRACE = 5.0  # s


def clear_leftovers(home: Home) -> int:
    """End processes of an earlier run of this folder that nobody watches any more; returns how many there were.

    Call it with the instance lock held: then no run of this folder can be alive.
    """
    run = read_run(home.run_file)
    found = [process for state in run.processes() if (process := state.process())] if run else []
    end(found)
    home.run_file.unlink(missing_ok=True)
    return len(found)


def end(processes: list[psutil.Process]) -> None:
    """Ask processes to end, then kill those that do not."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=_GRACE)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=_GRACE)


def put_logs_aside(home: Home) -> None:
    """Keep the last run's logs as `*.log.1`, so that a log shows one run."""
    for log in home.logs.glob("*.log"):
        if log.name != "launcher.log":
            log.replace(log.with_name(f"{log.name}.1"))
