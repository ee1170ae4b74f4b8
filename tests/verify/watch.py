"""Looks at apps and sidecars while they work: how much memory they hold, how much waits in the apps."""

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import mean

import aiohttp

from support.installation import Installation

EVERY = 1.0
QUEUED, BACKLOG = "outrigger_queued", "outrigger_backlog_records"


@dataclass
class Watch:
    """What was seen, once a second."""

    memory: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # bytes, by process
    most: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))  # by app and figure

    async def look(self, system: Installation) -> None:
        """Look until cancelled; what does not answer ends it."""
        services = system.run.services
        processes = {each.name: each.process() for one in services.values() for each in (one.app, one.sidecar)}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            while True:
                for name, process in processes.items():
                    assert process
                    self.memory[name].append(process.memory_info().rss)
                await asyncio.gather(*(self._ask(http, name, one.app_url) for name, one in services.items()))
                await asyncio.sleep(EVERY)

    def growth(self) -> dict[str, float]:
        """Return the second half's memory by the first's, by process; while it fills (a quarter), nothing counts."""
        full = {name: seen[len(seen) // 4 :] for name, seen in self.memory.items()}
        return {name: mean(seen[len(seen) // 2 :]) / mean(seen[: len(seen) // 2]) for name, seen in full.items()}

    async def _ask(self, http: aiohttp.ClientSession, name: str, url: str) -> None:
        async with http.get(f"{url}/metrics") as answer:
            told = await answer.text()
        for figure in (QUEUED, BACKLOG):
            found = re.findall(rf"^{figure}(?:{{.*}})? (\S+)$", told, re.MULTILINE)
            self.most[name, figure] = max(self.most[name, figure], sum(map(float, found)))
