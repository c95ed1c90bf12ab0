# Everything that one does here, by name. `make` alone lists it. Each target sets up what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo test check format set-up pins clean

PY := .venv/bin/python
# Options for the command behind a target: make test ARGS="-k loop -x"
ARGS ?=
# One worker a core, up to eight: each imports torch anew, so more would cost more than they bring.
WORKERS ?= logical

help: ## show this list
	@echo 'plainlearn: from a folder of images to a model that you understand, trust and can ship'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Begin with make demo. The first run sets up .venv here and takes a minute or more; later ones start at once.'
	@echo 'Options: make test ARGS="-k loop -x"   make test WORKERS=0   make demo ARGS="--seed 1"   PYTHON=/path/to/python3.12'

demo: ## watch handwritten digits being learned, from a baseline to a ResNet (offline; pictures in plainlearn-demo/)
	@PYTHON='$(PYTHON)' sh scripts/set_up.sh run
	@$(PY) -m plainlearn demo $(ARGS)

# One thread a worker: two of torch's own would only get in each other's way on the cores that the workers fill.
test: ## run every test
	@PYTHON='$(PYTHON)' sh scripts/set_up.sh dev
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal $(ARGS)

check: ## format, lint, types and import contracts, without changing anything
	@PYTHON='$(PYTHON)' sh scripts/set_up.sh dev
	@failed=0; run() { echo "plainlearn: $$1"; shift; "$$@" || failed=1; }; \
	run format $(PY) -m ruff format --check --output-format concise .; \
	run lint $(PY) -m ruff check --output-format concise .; \
	run types $(PY) -m pyright --pythonpath $(PY); \
	run contracts .venv/bin/lint-imports --no-cache --no-logo; \
	exit $$failed

format: ## put the code into its format, and repair what ruff can
	@PYTHON='$(PYTHON)' sh scripts/set_up.sh dev
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

set-up: ## make .venv for tests and checks, and nothing else
	@PYTHON='$(PYTHON)' sh scripts/set_up.sh dev

# uv reads what pyproject.toml asks for; pip, uv and pyright's node are tools that no requirement there names.
pins: ## renew constraints.txt after a change of pyproject.toml (ARGS=--upgrade: to the newest of everything)
	@PYTHON='$(PYTHON)' sh scripts/set_up.sh dev
	@printf 'pip\nuv\npyright[nodejs]\n' | .venv/bin/uv pip compile pyproject.toml - --all-extras --universal \
		--python-version 3.11 --no-annotate --no-header --quiet --output-file constraints.txt $(ARGS) > /dev/null
	@printf '%s\n%s\n' '# The versions that were tested, all of them. Made by: make pins' "$$(grep -v '^#' constraints.txt)" \
		> constraints.txt.new && mv constraints.txt.new constraints.txt
	@git --no-pager diff --stat -- constraints.txt

clean: ## remove .venv, caches and whatever else these targets have made
	@sh scripts/clean.sh
