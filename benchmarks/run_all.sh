#!/usr/bin/env bash
# Every comparison after another, each recorded in results.md as soon as it is done. Some 20 minutes on two idle cores.
#
#   bash benchmarks/run_all.sh                            all
#   bash benchmarks/run_all.sh import_time digits_speed   the named ones
#
# PYTHON names the interpreter that has plainlearn. Run it on a machine that does nothing else:
# the load of the machine is recorded beside the figures.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
export PYTHONUNBUFFERED=1

# The order is that of results.md. A later issue adds its scripts here.
comparisons=${*:-digits_accuracy digits_speed step_overhead where_time_goes import_time reading_path}
for later in presizing_quality presizing_speed pipeline_speed jpeg_scales ddp_overhead step_transfer transfer_pets calibration_pets unlike_auroc predict_speed predict_start serve_throughput train_minutes; do
    [ $# -eq 0 ] && [ -f "benchmarks/$later.py" ] && comparisons="$comparisons $later"
done

"$PYTHON" benchmarks/peers.py || exit 1 # once, before anything is measured

failed=""
for name in $comparisons; do
    printf '\n== %s\n' "$name"
    "$PYTHON" "benchmarks/$name.py" | "$PYTHON" benchmarks/record.py || failed="$failed $name"
done
if [ -n "$failed" ]; then
    echo "run_all.sh: did not end well:$failed" >&2
    exit 1
fi
