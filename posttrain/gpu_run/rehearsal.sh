#!/usr/bin/env bash
# rehearsal.sh [--tiny]: run.sh on this machine's CPU, in an environment like the lent machine's, and
# everything that has to be true of what it leaves. --tiny borrows the packages of .venv.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${VENV:-$root/.venv}
most_bytes=60000000
fail() { echo "error: $*" >&2; exit 1; }

minutes=9 bare=$root/build/gpu-environment linked=() # a limit: a rehearsal ends when it is through
if [ "${1:-}" = --tiny ]; then
    bare=$root/build/gpu-environment-linked
    linked=(--linked "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')")
fi
bash "$here/wheels.sh" "$venv/bin/python"
"$venv/bin/python" "$here/bare_environment.py" "$bare" ${linked[@]+"${linked[@]}"}
"$bare/bin/python" -c 'import pydantic' 2>/dev/null && fail "$bare: has pydantic, the machine has not"

# What travels: files that git knows or would, and the wheels.
sent=$({ git -C "$root" ls-files -z --cached --others --exclude-standard
         cd "$root" && find posttrain/gpu_run/wheels -type f -print0; } |
    (cd "$root" && sort -zu | xargs -0 stat -c %s 2>/dev/null) | awk '{ n += $1 } END { print n }')
[ "$sent" -le "$most_bytes" ] || fail "tree and wheels are $sent bytes, at most $most_bytes may go"

begin=$SECONDS
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
out=$scratch/out
PYTHON=$bare/bin/python bash "$here/run.sh" "$out" "$minutes" --device cpu --size tiny ||
    fail "run.sh did not come through"
for file in latency.json latency-cells.json run.json metrics.jsonl flow.safetensors \
    arc.safetensors run.log; do
    [ -s "$out/$file" ] || fail "run.sh left no $file"
done
grep -q '"chosen"' "$out/run.json" || fail "run.json names no chosen candidate"
grep -q '"training": "arc"' "$out/metrics.jsonl" || fail "metrics.jsonl has no row of ARC"

arcmobile="$venv/bin/arcmobile"
"$arcmobile" bench report "$out/latency.json" --out "$scratch/report.html"
PYTHON=$venv/bin/python bash "$here/collect.sh" "$out" "$scratch/made"
for training in flow arc; do
    [ -s "$scratch/made/$training-losses.png" ] || fail "collect.sh plotted no losses of $training"
done
"$arcmobile" export "$scratch/made/arc" --backend onnx --recipe fp32 --out "$scratch/bundle"
"$arcmobile" generate "telephone ringing" --seed 1 --bundle "$scratch/bundle" --out "$scratch/a.wav"
"$venv/bin/python" - "$scratch/a.wav" <<'CHECK' || fail "the collected checkpoint is silent"
import sys, numpy, soundfile
audio, rate = soundfile.read(sys.argv[1])
sys.exit(not (numpy.isfinite(audio).all() and numpy.sqrt((audio**2).mean()) > 1e-3))
CHECK
echo "rehearsed with $("$bare/bin/python" -V) in $((SECONDS - begin)) s; $((sent / 1000000)) MB would travel"
