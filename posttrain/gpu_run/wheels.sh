#!/usr/bin/env bash
# wheels.sh [PYTHON]: fills posttrain/gpu_run/wheels for the machine's Python 3.12, and for PYTHON.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${1:-python3}
rm -rf "$here/wheels"

download() {
    "$python" -m pip download --disable-pip-version-check -q --no-deps --only-binary=:all: \
        -d "$here/wheels" -r "$here/wheels.txt" "$@"
}

download --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64
download
du -sh "$here/wheels" | sed "s|$here/|posttrain/gpu_run/|"
