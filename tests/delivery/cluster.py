"""One service in a cluster: on trial, for good, or back to what ran before.

A trial is a rollout that stands still. The Deployment lets one pod more come up (`maxSurge: 1`, `maxUnavailable: 0`),
and `minReadySeconds` keeps it from going on while the rollout is paused. So the order of the two does not matter, and a
runner that dies in between leaves one new pod, not a finished rollout. Promotion lets it go on; a rollback undoes it.
"""

import json
import subprocess
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from delivery.manifests import SETTLED, Manifest, image_of, name_of, of_none, of_service, on_trial
from delivery.members import ROOT

LOOK = 5.0  # s between two looks
FIRST = 300.0  # s in which the first new pod has to be ready
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


class Kubectl(Protocol):
    """Runs `kubectl` and returns what it said; raises `Failed`."""

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """`given` is its standard input."""
        ...


class Failed(Exception):
    """A command failed, or what it started did not turn out well."""


def kubectl(*arguments: str, given: str | None = None) -> str:
    """Run the real one."""
    done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"kubectl {' '.join(arguments[:3])} failed: {done.stderr.strip()}")
    return done.stdout


class Delivery:
    """Puts one service into a cluster."""

    def __init__(
        self, service: str, overlay: str, *, tell: Callable[[str], object], alerts: str = "",
        kubectl: Kubectl = kubectl, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep, root: Path = ROOT,
    ) -> None:  # fmt: skip
        """`alerts` is Prometheus as the API server reaches it, such as `monitoring/services/prometheus:9090`."""
        self.service, self.overlay, self.alerts, self.root = service, overlay, alerts, root
        self._kubectl, self._tell, self._clock, self._sleep = kubectl, tell, clock, sleep

    def canary(self, image: str, seconds: int) -> None:
        """Bring up one pod of `image` and watch it. Raises `Failed`, and then what ran before runs again."""
        before, known = self._deployment(), self._firing()
        self._apply(image, seconds, before["spec"]["replicas"] if before else None)
        after = self._seen()
        if before is None:
            self._tell(f"{self.service} is new here: nothing to compare it with, so all of it starts")
            self._settle()
        elif _revision(before) == _revision(after) and _whole(after):
            self._tell(f"{self.service} runs this already")
        else:
            self._patch({"paused": True})
            self._try(after, seconds, known)
            self._tell(f"{self.service}: one pod of {image} was well for {seconds} s, and stays as it is")

    def _apply(self, image: str, seconds: int, replicas: int | None) -> None:
        manifests = of_service(rendered(self._kubectl, self.root, self.overlay), self.service)
        tried = [
            on_trial(m, image, seconds=seconds + SETTLED, replicas=replicas) if m["kind"] == "Deployment" else m
            for m in manifests
        ]
        self._kubectl("apply", "--filename=-", given=yaml.safe_dump_all(tried))

    def _try(self, deployment: Manifest, seconds: int, known: Container[str]) -> None:
        try:
            self._watch(deployment, seconds, known)
        except Failed as failure:
            self._tell(str(failure))
            self.rollback()
            raise

    def promote(self, image: str) -> None:
        """Let the rollout of `image` go on to its end. Raises `Failed` where another one is on trial by now."""
        found = image_of(self._known(), image.partition("@")[0])
        if found != image:
            raise Failed(f"{self.service} has {found} on trial by now, not {image}: nothing was changed")
        self._settle()
        self._tell(f"{self.service}: every pod runs {image}")

    def rollback(self) -> None:
        """Go back to what ran before; a trial is ended by it."""
        self._known()
        self._patch({"paused": False})  # a paused Deployment cannot be undone; its next pod waits for minReadySeconds
        self._kubectl("rollout", "undo", f"deployment/{self.service}")
        self._settle()
        self._tell(f"{self.service} runs what it ran before")

    def _settle(self) -> None:
        self._patch({"paused": False, "minReadySeconds": SETTLED})
        self._kubectl("rollout", "status", f"deployment/{self.service}", "--timeout=20m")

    def _watch(self, deployment: Manifest, seconds: int, known: Container[str]) -> None:
        """Watch the new pod. Alerts that fired before are not its fault, and a fix for them has to get in."""
        begun, well = self._clock(), None
        while well is None or self._clock() - well < seconds:
            pods = self._new_pods(deployment)
            if trouble := [*fallen(pods), *(alert for alert in self._firing() if alert not in known)]:
                raise Failed(f"{self.service}: {'; '.join(trouble)}")
            if not ready(pods):
                if well is not None or self._clock() - begun > FIRST:
                    raise Failed(f"{self.service}: the new pod is not ready")
            elif well is None:
                well = self._clock()
            self._sleep(LOOK)

    def _new_pods(self, deployment: Manifest) -> list[Manifest]:
        labels = ",".join(f"{k}={v}" for k, v in deployment["spec"]["selector"]["matchLabels"].items())
        sets = self._items("replicasets", labels)
        newest = [s for s in sets if _revision(s) == _revision(deployment)]
        hashes = {s["metadata"]["labels"][HASH] for s in newest}
        return [p for p in self._items("pods", labels) if p["metadata"]["labels"].get(HASH) in hashes]

    def _firing(self) -> list[str]:
        if not self.alerts:
            return []
        namespace, _, proxied = self.alerts.partition("/")
        path = f"/api/v1/namespaces/{namespace}/{proxied}/proxy/api/v1/alerts"
        return firing(json.loads(self._kubectl("get", f"--raw={path}")), self.service)

    def _seen(self) -> Manifest:
        """Wait until the controller has seen what was applied, so that its first new pod is on the way."""
        begun = self._clock()
        while True:
            found = self._known()
            status = found.get("status", {})
            if status.get("observedGeneration", 0) >= found["metadata"]["generation"] and status.get("updatedReplicas"):
                return found
            if self._clock() - begun > FIRST:
                raise Failed(f"{self.service}: the cluster does not begin to roll out what was applied")
            self._sleep(1.0)

    def _deployment(self) -> Manifest | None:
        told = self._kubectl("get", f"deployment/{self.service}", "--output=json", "--ignore-not-found")
        return json.loads(told) if told.strip() else None

    def _known(self) -> Manifest:
        if found := self._deployment():
            return found
        raise Failed(f"there is no Deployment {self.service} here")

    def _items(self, kind: str, labels: str) -> list[Manifest]:
        return json.loads(self._kubectl("get", kind, f"--selector={labels}", "--output=json"))["items"]

    def _patch(self, spec: Mapping[str, Any]) -> None:
        self._kubectl("patch", f"deployment/{self.service}", "--type=merge", f"--patch={json.dumps({'spec': spec})}")


