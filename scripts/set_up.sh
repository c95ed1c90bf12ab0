#!/bin/sh
# Finds a Python that can set plainlearn up, and hands over to set_up.py.
# Plain sh, because all that it may count on is that make has started it.
set -eu
cd "$(dirname "$0")/.."

# 0: fit for use; 3: too old; 4: cannot make a virtual environment (Debian keeps that in a package of its own).
judge='
import sys
if sys.version_info < (3, 11):
    sys.exit(3)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(4)
'
fits() { "$1" -c "$judge" >/dev/null 2>&1 </dev/null; }

if [ -n "${PYTHON:-}" ]; then
    if ! fits "$PYTHON"; then
        echo "plainlearn: PYTHON=$PYTHON does not work: name a Python 3.11 or newer with its venv module." >&2
        exit 1
    fi
    exec "$PYTHON" scripts/set_up.py "$@"
fi

# The environment's own Python answers fastest, and every run but the first ends here.
if [ -x .venv/bin/python ] && fits .venv/bin/python; then
    exec .venv/bin/python scripts/set_up.py "$@"
fi

# Known versions first: for one newer than these some pinned package may not exist yet.
seen=""
for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
    command -v "$name" >/dev/null 2>&1 || continue
    status=0
    fits "$name" || status=$?
    case $status in
        0) exec "$name" scripts/set_up.py "$@" ;;
        3) seen="$seen, $name is too old" ;;
        4) seen="$seen, $name has no venv module (on Debian and Ubuntu: apt install $name-venv)" ;;
        *) ;; # a stub that cannot run, such as pyenv's for a version that is switched off
    esac
done
echo "plainlearn: found no Python 3.11 or newer${seen:+ (${seen#, })}: install one, or name it with make PYTHON=/path/to/python." >&2
exit 1
