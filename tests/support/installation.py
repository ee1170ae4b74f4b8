"""The project as somebody installed it: a copy in a folder of its own, driven by the real command line.

The copy keeps a developer's own run untouched: `.outrigger` lies beside the template. It shares the checkout's .venv.
"""

import asyncio
import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from chassis import keys
from outrigger.home import Home
from outrigger.ledgers import Ledger, Store, close, stores_of
from outrigger.ports import free_ports
from outrigger.state import ProcessState, RunState, ServiceState, read_run
from support.http import Heard
from support.polling import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("apps", "components", "dapr")
UNWANTED = shutil.ignore_patterns("tests", "__pycache__")


def install(root: Path) -> Home:
    """Copy what a run needs to a new folder."""
    for part in OURS:
        shutil.copytree(REPOSITORY / part, root / part, ignore=UNWANTED)
    (root / ".venv").symlink_to(REPOSITORY / ".venv")
    return Home(root)


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed project. `settings` are environment variables of its processes; `port` is the gateway's.

    `choice` is what the command line says of broker and store.
    """

    home: Home
    settings: Mapping[str, str]
    port: int
    choice: tuple[str, ...] = ()

    @classmethod
    def at(cls, root: Path, settings: Mapping[str, str], choice: tuple[str, ...] = ()) -> "Installation":
        """Install it and choose a port."""
        (port,) = free_ports(1)
        return cls(install(root), settings, port, choice)

    # the command line

    def shell(self, *argv: str, within: float = 150.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder."""
        env = {**os.environ, **self.settings}
        return subprocess.run(
            argv, cwd=self.home.root, env=env, capture_output=True, text=True, timeout=within, check=False
        )

    def outrigger(self, *arguments: str, within: float = 150.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the launcher."""
        return self.shell(".venv/bin/outrigger", *arguments, within=within)

    def up(self, *more: str) -> str:
        """Start it; returns when it is ready, with what was printed."""
        done = self.outrigger("up", "--detach", "--port", str(self.port), *self.choice, *more, within=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def down(self) -> None:
        """Stop it; nothing of it may be left."""
        ran = self.processes()
        done = self.outrigger("down")
        assert done.returncode == 0, done.stderr
        left = [*(one for one in ran if lives(one)), *self.strays()]
        assert not left, f"`outrigger down` left {left}"

    def scale(self, replicas: int, *services: str) -> None:
        """Have that many replicas of these services, or of all."""
        done = self.outrigger("scale", str(replicas), *services, within=320)
        assert done.returncode == 0, done.stderr

    def audit(self, *, deadline: float, within: float = 60.0) -> dict[str, Any]:
        """Return what the auditor says; `deadline` is the age in seconds at which no order is open."""
        arguments = ("--deadline", str(deadline), "--within", str(within))
        done = self.outrigger("audit", "--json", *arguments, within=within + 90)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    # its processes

    @property
    def run(self) -> RunState:
        """The state of the run."""
        run = read_run(self.home.run_file)
        assert run, "nothing runs"
        return run

    def processes(self) -> list[psutil.Process]:
        """Return everything that runs now, the launcher too."""
        states = [self.run.launcher, *self.run.processes()]
        return [process for state in states if (process := state.process())]

    def strays(self) -> list[str]:
        """Find whatever works in this folder or names it, whoever started it."""
        return [found for process in psutil.process_iter() if (found := self._is_ours(process))]

    def _is_ours(self, process: psutil.Process) -> str | None:
        try:
            words, folder = process.cmdline(), process.cwd()
        except psutil.Error:
            return None  # it is gone, or somebody else's
        here = str(self.home.root)
        return f"{process.pid} {words}" if folder.startswith(here) or any(here in word for word in words) else None

    def state_of(self, name: str) -> ProcessState:
        """Describe a process by its name, such as `orders.app`, `orders.daprd` or `valkey`.

        One that is in no list just now, as a broker that is being wiped, does not run.
        """
        found = (state for state in self.run.processes() if state.name == name)
        return next(found, ProcessState(name=name))

    def kill(self, name: str) -> Callable[[], bool]:
        """Kill a process without warning; returns what tells whether it has been started again."""
        before = self.state_of(name)
        process = before.process()
        assert process, f"{name} does not run"
        process.kill()

        def back() -> bool:
            now = self.state_of(name)
            return now.pid != before.pid and now.process() is not None

        return back

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Stop processes where they stand, and let them go on at the end."""
        pids = [state.pid for name in names if (state := self.state_of(name)).pid]
        assert len(pids) == len(names)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def settle(self) -> None:
        """Wait until every app and every sidecar serves."""
        eventually(self.serving, within=60, what="every app and sidecar serves")

    def serving(self) -> bool:
        """Tell whether every app and every sidecar serves now."""
        return all(map(serving, self.run.services.values()))

    # behind the scenes

    def service(self, name: str) -> ServiceState:
        """Say where a service and its sidecar answer."""
        return self.run.services[name]

    def sidecar(self, service: str, verb: str, path: str, body: Any = None, kind: str = "application/json") -> Heard:
        """Ask a sidecar's HTTP API; text is sent as it is."""
        sent = body if isinstance(body, str | None) else json.dumps(body)
        return ask(self.service(service).sidecar_url, verb, path, sent, {"content-type": kind})

    def publish(self, topic: str, event: Any) -> None:
        """Publish as `dapr publish --data` does: a bare body, which the sidecar of the topic's owner wraps."""
        assert self.sidecar(topic, "POST", f"/v1.0/publish/pubsub/{topic}", event).status == 204

    def document(self, service: str, subject: str) -> dict[str, Any] | None:
        """Read a document's state from a service's store."""
        kind, _, name = subject.partition("/")
        heard = self.sidecar(service, "GET", f"/v1.0/state/store/{keys.document(kind, name)}")
        return heard.json["state"] if heard.status == 200 else None

    def ledger(self, service: str) -> Ledger:
        """Read all of a service's ledger."""
        return asyncio.run(_ledger(stores_of(self.run), service))


@contextmanager
def running(root: Path, settings: Mapping[str, str]) -> Iterator[Installation]:
    """Install and start it; whatever happens then, no process of it is left."""
    installation = Installation.at(root, settings)
    installation.up()
    try:
        yield installation
    finally:
        installation.down()


async def _ledger(stores: list[Store], service: str) -> Ledger:
    try:
        store = next(store for store in stores if store.service == service)
        ledger = await store.heads()
        assert ledger, f"{service} keeps no ledger"
        await store.records(ledger)
        await store.contents(ledger)
        return ledger
    finally:
        await close(stores)


def ask(
    url: str, verb: str, path: str, body: str | bytes | None = None, headers: Mapping[str, str] | None = None
) -> Heard:
    """Send one request over the network; raises OSError or HTTPException where there is no answer."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    try:
        connection.request(verb, path, body, dict(headers or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Heard(answer.status, found, answer.read())
    finally:
        connection.close()


def reachable(url: str, path: str) -> bool:
    """Tell whether a request is answered well."""
    try:
        return ask(url, "GET", path).status in {200, 204}
    except (OSError, http.client.HTTPException):
        return False


def serving(service: ServiceState) -> bool:
    """Tell whether an app is ready and its sidecar well."""
    return reachable(service.app_url, "/ready") and reachable(service.sidecar_url, "/v1.0/healthz")


def lives(process: psutil.Process) -> bool:
    """Tell whether it runs: what has ended, and waits to be reaped or was just now, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
