#!/usr/bin/env bash
# collect.sh OUT FOLDER: checkpoints out of what run.sh left in OUT, and how to go on with them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ $# -eq 2 ] || { echo "error: give OUT of run.sh and a FOLDER for the checkpoints" >&2; exit 2; }
"$python" -m arcmobile.posttrain.gpu_run collect "$1" "$2" --base "$root/checkpoints/embedded"
printf '%s\n' '' 'next' \
    "  judge    .venv/bin/arcmobile evaluate --base $2/flow --checkpoint $2/arc --out out/evaluation" \
    "  listen   make export-android CHECKPOINT=$2/arc" \
    "  keep     copy model.safetensors and text_encoder/ of $2/arc to checkpoints/embedded"
