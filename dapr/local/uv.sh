#!/bin/sh
# Runs uv: the one on PATH, else a pinned one that is installed into the user's cache first.
# Usage: uv.sh VERSION ARGUMENT...
set -eu

version=$1
shift

if command -v uv >/dev/null 2>&1; then
    exec uv "$@"
fi

cache=${OUTRIGGER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/outrigger}
home=$cache/uv-$version
if [ ! -x "$home/bin/uv" ]; then
    echo "Installing uv $version into $home" >&2
    mkdir -p "$cache"
    python3 -m venv "$home" || {
        echo "python3 cannot make a venv: install uv, or your system's python3-venv package." >&2
        exit 1
    }
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$version" || {
        rm -rf "$home"
        echo "uv could not be installed: install it yourself, or see what pip said above." >&2
        exit 1
    }
fi
exec "$home/bin/uv" "$@"
