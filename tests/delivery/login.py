"""How a workflow is known to a cluster: by GitHub's own word for who it is, for minutes, and by no stored secret.

A kubeconfig that names this module as its credential plugin: kubectl asks it for a token, it asks GitHub, and the
cluster's API server checks GitHub's signature, the audience and whose workflow in which environment it was
(docs/operations.md has the other side).
"""

import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from delivery.members import ROOT

WITHIN = 20.0


class NotOnGitHub(Exception):
    """There is nobody here who could say who we are."""


def kubeconfig(server: str, authority: str, namespace: str) -> dict[str, Any]:
    """Return a kubeconfig for an API server's address, its CA (PEM, base64) and a namespace. It holds no secret."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": sys.executable, "args": ["-m", "delivery", "token"],
        "env": [{"name": "PYTHONPATH", "value": str(ROOT / "tests")}],
    }  # fmt: skip
    context = {"cluster": "cluster", "user": "workflow", "namespace": namespace}
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "cluster",
        "clusters": [{"name": "cluster", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": "workflow", "user": {"exec": plugin}}],
        "contexts": [{"name": "cluster", "context": context}],
    }  # fmt: skip


def write(file: Path, config: Mapping[str, Any]) -> None:
    """Write a kubeconfig for its owner alone; JSON is YAML."""
    file.touch(mode=0o600)
    file.write_text(json.dumps(config, indent=2))


def credential(environment: Mapping[str, str] = os.environ, audience: str = "kubernetes") -> dict[str, Any]:
    """Return what kubectl expects of a credential plugin. Raises `NotOnGitHub`."""
    try:
        address, secret = environment["ACTIONS_ID_TOKEN_REQUEST_URL"], environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    except KeyError as missing:
        raise NotOnGitHub(f"{missing} is not set: this job lacks the permission id-token: write") from missing
    request = urllib.request.Request(  # noqa: S310 - the runner's own address
        f"{address}&audience={quote(audience)}", headers={"authorization": f"bearer {secret}"}
    )
    with urllib.request.urlopen(request, timeout=WITHIN) as answer:  # noqa: S310 - as above
        token = json.load(answer)["value"]
    return {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
