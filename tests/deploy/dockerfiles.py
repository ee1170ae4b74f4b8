"""What a Dockerfile of ours must and must not say."""

import json
import re
from collections.abc import Iterator

OWN = ("ENV APP_", "ENV BANK_", "RUN install -d ", "CMD ")  # lines in which a service may differ from the others
HOST = re.compile(r"^[^/]*[.:][^/]*/|^localhost/")  # what Docker takes for a registry
ROOTS = {"0", "root"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Return instructions with their arguments, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined)]


def common(text: str, service: str) -> str:
    """Return what it shares with the others: less its own lines and its name."""
    kept = [line for line in text.splitlines() if not line.startswith(OWN)]
    return re.sub(rf"\b{service}\b", "SERVICE", "\n".join(kept))


def faults(text: str) -> list[str]:
    """Tell what is not as it should be."""
    told = instructions(text)
    return [*_bases(told), *_user(told), *_health(told), *_fetched(told), *_told(told)]


def image_faults(name: str) -> list[str]:
    """Tell what is wrong with an image's name: a registry's host in it, or a tag that is not said."""
    tag = name.rpartition("/")[2].partition(":")[2]
    found = [f"{name} names a registry"] if HOST.match(name) else []
    return [*found, *([f"{name} has no tag, or one that moves"] if tag in {"", "latest"} else [])]


def _bases(told: list[tuple[str, str]]) -> Iterator[str]:
    """Each stage stands on an earlier one or on an argument, whose default says a name and a tag."""
    arguments: dict[str, str] = {}
    stages: set[str] = set()
    for word, rest in told:
        if word == "ARG" and not stages:
            name, _, value = rest.partition("=")
            arguments[name] = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], value)
        elif word == "FROM":
            base, _, stage = rest.partition(" AS ")
            stages.add(stage)
            if (found := re.fullmatch(r"\$\{(\w+)\}", base)) and found[1] in arguments:
                yield from image_faults(arguments[found[1]])
            elif base not in stages:
                yield f"{base} is no argument, so nobody can choose another base"


def _user(told: list[tuple[str, str]]) -> Iterator[str]:
    users = [rest for word, rest in _last_stage(told) if word == "USER"]
    if not users or users[-1].partition(":")[0] in ROOTS:
        yield "it runs as root"
    elif not users[-1].partition(":")[0].isdigit():
        yield "its user is a name, by which Kubernetes cannot tell that it is not root"


def _health(told: list[tuple[str, str]]) -> Iterator[str]:
    checks = [rest for word, rest in _last_stage(told) if word == "HEALTHCHECK"]
    if not checks:
        yield "it has no health check"
    if any(tool in check for check in checks for tool in ("curl", "wget")):
        yield "its health check needs a program that the image does not need"


def _fetched(told: list[tuple[str, str]]) -> Iterator[str]:
    for word, rest in told:
        if word == "ADD" or re.search(r"https?://", rest):
            yield f"{word} {rest} fetches something that no lock pins"


def _told(told: list[tuple[str, str]]) -> Iterator[str]:
    labels = " ".join(rest for word, rest in _last_stage(told) if word == "LABEL")
    for name in ("title", "description", "version", "revision", "created", "licenses", "base.name"):
        if f"org.opencontainers.image.{name}=" not in labels:
            yield f"it has no label {name}"
    if not isinstance(json.loads(dict(told).get("CMD", "null")), list):
        yield "its command goes through a shell, which hears the signals instead of it"


def _last_stage(told: list[tuple[str, str]]) -> list[tuple[str, str]]:
    last = max(at for at, (word, _) in enumerate(told) if word == "FROM")
    return told[last:]
