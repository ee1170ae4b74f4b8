"""`outrigger faults`: making the bank's day bad, and good again."""

from enum import StrEnum
from typing import Any

import aiohttp

from outrigger.errors import LauncherError
from outrigger.state import RunState

_SECONDS = 5.0


class Mode(StrEnum):
    """What happens to the calls that are struck."""

    NONE = "none"
    SLOW = "slow"
    FAIL = "fail"
    DECLINE = "decline"
    DOWN = "down"


_SAID = {
    Mode.SLOW: "hang for {delay:g} s",
    Mode.FAIL: "fail with 500",
    Mode.DECLINE: "are declined",
    Mode.DOWN: "are cut off",
}


def url_of(run: RunState, part: str) -> str:
    """Say where a part takes its faults; raises `LauncherError` for what takes none."""
    if part != "bank":
        raise LauncherError(f"{part} makes no trouble on request: the bank does, with `outrigger faults bank`.")
    if part not in run.urls:
        raise LauncherError("This run has no bank: no resource of it is an HTTPEndpoint named bank.")
    return f"{run.urls[part]}/faults"


async def change(url: str, faults: dict[str, Any] | None) -> dict[str, Any]:
    """Ask for other faults, or only for the present ones; returns those that hold now."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.request("POST" if faults else "GET", url, json=faults) as answer,
        ):
            if not answer.ok:
                raise LauncherError(f"The bank refused with {answer.status}: {await answer.text()}")
            return await answer.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise LauncherError(f"The bank does not answer ({error!r}); see `outrigger logs bank`.") from error


def told(faults: dict[str, Any]) -> str:
    """Put faults into words."""
    mode = Mode(faults["mode"])
    if mode is Mode.NONE:
        return "bank: no trouble"
    which = "authorizations" if mode is Mode.DECLINE else "calls"
    return f"bank: {faults['rate']:.0%} of the {which} {_SAID[mode].format(delay=faults['delay'])}"
