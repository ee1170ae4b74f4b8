"""The documented way as an installation: one service that saves, then publishes, and one that listens."""

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from support.installation import REPOSITORY, Installation
from support.unscoped import unscope

NAME, LISTENER = "textbook", "listener"
DOOR = "/place-order"
MODULES = {NAME: "load.textbook.textbook", LISTENER: "storm.listener"}
STILL = 30.0  # s without news, after which no more is expected: above what redeliveries take


def installed(folder: Path, *choice: str) -> Installation:
    """Install it: broker, store and sidecars as always, two other apps."""
    system = Installation.at(folder, {}, choice)
    unscope(system.home.root / "components")
    template = yaml.safe_load(system.home.template.read_text())
    template["apps"] = [_app(system, number, named) for number, named in enumerate(MODULES.items())]
    system.home.template.write_text(yaml.safe_dump(template))
    return system


def stored(system: Installation) -> set[str]:
    """Return the orders in its store, whether anybody was told of them or not."""
    database = sqlite3.connect(f"file:{system.home.data / f'{NAME}.db'}?mode=ro", uri=True, timeout=5)
    try:
        rows = database.execute("SELECT key FROM state WHERE key LIKE ?", (f"{NAME}||%",)).fetchall()
    finally:
        database.close()
    return {key.partition("||")[2] for (key,) in rows}


def heard(system: Installation, of: set[str]) -> set[str]:
    """Return the orders that the listener has heard of, when it knows all of these or nothing comes any more."""
    names, news = _written(system), time.monotonic()
    while of - names and time.monotonic() - news < STILL:
        time.sleep(0.2)
        if (now := _written(system)) != names:
            names, news = now, time.monotonic()
    return names


def _written(system: Installation) -> set[str]:
    file = _file(system)
    return set(file.read_text().split()) if file.is_file() else set()


def _file(system: Installation) -> Path:
    return system.home.work / "heard"


def _app(system: Installation, number: int, named: tuple[str, str]) -> dict[str, Any]:
    name, module = named
    folder = system.home.root / "apps" / name
    folder.mkdir()
    ports = ("appPort", "daprHTTPPort", "daprGRPCPort", "daprInternalGRPCPort")
    return {
        "appID": name, "appDirPath": f"../apps/{name}", "command": [sys.executable, "-m", module],
        "env": {"PYTHONPATH": str(REPOSITORY / "tests"), "HEARD": str(_file(system))},
        **{port: 18000 + 10 * number + digit for digit, port in enumerate(ports)},
    }  # fmt: skip
