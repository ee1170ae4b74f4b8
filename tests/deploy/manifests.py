"""What `kubectl apply -k` would send: the overlays, rendered by kustomize, and how one looks into them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from deploy.tools import run
from support.installation import REPOSITORY

K8S = REPOSITORY / "k8s"
SERVICES = ("gateway", "users", "orders", "inventory", "payments", "notifications")
OVERLAYS = {"local": "redis", "rabbitmq": "rabbitmq", "kafka": "kafka", "istio": "redis"}  # and their brokers
OURS, BACKING = "outrigger", "backing"  # namespaces
NAME, PART_OF = "app.kubernetes.io/name", "app.kubernetes.io/part-of"

Manifest = Mapping[str, Any]
Manifests = Sequence[Manifest]


def build(folder: Path) -> list[Manifest]:
    """Render a kustomization."""
    return [each for each in yaml.load_all(run("kustomize", "build", folder), yaml.CSafeLoader) if each]


@cache
def rendered(overlay: str) -> Manifests:
    """Render an overlay, once a process."""
    return build(K8S / "overlays" / overlay)


@cache
def scaled_by_events(overlay: str) -> Manifests:
    """Render an overlay with KEDA's component for its broker, as k8s/README.md says how."""
    with TemporaryDirectory() as folder:
        base, component = K8S / "overlays" / overlay, K8S / "components" / f"keda-{OVERLAYS[overlay]}"
        text = {"resources": [os.path.relpath(base, folder)], "components": [os.path.relpath(component, folder)]}
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return build(Path(folder))


def of(manifests: Iterable[Manifest], *kinds: str, namespace: str | None = None) -> list[Manifest]:
    """Return the manifests of these kinds."""
    return [
        each for each in manifests
        if each["kind"] in kinds and namespace in {None, each["metadata"].get("namespace")}
    ]  # fmt: skip


def one(manifests: Iterable[Manifest], kind: str, name: str, namespace: str = OURS) -> Manifest:
    """Return the manifest of that kind and name."""
    (found,) = (each for each in of(manifests, kind, namespace=namespace) if each["metadata"]["name"] == name)
    return found


def named(manifest: Manifest) -> str:
    """Name a manifest for whoever reads a failure."""
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta.get('namespace', '-')}/{meta['name']}"


def workloads(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return what makes pods."""
    return of(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def pod(workload: Manifest) -> dict[str, Any]:
    """Return the pod that a workload makes."""
    template = workload["spec"]["template"]
    namespace = workload["metadata"]["namespace"]
    meta = {"name": workload["metadata"]["name"], "namespace": namespace, **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


def containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return all containers of a pod's spec."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind, ())


def chosen(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector chooses what has these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(_holds(rule, labels) for rule in selector.get("matchExpressions", ()))


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values", ())
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[rule["operator"]]


def walk(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Return every leaf with its path."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from walk(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from walk(each, (*path, number))
    else:
        yield path, value
