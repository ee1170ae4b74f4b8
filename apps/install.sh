#!/bin/sh
# How the images of all services are made, called by their Dockerfiles in the project's folder, one step a layer:
#   ask SERVICE   what uv.lock has for it, and its list of materials (CycloneDX)
#   packages      other people's packages, by hash: /app
#   members       ours: /service
set -eu

ask() {
    of="--quiet --frozen --package $1 --no-dev --no-editable"
    mkdir -p /asked
    uv export $of --no-emit-workspace --no-header --no-annotate --output-file /asked/packages.txt
    uv export $of --only-emit-workspace --no-hashes --no-header --no-annotate --output-file /asked/members.txt
    uv export $of --format cyclonedx1.5 --output-file /asked/sbom.cdx.json
}

packages() {
    uv venv --quiet /app
    uv pip install --quiet --python /app --no-deps --require-hashes --compile-bytecode --requirement /asked/packages.txt
}

members() {
    uv pip install --quiet --python /app --no-deps --compile-bytecode --target /service --requirement /asked/members.txt
    cp /asked/sbom.cdx.json apps/alive.py /service
}

"$@" >/dev/null
