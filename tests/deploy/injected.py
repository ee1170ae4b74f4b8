"""Pods as they run: with the sidecar that Dapr's own injector adds (`dapr/runtime/tools-k8s/inject`)."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from deploy.manifests import of, pod, rendered
from deploy.tools import run

PREFIX = "dapr.io/"


def inject(pods: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """Return the patched pods, and every annotation that the injector reads."""
    told = json.loads(run("inject", told=json.dumps(pods)))
    return told["pods"] or [], frozenset(told["annotations"])


@cache
def injected(overlay: str) -> dict[str, dict[str, Any]]:
    """Return the pods of an overlay's services, by the name of their Deployment."""
    pods, _ = inject([pod(each) for each in of(rendered(overlay), "Deployment")])
    return {each["metadata"]["name"]: each for each in pods}


@cache
def known_annotations() -> frozenset[str]:
    """Return every annotation that the injector reads."""
    return inject([])[1]


def sidecar(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sidecar's container of a patched pod."""
    (found,) = (each for each in pod["spec"]["containers"] if each["name"] == "daprd")
    return found


def arguments(words: Sequence[str]) -> dict[str, str]:
    """Read a command line of daprd: `--flag value`, `--flag=value`, and flags alone, which are true."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        flag, given, value = rest.pop(0).removeprefix("--").partition("=")
        if not given:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        found[flag] = value
    return found
