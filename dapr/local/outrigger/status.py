"""`outrigger status`: what runs, where, and whether it is ready."""

import asyncio
from typing import Any

import aiohttp
from rich.table import Table

from outrigger.errors import LauncherError
from outrigger.state import ProcessState, RunState, ServiceState


async def describe(run: RunState) -> dict[str, Any]:
    """Return the state of the run as plain data; readiness is asked of each app now."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
        ready = await asyncio.gather(*(is_ready(http, service) for service in run.services.values()))
    return {
        "name": run.name,
        "folder": run.folder,
        "phase": run.phase.value if run.alive() else "dead",
        "gateway": run.gateway,
        "broker": run.broker,
        "store": run.store,
        "launcherPid": run.launcher.pid,
        "services": [_service(one, answer) for one, answer in zip(run.services.values(), ready, strict=True)],
        "urls": run.urls,
        "parts": [_process(part) for part in run.parts.values()],
    }


def table(described: dict[str, Any]) -> Table:
    """Draw it for people."""
    title = f"{described['name']}: {described['phase']} at {described['gateway']}"
    told = {"broker": described["broker"], "store": described["store"], **described["urls"]}
    caption = ", ".join(f"{name}: {value}" for name, value in told.items())
    columns = ("service", "ready", "app", "sidecar", "app port", "dapr http", "dapr grpc", "restarts")
    drawn = Table(*columns, title=title, caption=caption)
    for one in described["services"]:
        pids = [str(one[side]["pid"] or "-") for side in ("app", "sidecar")]
        ports = [str(one[port]) for port in ("appPort", "daprHttpPort", "daprGrpcPort")]
        restarts = f"{one['app']['restarts']} / {one['sidecar']['restarts']}"
        drawn.add_row(one["name"], "yes" if one["ready"] else "no", *pids, *ports, restarts)
    for part in described["parts"]:
        drawn.add_row(part["name"], "", str(part["pid"] or "-"), "", "", "", "", str(part["restarts"]))
    return drawn


def pid_of(run: RunState, name: str) -> int:
    """Return the id of a process that runs now; raises `LauncherError`, naming what there is."""
    states = {state.name: state for state in run.processes()}
    if name not in states:
        raise LauncherError(f"There is no process {name}; there are {', '.join(sorted(states))}.")
    if (process := states[name].process()) is None:
        raise LauncherError(f"{name} does not run at the moment; see `outrigger logs {name}`.")
    return process.pid


def _service(service: ServiceState, ready: bool) -> dict[str, Any]:
    return {
        "appId": service.app_id,
        "name": service.app.name.removesuffix(".app"),
        "ready": ready,
        "appPort": service.app_port,
        "daprHttpPort": service.dapr_http_port,
        "daprGrpcPort": service.dapr_grpc_port,
        "app": _process(service.app),
        "sidecar": _process(service.sidecar),
    }


def _process(state: ProcessState) -> dict[str, Any]:
    pid = state.pid if state.process() else None
    return {"name": state.name, "pid": pid, "restarts": state.restarts, "log": state.log}


async def is_ready(http: aiohttp.ClientSession, service: ServiceState) -> bool:
    """Ask an app."""
    try:
        async with http.get(f"{service.app_url}/ready") as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


async def serves(http: aiohttp.ClientSession, service: ServiceState) -> bool:
    """Tell whether the app is ready and its sidecar has found it."""
    try:
        async with http.get(f"{service.sidecar_url}/v1.0/healthz") as answer:
            return answer.ok and await is_ready(http, service)
    except (aiohttp.ClientError, TimeoutError):
        return False
