"""Many questions at once, and how one path can be written in many ways."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from support.http import Heard

AT_ONCE = 32  # most of them wait for a name that nobody has


class Probe(NamedTuple):
    """One attempt: what it is, how it is made, and what tells that it was refused."""

    name: str
    ask: Callable[[], Heard]
    refused: Callable[[Heard], bool]


def wrong(probes: Iterable[Probe], *, least: int) -> list[str]:
    """Make all attempts; returns those that were not refused. Fails where there are fewer than `least`."""
    probes = list(probes)
    assert len(probes) >= least, f"only {len(probes)} attempts"
    with ThreadPoolExecutor(AT_ONCE) as threads:
        heard = list(threads.map(lambda probe: probe.ask(), probes))
    told = zip(probes, heard, strict=True)
    return [f"{p.name}: {h.status} {h.content[:200]!r}" for p, h in told if not p.refused(h)]


def disguises(closed: str, open_: str) -> list[str]:
    """Write the path of a closed operation so that it may be taken for an open one's."""
    return [
        f"{open_}/../{closed}", f"{open_}/%2e%2e/{closed}", f"{open_}%2F..%2F{closed}", f"{open_}%2f..%2f{closed}",
        f"{open_}%2F%2e%2e%2F{closed}", f"{open_}%5c..%5c{closed}", f"{open_}/..;/{closed}", f"{open_}//../{closed}",
        f"{open_}%252F..%252F{closed}", f"{open_}%23/../{closed}", f"{open_}%3F/../{closed}",
        f"{closed}/../{open_}", f"{closed}/%2e%2e/{open_}", f"{closed}%2F..%2F{open_}", f"{closed}%2f..%2f{open_}",
        f"{closed}%2F%2e%2e%2F{open_}", f"{closed}%23/../{open_}", f"{closed}%3F/../{open_}",
        f"{closed}%3Fx=%2F..%2F{open_}", f"{closed};/../{open_}", f"{closed}%00/../{open_}",
    ]  # fmt: skip


def spellings(closed: str, open_: str) -> list[str]:
    """Write the path of a closed operation so that it may be taken for an open one's, or for none that is known."""
    every = "".join(f"%{ord(each):02x}" for each in closed)
    return [
        *disguises(closed, open_), f"{open_}#/../{closed}", f"{closed}#/../{open_}", f"{closed}?/../{open_}",
        every, f"%{ord(closed[0]):02X}{closed[1:]}", every.replace("%", "%25"), closed.upper(), closed.title(),
        f"/{closed}", f"//{closed}", f"./{closed}", f"%2e/{closed}", f"%2F{closed}", f"x/../{closed}",
        f"x%2F..%2F{closed}", f"{closed}/", f"{closed}%2F", f"{closed}/.", f"{closed}%20", f"{closed}%00",
        f"{closed}#", f"{closed}%23", f"{closed}?", f"{closed}%3F",
    ]  # fmt: skip
