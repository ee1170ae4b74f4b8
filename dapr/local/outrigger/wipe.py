"""`outrigger wipe-broker`: what a broker that loses its disk does to a running system, on purpose."""

import shutil
import signal

from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.state import RunState

NAME = "valkey"  # the others need a start of their own when they are empty: users, topics


def wipe_broker(home: Home, run: RunState) -> str:
    """Kill the broker and delete all that it holds; the supervisor starts it again, empty. Returns its name.

    Its folder is moved away first, so that nothing of it is found by the next process, however soon that starts.
    """
    if NAME not in run.parts:
        raise LauncherError("Only Valkey can be wiped in a run: start it with `outrigger up --broker redis`.")
    process = run.parts[NAME].process()
    if process is None:
        raise LauncherError(f"{NAME} does not run at the moment: see `outrigger status`, and try again.")
    folder = home.data / NAME
    gone = folder.with_name(f"{NAME}.wiped")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    folder.mkdir()
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    shutil.rmtree(gone)
    return NAME
