#!/usr/bin/env bash
# run.sh OUT [MINUTES] [--device cuda|cpu] [--size full|tiny]: everything a lent GPU is wanted for.
#
# Latency first (two minutes at most), then training, for MINUTES (default 9) in all. Sounds are
# synthesized from the start. A part that fails leaves the others alone, and every result is in OUT
# as soon as it exists, so that a run that is killed loses only what it was about to find out.
set -uo pipefail

fail() { echo "error: $*" >&2; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
out='' minutes=9 device=cuda size=full
positional=()
while [ $# -gt 0 ]; do
    case "$1" in
        --device) device=${2:?--device cuda or cpu}; shift 2 ;;
        --size) size=${2:?--size full or tiny}; shift 2 ;;
        -*) fail "$1: unknown; run.sh OUT [MINUTES] [--device cuda|cpu] [--size full|tiny]" ;;
        *) positional+=("$1"); shift ;;
    esac
done
[ "${#positional[@]}" -ge 1 ] && [ "${#positional[@]}" -le 2 ] ||
    fail "give OUT and, if you like, MINUTES"
out=${positional[0]}
[ "${#positional[@]}" -eq 2 ] && minutes=${positional[1]}
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail "$minutes: give MINUTES as a number, 9 or 4.5"
total=$(awk -v m="$minutes" 'BEGIN { print int(60 * m) }')
[ "$total" -ge 60 ] || fail "$minutes minutes: too few, give at least 1"
case "$size" in full|tiny) ;; *) fail "--size $size: full or tiny" ;; esac

mkdir -p "$out" || fail "$out: cannot be made"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
exec > >(tee -a "$out/run.log") 2>&1

left() { echo $((total - SECONDS)); }
say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }

sounds=''
# shellcheck disable=SC2329  # called by the traps
finish() {
    trap - EXIT
    [ -n "$sounds" ] && kill "$sounds" 2>/dev/null && wait "$sounds" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 143' TERM HUP
trap 'exit 130' INT

# The tree as it lies here, importable: links to its folders, and a version to be asked for.
site=$work/site
mkdir -p "$site/arcmobile"
for package in bench cli export posttrain quality quant runtime; do
    ln -s "$root/$package" "$site/arcmobile/$package"
done
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml" | head -1)
mkdir "$site/arcmobile-$version.dist-info"
printf 'Metadata-Version: 2.1\nName: arcmobile\nVersion: %s\n' "$version" \
    > "$site/arcmobile-$version.dist-info/METADATA"
"$python" -m pip install --disable-pip-version-check -q --no-index --no-deps --no-compile \
    --no-cache-dir --find-links "$here/wheels" --target "$site" -r "$here/wheels.txt" ||
    fail "$here/wheels: no wheels for $("$python" -V); run: make gpu-wheels"
export PYTHONPATH=$site PYTHONUNBUFFERED=1
export TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton MPLCONFIGDIR=$work
say "environment: $("$python" -V), $(nproc) cores, arcmobile $version"
[ "$device" = cpu ] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

# A CPU shared with others is faster without threads that spin.
[ "$device" = cuda ] || export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
run="$python -m arcmobile.posttrain.gpu_run"
base=$root/checkpoints/embedded
processes=$(($(nproc) > 4 ? $(nproc) - 2 : 2))
mkdir "$work/latents"
$run synthesize --base "$base" --latents "$work/latents" --size "$size" \
    --processes "$processes" > "$work/sounds.log" 2>&1 &
sounds=$!

# A rehearsal's parts end when they are through; on a busy machine, that takes its time.
bench=$((total * 45 / 100))
[ "$size" = tiny ] || bench=$((total * 22 / 100 < 120 ? total * 22 / 100 : 120))
say "latency: up to $bench s"
cells=()
[ "$size" = full ] || cells=(--checkpoint "$base" --repeats 5 --steps 2 --batches 1 --no-compile)
timeout -k 5 $((bench + 30)) "$python" -m arcmobile.cli bench gpu --device "$device" \
    --seconds "$bench" --out "$out" --overwrite ${cells[@]+"${cells[@]}"}
latency=$?
[ "$latency" -eq 0 ] || say "latency: ended with $latency"

seconds=$(($(left) - 10))
say "training: $seconds s"
timeout -k 3 $((seconds + 5)) $run train --base "$base" --latents "$work/latents" --out "$out" \
    --until $(($(date +%s) + seconds)) --device "$device" --size "$size"
training=$?
[ "$training" -eq 0 ] || { say "training: ended with $training"; tail -n 5 "$work/sounds.log"; }

$run check "$out"
limits=$?
say "done: $(cd "$out" && du -ah --apparent-size . | sort -k2 | tail -n +2 | awk '{ printf "%s %s  ", $2, $1 }')"
[ "$latency" -eq 0 ] && [ "$training" -eq 0 ] && [ "$limits" -eq 0 ]
