"""`make images` and `make compose-test`: on the engine that answers, else on one of our own with images of our own."""

import argparse
import os
import re
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import docker

from composed.checks import CHECKS, images_are_small, images_say_what_they_are
from composed.project import Project, project
from outrigger.choice import Broker
from outrigger.home import find_home
from outrigger.runtime_build import tool
from servers.engine import engine
from servers.images import load
from servers.own import INSIDE, again_inside, dockerd, provide

BASES = {"BASE": "python", "BUILD_BASE": "python-build"}
USUAL = {"BASE": "python:3.11-slim-bookworm", "BUILD_BASE": "python:3.11-slim-bookworm"}
WHAT = ("images", "test")
PARTS = ("caddy", "syslog", "zipkin", "postgresql", "daprd")
_SECONDS = 300  # that an engine may take for anything
TABLE = re.compile(r"(<!-- compose-test -->\n)(.*?)(<!-- /compose-test -->)", re.DOTALL)


def main() -> None:
    """Choose an engine, and do what is asked on it."""
    parser = argparse.ArgumentParser(prog="make compose-test")
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--broker", type=Broker, default=Broker.REDIS, choices=list(Broker))
    parser.add_argument(INSIDE, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    tool(find_home(), "compose", "cmd")
    names = [*BASES.values(), *([*PARTS, str(asked.broker)] if asked.what == "test" else [])]
    if asked.inside:
        _inside(asked.inside, asked.what, asked.broker, names)
    elif engine():
        with closing(docker.from_env(timeout=_SECONDS)) as client:
            _do(asked.what, asked.broker, project(client, USUAL))
    else:
        provide(names)
        sys.exit(again_inside("composed", asked.what, "--broker", str(asked.broker)))


def _inside(folder: Path, what: str, broker: Broker, names: list[str]) -> None:
    """Do it on an engine that ends with it."""
    with dockerd(folder) as address, closing(docker.DockerClient(base_url=address, timeout=_SECONDS)) as client:
        images = {name: load(client, name) for name in names}
        settings = {f"IMAGE_{name.upper()}": images[name] for name in names if name not in BASES.values()}
        settings |= {variable: images[name] for variable, name in BASES.items()}
        _do(what, broker, project(client, {**settings, "DOCKER_HOST": address}))


def _do(what: str, broker: Broker, there: Project) -> None:
    there.run("build")
    if what == "images":
        _said([check(there) for check in (images_are_small, images_say_what_they_are)])
        return
    there = project(there.client, {**there.settings, **_choice(there, broker)})
    (there.home.work / "compose" / "logs" / "all.jsonl").unlink(missing_ok=True)
    try:
        there.run("up", "--detach", "--wait")
        said = [_said([check(there)])[0] for check in CHECKS]
    except BaseException:
        log = there.home.work / "compose-test.log"
        log.write_text(there.run("ps", "--all") + there.run("logs", "--no-color"))
        print(f"What the containers said is in {log}", file=sys.stderr)
        raise
    finally:
        there.run("down", "--volumes", "--timeout", "5")
    _write(broker, there, said)


def _choice(there: Project, broker: Broker) -> dict[str, str]:
    root = there.client.info()["DockerRootDir"]
    return {"BROKER": broker, "COMPOSE_PROFILES": f"{broker},logs", "DOCKER_ROOT": root}


def _said(lines: list[str]) -> list[str]:
    for line in lines:
        print(line, flush=True)
    return lines


def _write(broker: Broker, there: Project, said: list[str]) -> None:
    """Put this run in the place of the last one with this broker."""
    page = there.home.root / "docs" / "containers.md"
    text, version = page.read_text(), there.client.version()["Version"]
    found = TABLE.search(text)
    assert found, f"{page} has no place for this"
    others = [part for part in found[2].split("\n\n") if part.strip() and not part.startswith(f"**{broker}**")]
    day = f"{datetime.now(UTC):%-d %B %Y}"
    ours = f"**{broker}**, {day}, {os.cpu_count()} cores, Docker {version}:\n" + "".join(f"- {line}\n" for line in said)
    table = "\n\n".join(part.strip() for part in sorted([*others, ours]))
    page.write_text(text[: found.start(2)] + table + "\n" + text[found.end(2) :])


if __name__ == "__main__":
    main()
