"""A certificate authority of Dapr's own (sentry), and sidecars that are known by what it gave them."""

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from chassis_testing.sidecars import require_daprd, untested
from outrigger.commands import Command
from outrigger.home import Home
from outrigger.ports import LOOPBACK, free_ports
from outrigger.runtime import version_of
from outrigger.runtime_build import built
from servers.process import Process
from support.installation import REPOSITORY, reachable
from support.polling import eventually

CONFIG = "{apiVersion: dapr.io/v1alpha1, kind: Configuration, metadata: {name: daprsystem}, spec: {}}"


@dataclass(frozen=True, slots=True)
class Authority:
    """Where it answers, and its root certificate."""

    port: int
    anchors: str

    def identified(self, sidecar: Command, namespace: str) -> Command:
        """Let a sidecar get a certificate, in which its app id and namespace are."""
        flags = ("--enable-mtls", "--sentry-address", f"{LOOPBACK}:{self.port}")
        env = {**sidecar.env, "NAMESPACE": namespace, "DAPR_TRUST_ANCHORS": self.anchors}
        return replace(sidecar, argv=(*sidecar.argv, *flags), env=env)


def require_sentry() -> Path:
    """Return the sentry of the daprd in use; without one the test is skipped, and fails where `CI` is true.

    One of another version may refuse that daprd's kind of key.
    """
    sidecar, own = require_daprd(), built(Home(REPOSITORY))
    alike = [own] if own and version_of(own) == version_of(sidecar) else []
    for daprd in (sidecar, *alike):
        if os.access(daprd.with_name("sentry"), os.X_OK):
            return daprd.with_name("sentry")
    return untested(
        f"NO SENTRY: service identity was not tried on real certificates. Put its sentry beside {sidecar}, "
        "or run `make setup` without a daprd on PATH."
    )


def started(stack: ExitStack, process: Process) -> None:
    """Start a process, nothing of which is kept at the end."""
    process.start()
    stack.callback(process.kill)


def authority(stack: ExitStack, home: Home, binary: Path) -> Authority:
    """Start one, with a root certificate of its own making."""
    port, health = free_ports(2)
    folder, config = home.work / "sentry", home.work / "sentry.yaml"
    folder.mkdir()
    config.write_text(CONFIG)
    argv = (
        "sentry", "--port", str(port), "--listen-address", LOOPBACK, "--healthz-port", str(health),
        "--healthz-listen-address", LOOPBACK, "--issuer-credentials", str(folder), "--trust-domain", "localhost",
        "--config", str(config), "--enable-metrics=false", "--log-level", "info",
    )  # fmt: skip
    env = {key: value for key, value in os.environ.items() if key != "NAMESPACE"}
    started(stack, Process(Command("sentry", binary, argv, folder, env, home.logs / "sentry.log")))
    eventually(lambda: reachable(f"http://{LOOPBACK}:{health}", "/healthz"), within=30, what="sentry is well")
    return Authority(port, (folder / "ca.crt").read_text())
