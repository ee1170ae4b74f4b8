"""The whole system as in a cluster: certificates from a real sentry, each app's Configuration, tokens both ways.

The launcher's own plan says what runs; locally it runs without certificates and tokens. Resiliency is left out: a
refusal counts as a failure, and a circuit that opened would refuse in the place of what is to be tried.
"""

import json
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from chassis.daprd import Daprd
from chassis_testing.sidecars import require_daprd
from identity.authority import Authority, authority, require_sentry, started
from identity.table import Table, read
from outrigger.commands import Command
from outrigger.home import Home
from outrigger.ledgers import Store
from outrigger.plan import Plan, ServicePlan, make_plan
from outrigger.ports import LOOPBACK, free_ports
from servers.process import PartProcess, Process
from support.http import Heard
from support.installation import ask, install, reachable
from support.polling import eventually

TOKEN = "dapr-api-token"  # noqa: S105 - a header's name
HOUR = "3600"
ENV = {"ORDER_DEADLINE_SECONDS": HOUR, "RESERVATION_DEADLINE_SECONDS": HOUR, "PAYMENT_DEADLINE_SECONDS": HOUR}
RESTLESS = ("head:", "cursor:", "lanes", "handled")  # keys that change while nothing happens
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an app shows its sidecar, and what its sidecar shows the app."""

    api: str = field(default_factory=secrets.token_urlsafe)
    app: str = field(default_factory=secrets.token_urlsafe)


@dataclass(slots=True)
class Secured:
    """What runs."""

    plan: Plan
    table: Table
    authority: Authority
    tokens: dict[str, Tokens]
    bare: dict[str, int] = field(default_factory=dict)  # sidecars without an app, by name: their HTTP ports

    @property
    def home(self) -> Home:
        """The folder."""
        return self.plan.home

    def service(self, app: str) -> ServicePlan:
        """Say where an app and its sidecar answer."""
        return next(each for each in self.plan.services if each.app_id == app)

    def sidecar(self, app: str) -> str:
        """Return a sidecar's address."""
        return f"http://{LOOPBACK}:{self.bare.get(app) or self.service(app).ports.http}"

    def by(self, app: str, verb: str, path: str, body: Any = None, **headers: str) -> Heard:
        """Ask an app's own sidecar, as the app does; bytes are sent as they are."""
        return asked(self.sidecar(app), verb, path, body, {TOKEN: self.tokens[app].api, **headers})

    def direct(self, app: str, verb: str, path: str, body: Any = None, **headers: str) -> Heard:
        """Ask an app past every sidecar."""
        return asked(f"http://{LOOPBACK}:{self.service(app).ports.app}", verb, path, body, headers)

    @asynccontextmanager
    async def ledger(self, app: str) -> AsyncIterator[Store]:
        """Open a service's ledger, as its app does."""
        store = Store(app, self.sidecar(app))
        await store.sidecar.close()  # which shows no token
        store.sidecar = Daprd(self.sidecar(app), api_token=self.tokens[app].api)
        try:
            yield store
        finally:
            await store.sidecar.close()

    def rows(self) -> dict[str, Any]:
        """Read all that services have stored, the bank's book and the names of the mails."""
        found: dict[str, Any] = {}
        for file in sorted(self.home.data.glob("*.db")):
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as database:
                found |= {f"{file.stem}/{key}": value for key, value in _rows(database)}
        return found | {mail.name: mail.read_text() for mail in self.home.mail.iterdir()}


def _rows(database: sqlite3.Connection) -> Iterator[tuple[str, Any]]:
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for row in database.execute(f"SELECT * FROM {table}"):  # noqa: S608 - the table's own name
            key = str(row[0]).partition("||")[2] or f"{table}/{row[0]}"
            if table != "metadata" and not key.startswith(RESTLESS):
                yield key, row[1:]


def asked(url: str, verb: str, path: str, body: Any, headers: Mapping[str, str]) -> Heard:
    """Ask; a value is sent as JSON."""
    sent = body if isinstance(body, bytes | None) else json.dumps(body)
    return ask(url, verb, path, sent, {**JSON, **headers})


@contextmanager
def secured(root: Path) -> Iterator[Secured]:
    """Run it; no process is left."""
    daprd, sentry = require_daprd(), require_sentry()
    home, table = install(root), read()
    _close(home, table)
    (door,) = free_ports(1)
    plan = make_plan(home, daprd, door)
    plan.write_resources()
    with ExitStack() as stack:
        system = Secured(plan, table, authority(stack, home, sentry), {app: Tokens() for app in table.apps})
        for part in (part for part in plan.parts if part.awaited):
            started(stack, PartProcess(part))
        for service in plan.services:
            started(stack, Process(_sidecar(system, service)))
            started(stack, Process(_app(system, service)))
        for service in plan.services:
            url = f"http://{LOOPBACK}:{service.ports.app}"
            eventually(lambda url=url: reachable(url, "/ready"), within=90, what=f"{service.app_id} is ready")
        yield system


def _close(home: Home, table: Table) -> None:
    """Give each sidecar the Configuration that it has in a cluster."""
    template = yaml.safe_load(home.template.read_text())
    template["common"]["env"] |= ENV
    for app in template["apps"]:
        app["configFilePath"] = f"cluster/{app['appID']}.yaml"
    home.template.write_text(yaml.safe_dump(template))
    for file in (home.root / "components" / "platform").glob("resiliency*.yaml"):
        file.unlink()


def _sidecar(system: Secured, service: ServicePlan) -> Command:
    command = system.authority.identified(service.sidecar, system.table.namespace)
    return replace(command, env={**command.env, **_tokens(system, service)})


def _app(system: Secured, service: ServicePlan) -> Command:
    return replace(service.app, env={**service.app.env, **_tokens(system, service)})


def _tokens(system: Secured, service: ServicePlan) -> dict[str, str]:
    own = system.tokens[service.app_id]
    given = {"DAPR_API_TOKEN": own.api, "APP_API_TOKEN": own.app}
    if service is system.plan.edge:  # which everybody may ask
        del given["APP_API_TOKEN"]
    return given
