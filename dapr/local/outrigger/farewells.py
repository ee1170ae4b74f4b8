"""A sidecar that is told to end, by whomever, is told again: it is away for a moment, and not half there for long.

daprd's first SIGTERM ends its subscriptions and no more: for `commands.DRAIN` seconds it goes on serving an app that
ends with it, and brings no event. Then it closes its store before it goes, and calls hang in it. The second ends it at
once. It tells of the first nowhere but in its log; where that is set to say less, all this takes its time.
"""

import asyncio

from outrigger.logs import Tail
from outrigger.processes import Child

HEARD = "; beginning shutdown"
_LOOK_EVERY = 0.25  # s
_IN_HAND = 1.0  # s for what it is delivering when it is told; it does not say when that is done


async def tell_again(sidecar: Child) -> None:
    """Wait for the end of this process of a sidecar to be asked for, and see to it."""
    pid, log = sidecar.pid, Tail.at_end(sidecar.command.name, sidecar.command.log)
    while not any(HEARD in line for line in log.fresh()):  # noqa: ASYNC110 - a file, which tells nobody
        await asyncio.sleep(_LOOK_EVERY)
    await asyncio.sleep(_IN_HAND)
    if sidecar.pid == pid:
        sidecar.renew()
