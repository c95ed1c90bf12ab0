#!/usr/bin/env bash
# What makes sense on a GPU, in one call of under eight minutes; says so and ends well where there is none.
#
#   bash benchmarks/gpu.sh                 everything
#   bash benchmarks/gpu.sh syncs loader    the named lines only
#
# Needs torch and what plainlearn imports, but no installation: src is put on the path. PYTHON names the
# interpreter. The log goes to $OUT/gpu.log (OUT: a temporary folder if unset); `python
# benchmarks/record.py gpu.log` then writes its figures into results.md.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

found=$("$PYTHON" -c '
import torch
print(torch.cuda.get_device_name() if torch.cuda.is_available() else "none")' 2>&1) || {
    echo "gpu.sh: $PYTHON cannot import torch: name an interpreter that can, PYTHON=/path/to/python." >&2
    echo "$found" | tail -n 3 >&2
    exit 1
}
if [ "$found" = none ]; then
    echo "gpu.sh: skipped, torch sees no CUDA device here."
    exit 0
fi

OUT=${OUT:-$(mktemp -d)}
log=$OUT/gpu.log
: >"$log"
echo "gpu.sh: $found, $("$PYTHON" --version), log in $log"

wanted=" $* "
failed=""
# line NAME SECONDS COMMAND…: run it under a limit of its own, so that one that hangs does not cost the others.
line() {
    local name=$1 limit=$2 begun=$SECONDS
    shift 2
    [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
    printf '\n== %s (at most %s s)\n' "$name" "$limit" | tee -a "$log"
    timeout -k 5 "$limit" "$@" 2>&1 | tee -a "$log"
    local status=${PIPESTATUS[0]}
    printf '== %s: %s s, exit %s\n' "$name" $((SECONDS - begun)) "$status" | tee -a "$log"
    [ "$status" -eq 0 ] || failed="$failed $name"
}

# ---- the ground floor (issue 2). The limits of all lines together stay under eight minutes.
line fit 60 "$PYTHON" benchmarks/gpu_digits.py fit
line syncs 60 "$PYTHON" benchmarks/gpu_digits.py syncs
line step 60 "$PYTHON" benchmarks/step_overhead.py --device cuda --rounds 7 --steps 800
line loader 40 "$PYTHON" benchmarks/gpu_digits.py loader
line resnet 110 "$PYTHON" benchmarks/gpu_digits.py resnet

# ---- the data block and presizing (issue 3): lines go here, 120 s in all.

if [ -n "$failed" ]; then
    echo "gpu.sh: did not end well:$failed (see $log)" >&2
    exit 1
fi
