"""Handing over to `dapr run`: a run template beside the rendered resources, which uses them and this run's parts."""

import os
from pathlib import Path

import yaml

from outrigger.commands import TRACES
from outrigger.home import Home


def hand_over(home: Home, traces: str) -> Path:
    """Write `.outrigger/dapr.yaml`: the project's own template, with other resources and another Zipkin."""
    document = yaml.safe_load(home.template.read_text())
    common = document["common"]
    common["resourcesPaths"] = [home.resources.name]
    if config := common.get("configFilePath"):
        common["configFilePath"] = f"{home.configs.name}/{Path(config).name}"
    common.setdefault("env", {})[TRACES] = traces
    for app in document["apps"]:
        folder = home.template.parent / app["appDirPath"]
        app["appDirPath"] = os.path.relpath(folder, home.work)
    target = home.work / home.template.name
    target.write_text(yaml.safe_dump(document, sort_keys=False, width=120))
    return target
