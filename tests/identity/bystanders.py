"""Sidecars that somebody puts beside ours, without app and components."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from identity.authority import started
from identity.secured import Secured, Tokens
from outrigger.commands import Command
from outrigger.ports import LOOPBACK, free_ports
from servers.process import Process
from support.installation import reachable
from support.polling import eventually

# Another app, one of our names in another namespace, and one without certificate: app id and namespace.
THEY = {"stranger": ("stranger", "outrigger"), "impostor": ("gateway", "elsewhere"), "plain": ("gateway", None)}


@contextmanager
def bystanders(system: Secured) -> Iterator[None]:
    """Run them. Afterwards the names that they took may lead to nobody for a while."""
    with ExitStack() as stack:
        for name, (app_id, namespace) in THEY.items():
            _alone(stack, system, name, app_id, namespace)
        for name in THEY:
            eventually(lambda name=name: reachable(system.sidecar(name), "/v1.0/healthz/outbound"), within=30)
        yield


def _alone(stack: ExitStack, system: Secured, name: str, app_id: str, namespace: str | None) -> None:
    """Start a sidecar without app and components."""
    http, grpc, internal = free_ports(3)
    pairs = {
        "app-id": app_id, "dapr-http-port": http, "dapr-grpc-port": grpc, "dapr-internal-grpc-port": internal,
        "dapr-listen-addresses": LOOPBACK, "dapr-internal-grpc-listen-address": LOOPBACK, "log-level": "info",
    }  # fmt: skip
    argv = ("daprd", *(word for flag, value in pairs.items() for word in (f"--{flag}", str(value))))
    env = {key: value for key, value in os.environ.items() if not key.startswith("DAPR_")} | {"DAPR_HOST_IP": LOOPBACK}
    log = system.home.logs / f"{name}.log"
    command = Command(name, system.plan.daprd, (*argv, "--enable-metrics=false"), system.home.root, env, log)
    started(stack, Process(system.authority.identified(command, namespace) if namespace else command))
    system.bare[name] = http
    system.tokens[name] = Tokens()
