"""What `tye.yaml` names beside the project's own files: `.outrigger/tye`, one folder with all resources.

Tye starts every sidecar in the project's folder, from one folder of resources in which the Configuration lies as well;
components/ has several, with paths that are relative to an app's.
"""

from pathlib import Path

from outrigger.choice import Choice
from outrigger.home import Home
from outrigger.plan import configs_of, folders_of
from outrigger.resources import TRACES, Addresses, render, render_config, render_text
from outrigger.template import read_template

FROM_AN_APP = "../../.outrigger/"
ADDRESSES: Addresses = {TRACES: "http://localhost:9411/api/v2/spans"}


def prepare_tye(home: Home) -> Path:
    """Write the resources of the template's own choice, at the addresses that components/ has."""
    template, folder = read_template(home.template), home.work / "tye"
    for path in render(folders_of(home, template, Choice()), folder, {}):
        path.write_text(render_text(path.read_text().replace(FROM_AN_APP, ".outrigger/"), {}))
    for config in configs_of(home, template):
        render_config(config, folder, ADDRESSES)
    return folder
