# One verb each: setup, demo, test, check, bench, ui, api. See README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients/node
# One more than there are cores: many tests wait for something.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: setup demo test check bench ui api lock clean
.DEFAULT_GOAL := help

help:  ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.runtime  ## Create .venv with the doorstream command, and nothing else

demo: setup  ## Start doorstream with a simulated building
	@$(BIN)/doorstream demo $(ARGS)

test: $(VENV)/.development  ## Run all tests, JOBS at a time (ARGS for pytest)
	@./tests/clients/install.sh $(CLIENTS)
	@./tests/clients/install.sh ui
	@$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(VENV)/.development  ## Format, lint, types, layers, the dashboard's bundle
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	./ui/check.sh

ui:  ## Build the dashboard's bundle anew (needs Node.js)
	@cd ui && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

bench: setup  ## Measure, beside the peers; writes BENCHMARKS.md
	@$(BIN)/python bench/run.py $(ARGS)

api: $(VENV)/.development  ## Write docs/api and docs/reference anew from the code
	@$(BIN)/python docs/generate.py

lock:  ## Renew requirements*.txt from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--extra dev pyproject.toml -o requirements-dev.txt

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(CLIENTS)/node_modules ui/node_modules bench/build .doorstream-demo .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "doorstream needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --disable-pip-version-check -q --require-hashes -r requirements.txt
	$(BIN)/pip install --disable-pip-version-check -q --no-deps -e .
	@touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --disable-pip-version-check -q --require-hashes -r requirements-dev.txt
	@touch $@
