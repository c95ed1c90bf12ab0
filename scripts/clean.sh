#!/bin/sh
# Removes what the targets of the Makefile have made, and nothing else: what only bears such a name stays, and is named.
set -eu
cd "$(dirname "$0")/.."

# Tools make these for themselves, and sign them.
for cache in .pytest_cache .ruff_cache .hypothesis .import_linter_cache; do
    rm -rf "$cache"
done
rm -rf src/plainlearn.egg-info
find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# scripts/set_up.py locks what it makes.
if [ -f .venv/set-up.lock ]; then
    rm -rf .venv
elif [ -e .venv ]; then
    echo "plainlearn: .venv was not made by make, and stays" >&2
fi

# make demo: the folder's marker lists our files, see core/own_folder.py.
marker=plainlearn-demo/.plainlearn-files
if [ -f "$marker" ]; then
    while IFS= read -r name; do
        case $name in
            "" | "#"* | /* | *..*) ;;
            *) rm -f "plainlearn-demo/$name" ;;
        esac
    done < "$marker"
    rm -f "$marker"
    rmdir plainlearn-demo 2> /dev/null || echo "plainlearn: plainlearn-demo holds files of your own, and stays" >&2
elif [ -e plainlearn-demo ]; then
    echo "plainlearn: plainlearn-demo has no list of what make demo made in it, and stays" >&2
fi
