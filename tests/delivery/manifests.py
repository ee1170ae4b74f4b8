"""What of a rendered overlay belongs to one service, and how its Deployment goes to a cluster: pinned, and on trial.

A canary is a new pod in the service's own Deployment, not a Deployment beside it. Dapr's operator keeps one Service for
each app id, points it at the pods of whichever Deployment it saw last, and lets it go with that one: a second
Deployment of the same app id would take all calls between services, and leave none when it is deleted.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

Manifest = dict[str, Any]
SETTLED = 10  # s for which a pod must be ready before the next one is replaced
SLACK = 600  # s beyond the trial, until Kubernetes calls a rollout stuck


class NotDeployable(Exception):
    """The overlay does not hold what this asks for."""


def name_of(manifest: Mapping[str, Any]) -> str:
    """Return a manifest's name."""
    return manifest["metadata"]["name"]


def of_service(rendered: Iterable[Manifest], service: str) -> list[Manifest]:
    """Return what belongs to a service: what has its name, alone or as the beginning of a longer one.

    Of Deployments only its own: another one of its app id is a mesh's business, and nobody's who delivers.
    """
    found = [m for m in rendered if name_of(m) == service or name_of(m).startswith(f"{service}-")]
    found = [m for m in found if m["kind"] != "Deployment" or name_of(m) == service]
    if not any(m["kind"] == "Deployment" for m in found):
        raise NotDeployable(f"the overlay holds no Deployment {service}")
    return found


def of_none(rendered: Iterable[Manifest], services: Iterable[str]) -> list[Manifest]:
    """Return what belongs to no service: components, policies, the way in, what only an overlay has."""
    names = tuple(services)
    begins = tuple(f"{name}-" for name in names)
    return [m for m in rendered if name_of(m) not in names and not name_of(m).startswith(begins)]


def on_trial(deployment: Manifest, image: str, *, seconds: int, replicas: int | None) -> Manifest:
    """Return a Deployment of `image` whose rollout stands still for `seconds` once its first new pod is ready.

    `replicas` is how many there are now: an autoscaler's choice is not undone by what stands in the file.
    """
    tried = deepcopy(deployment)
    _container(tried, image)["image"] = image
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    tried["spec"] |= {"strategy": strategy, "minReadySeconds": seconds, "progressDeadlineSeconds": seconds + SLACK}
    tried["spec"] |= {"paused": False} | ({} if replicas is None else {"replicas": replicas})
    return tried


def image_of(deployment: Mapping[str, Any], repository: str) -> str | None:
    """Return the image that a Deployment runs from a repository such as `registry/orders`, if it does."""
    images = [c["image"] for c in deployment["spec"]["template"]["spec"]["containers"]]
    return next((image for image in images if _repository(image) == repository), None)


def _container(deployment: Manifest, image: str) -> Manifest:
    """Find the container whose image has the same last name, whatever registry and version it is of."""
    wanted = _repository(image).rpartition("/")[2]
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        if _repository(container["image"]).rpartition("/")[2] == wanted:
            return container
    raise NotDeployable(f"no container of {name_of(deployment)} runs an image named {wanted}")


def _repository(image: str) -> str:
    """Return an image's name without digest and tag; a colon before the last slash is a port."""
    bare = image.partition("@")[0]
    path, slash, last = bare.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"
