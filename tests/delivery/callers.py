"""The workflow of each service, which only names it: what is done stands in `service.yml`, once for all.

`make workflows` writes them; a test holds the files to this text, and the paths in it to what is imported.
"""

from collections.abc import Mapping
from pathlib import Path

from delivery.changed import watched
from delivery.members import ROOT, members, services

FOLDER = Path(".github/workflows")
TEXT = """\
# Written by `make workflows`. What is done stands in service.yml; here stands only for which service, and when.
name: {service}
on:
  pull_request:
    paths:
{paths}
  push:
    branches: [main]
    paths:
{paths}
  workflow_dispatch:
    inputs:
      action:
        description: deliver what main holds, or go back to what ran before
        type: choice
        options: [deliver, rollback]
        default: deliver
permissions: {{}}
concurrency:
  # A rollback does not wait for a delivery that waits for somebody's approval.
  group: {service}-${{{{ github.ref }}}}-${{{{ inputs.action || 'deliver' }}}}
  cancel-in-progress: ${{{{ github.event_name == 'pull_request' }}}}
jobs:
  {service}:
    permissions:
      contents: read
      packages: write # publish
      id-token: write # publish (attestations), and the cluster
      attestations: write # publish
      artifact-metadata: write # publish
    uses: ./.github/workflows/service.yml
    with:
      service: {service}
      action: ${{{{ inputs.action || 'deliver' }}}}
    secrets:
      registry-token: ${{{{ secrets.REGISTRY_TOKEN }}}}
"""


def caller(known: Mapping[str, frozenset[str]], service: str) -> str:
    """Return the text of a service's workflow."""
    lines = "\n".join(f"      - {pattern}" for pattern in watched(known, service))
    return TEXT.format(service=service, paths=lines)


def write(root: Path = ROOT) -> list[Path]:
    """Write the workflows of all services; returns the files."""
    known = members(root)
    files = []
    for service in services(known):
        file = root / FOLDER / f"{service}.yml"
        file.write_text(caller(known, service))
        files.append(file)
    return files