def _revision(deployment: Manifest) -> str:
    return deployment["metadata"].get("annotations", {}).get(REVISION, "")


def _whole(deployment: Manifest) -> bool:
    """Tell whether all pods are of the newest template."""
    return deployment["status"].get("updatedReplicas") == deployment["spec"]["replicas"]


def platform(overlay: str, services: Sequence[str], *, kubectl: Kubectl = kubectl, root: Path = ROOT) -> list[str]:
    """Apply what belongs to no service; returns what it was."""
    manifests = of_none(rendered(kubectl, root, overlay), services)
    kubectl("apply", "--filename=-", given=yaml.safe_dump_all(manifests))
    return [f"{m['kind']} {name_of(m)}" for m in manifests]


def rendered(kubectl: Kubectl, root: Path, overlay: str) -> list[Manifest]:
    """Render an overlay."""
    text = kubectl("kustomize", str(root / "k8s/overlays" / overlay))
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def ready(pods: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether there are pods, and all of them are ready."""
    conditions = [p.get("status", {}).get("conditions", []) for p in pods]
    return bool(conditions) and all(
        any(c["type"] == "Ready" and c["status"] == "True" for c in cs) for cs in conditions
    )


def fallen(pods: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the containers that were started again, sidecars too."""
    return [
        f"{container['name']} of {name_of(pod)} was started again {container['restartCount']} times"
        for pod in pods for container in pod.get("status", {}).get("containerStatuses", ()) if container["restartCount"]
    ]  # fmt: skip


def firing(answer: Mapping[str, Any], service: str) -> list[str]:
    """Name the alerts that fire for a service, of what Prometheus answers to `/api/v1/alerts`."""
    labels = [alert["labels"] for alert in answer["data"]["alerts"] if alert["state"] == "firing"]
    return [f"{found['alertname']} fires" for found in labels if found.get("service") == service]
