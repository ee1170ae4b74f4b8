"""Telling the Dapr CLI about a sidecar: what `dapr list` shows and `dapr stop` signals is read from its metadata."""

import asyncio
import shlex

import aiohttp

from outrigger.plan import Plan, ServicePlan
from outrigger.ports import LOOPBACK

_ATTEMPTS = 120
_PAUSE = 0.25  # s


def facts(plan: Plan, service: ServicePlan, launcher_pid: int, app_pid: int | None) -> dict[str, str]:
    """Return the metadata that the CLI reads. `cliPID` is a session leader: `dapr stop -f` signals its group."""
    return {
        "appCommand": shlex.join(service.app.argv),
        "appPID": str(app_pid or ""),
        "cliPID": str(launcher_pid),
        "runTemplatePath": str(plan.home.template),
        "runTemplateName": plan.template.name,
        "appLogPath": str(service.app.log),
        "daprdLogPath": str(service.sidecar.log),
    }


async def announce(http: aiohttp.ClientSession, port: int, told: dict[str, str]) -> bool:
    """Write the metadata, waiting for the sidecar to come up; tells whether it worked. A courtesy: nothing raises."""
    for _ in range(_ATTEMPTS):
        if all([await _put(http, port, key, value) for key, value in told.items()]):
            return True
        await asyncio.sleep(_PAUSE)
    return False


async def _put(http: aiohttp.ClientSession, port: int, key: str, value: str) -> bool:
    try:
        async with http.put(f"http://{LOOPBACK}:{port}/v1.0/metadata/{key}", data=value.encode()) as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
