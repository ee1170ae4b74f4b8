"""Broker, sidecars and apps of a measurement: the launcher's own command lines, components and configuration.

Everything lies under a folder of its own, emptied first, so a benchmark meets no old data and leaves a run's alone.
"""

import asyncio
import atexit
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import aiohttp
import psutil

from load.contenders import Contender, app_of
from outrigger.choice import Choice
from outrigger.commands import Ports, app_command, sidecar_command
from outrigger.credentials import make_credentials
from outrigger.home import Home
from outrigger.parts import Part, until_answering
from outrigger.plan import kinds_of
from outrigger.ports import LOOPBACK, free_ports
from outrigger.processes import Child
from outrigger.resources import render, render_config
from outrigger.runtime import daprd
from outrigger.secretfile import make_secrets
from outrigger.servers import parts_for
from outrigger.template import Template, read_template, resolve
from support.unscoped import unscope

DEFAULT = Choice()
PART_PORTS = 7  # that the parts may ask for; the broker asks first
PATIENCE = 180.0  # s until all is ready, also three of each on a busy machine
ONE: Mapping[str, int] = MappingProxyType({})
OK = 300  # statuses below it
USUAL_WORK = "../../.outrigger"  # where components keep a run's files


@dataclass(frozen=True, slots=True)
class BenchHome(Home):
    """The project's folder, with a place of its own for what a benchmark leaves."""

    place: Path

    @property
    def work(self) -> Path:
        """Beside that of a run."""
        return self.place


class Broken(Exception):
    """The benchmark cannot say anything: something did not start, died, refused or lost an order."""


@dataclass(frozen=True, slots=True)
class Place:
    """A contender's processes."""

    contender: Contender
    ports: Ports
    app: Child
    sidecar: Child

    @property
    def app_url(self) -> str:
        """Where the app answers."""
        return f"http://{LOOPBACK}:{self.ports.app}"

    @property
    def sidecar_url(self) -> str:
        """Where its sidecar answers."""
        return f"http://{LOOPBACK}:{self.ports.http}"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs."""

    home: Home
    broker_port: int
    parts: dict[str, Child]
    places: dict[str, Place]

    def processes(self) -> dict[str, psutil.Process]:
        """Return every process by name, such as `orders.daprd`. Raises `Broken` if one has died."""
        children = [
            *self.parts.values(),
            *(child for place in self.places.values() for child in (place.app, place.sidecar)),
        ]
        dead = [child.command for child in children if child.pid is None or child.restarts]
        if dead:
            raise Broken(f"{dead[0].name} died; see {dead[0].log}")
        return {child.command.name: psutil.Process(child.pid) for child in children}

    def database(self, contender: Contender) -> Path:
        """Return the file in which a contender's sidecar keeps its state."""
        return self.home.data / f"{contender.keeper or contender.name}.db"


@asynccontextmanager
async def staged(
    root: Path, contenders: Sequence[Contender], work: Path | None = None, *, replicas: Mapping[str, int] = ONE,
    choice: Choice = DEFAULT,
) -> AsyncIterator[Stage]:  # fmt: skip
    """Start everything; yields when all are ready, and leaves no process behind. `work` is emptied first.

    `replicas` says of whom there are several; the further ones' places are named as in a run. What counts events looks
    into Valkey: with another broker nobody may ask for that.
    """
    home = BenchHome(root, work or root / ".outrigger" / "bench")
    _set_aside(home)
    shutil.rmtree(home.work, ignore_errors=True)
    template = read_template(home.template)
    cast = [(each, n) for each in contenders for n in range(replicas.get(each.name, 1))]
    ports = free_ports(PART_PORTS + 4 * len(cast))
    free = iter(ports)
    parts = parts_for(kinds_of(home, choice), home, partial(next, free), [contender.name for contender in contenders])
    _write_resources(home, template, choice, parts, contenders)
    each = [Ports(*(next(free) for _ in range(4))) for _ in cast]
    places = [_place(home, template, who, own, number) for (who, number), own in zip(cast, each, strict=True)]
    children = {part.command.name: Child(part.command, _ignore) for part in parts}
    stage = Stage(home, ports[0], children, {p.app.command.name.removesuffix(".app"): p for p in places})
    try:
        await _start(stage, parts)
        yield stage
    finally:
        await _stop(stage)


def _set_aside(home: Home) -> None:
    """Keep an earlier stage's mails until the benchmark has ended.

    For minutes after many files were deleted, ext4 looks for each new one whether its place was theirs: that is a third
    of what the sidecar of notifications needs then.
    """
    if home.mail.is_dir():
        aside = Path(tempfile.mkdtemp(prefix="bench-mail-", dir=home.work.parent))
        atexit.register(shutil.rmtree, aside, ignore_errors=True)
        home.mail.rename(aside)


def _write_resources(
    home: Home, template: Template, choice: Choice, parts: Sequence[Part], contenders: Sequence[Contender]
) -> None:
    addresses = {key: value for part in parts for key, value in part.addresses.items()}
    folders = choice.applied(resolve(home.template.parent, folder) for folder in template.common.resources_paths)
    work = os.path.relpath(home.work, home.root / "apps" / "any")  # seen from an app's folder, or a baseline's
    for file in render(folders, home.resources, addresses):
        file.write_text(file.read_text().replace(USUAL_WORK, work))
    unscope(home.resources)
    render_config(resolve(home.template.parent, str(template.common.config_file_path)), home.configs, addresses)
    for folder in (home.mail, *(part.command.folder for part in parts)):
        folder.mkdir(parents=True, exist_ok=True)
    make_secrets(home.secrets)
    make_credentials(home.credentials, [contender.name for contender in contenders])


def _place(home: Home, template: Template, contender: Contender, ports: Ports, number: int) -> Place:
    app = app_of(contender, template, home)
    commands = (
        app_command(home, template, app, ports, replica=number),
        sidecar_command(home, template, app, ports, daprd(home), replica=number),
    )
    return Place(contender, ports, *(Child(command, _ignore) for command in commands))


async def _start(stage: Stage, parts: Sequence[Part]) -> None:
    for part in parts:
        await asyncio.to_thread(part.prepare)
        await stage.parts[part.command.name].start()
        await until_answering(part)
    for place in stage.places.values():
        await place.sidecar.start()
        await place.app.start()
    deadline = time.monotonic() + PATIENCE
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
        for place in stage.places.values():
            while not await _ready(http, place):
                if time.monotonic() > deadline:
                    raise Broken(f"{place.contender.name} is not ready; see {place.app.command.log}")
                await asyncio.sleep(0.1)


async def _ready(http: aiohttp.ClientSession, place: Place) -> bool:
    """Ask the sidecar, which is ready once it has found its app; ours also tells when it can take commands."""
    urls = [f"{place.sidecar_url}/v1.0/healthz"]
    if place.app.command.folder.parent.name == "apps":
        urls.append(f"{place.app_url}/ready")
    try:
        for url in urls:
            async with http.get(url) as answer:
                if answer.status >= OK:
                    return False
    except (aiohttp.ClientError, TimeoutError):
        return False
    return True


async def _stop(stage: Stage) -> None:
    for place in stage.places.values():
        place.sidecar.terminate()
    await asyncio.gather(*(place.app.stop(10) for place in stage.places.values()))
    await asyncio.gather(*(place.sidecar.stop(5) for place in stage.places.values()))
    await asyncio.gather(*(part.stop(5) for part in stage.parts.values()))


def _ignore(_child: Child) -> None:
    """A death is seen when processes are counted."""
