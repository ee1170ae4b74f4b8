"""What `make changed`, `workflows`, `canary`, `promote`, `rollback`, `platform` and `cluster-login` run."""

import argparse
import json
import os
import sys
from pathlib import Path

from delivery import callers, login
from delivery.changed import reasons
from delivery.cluster import Delivery, Failed, platform
from delivery.manifests import NotDeployable
from delivery.members import ROOT, members, services


def say(line: str) -> None:
    """Tell whoever reads the log, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def changed(chosen: argparse.Namespace) -> None:
    """Say what concerns the service since a commit; a workflow reads `concerned`, and whether it runs in clusters."""
    found = reasons(chosen.service, chosen.base)
    for reason in found or [f"nothing since {chosen.base} concerns {chosen.service}"]:
        say(reason)
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a") as file:
            file.write(f"concerned={'yes' if found else 'no'}\n")
            file.write(f"deployed={'yes' if (ROOT / 'k8s/base' / chosen.service).is_dir() else 'no'}\n")


def workflows(_chosen: argparse.Namespace) -> None:
    """Write the workflow of each service."""
    for file in callers.write():
        say(str(file.relative_to(ROOT)))


def deliver(chosen: argparse.Namespace) -> None:
    """Try a version, keep it, or go back."""
    delivery = Delivery(chosen.service, chosen.overlay, alerts=chosen.alerts, tell=say)
    if chosen.act == "canary":
        delivery.canary(chosen.image, chosen.seconds)
    elif chosen.act == "promote":
        delivery.promote(chosen.image)
    else:
        delivery.rollback()


def apply_platform(chosen: argparse.Namespace) -> None:
    """Apply what belongs to no service."""
    for line in platform(chosen.overlay, services(members())):
        say(line)


def log_in(chosen: argparse.Namespace) -> None:
    """Write the kubeconfig."""
    login.write(Path(chosen.file), login.kubeconfig(chosen.server, chosen.authority, chosen.namespace))


def token(_chosen: argparse.Namespace) -> None:
    """Answer kubectl."""
    sys.stdout.write(json.dumps(login.credential()))


ACTS = {
    "changed": changed, "workflows": workflows, "canary": deliver, "promote": deliver, "rollback": deliver,
    "platform": apply_platform, "login": log_in, "token": token,
}  # fmt: skip


def main() -> None:
    """Do one of them."""
    parser = argparse.ArgumentParser(prog="delivery", description=__doc__)
    parser.add_argument("act", choices=ACTS)
    for option in ("service", "base", "image", "overlay", "alerts", "file", "server", "authority", "namespace"):
        parser.add_argument(f"--{option}", default="")
    parser.add_argument("--seconds", type=int, default=300)
    chosen = parser.parse_args()
    try:
        ACTS[chosen.act](chosen)
    except (Failed, NotDeployable, login.NotOnGitHub, FileNotFoundError) as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
