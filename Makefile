# What a user does: demo, up. What a contributor does: test, lint, bench, lock. `make` alone lists them.
# Nothing needs to be installed first but Python 3.11 to 3.13 and its venv module.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# the locks name every package, so pip need not resolve: --no-deps (older pips refuse extras under --require-hashes)
# uv is only for `make lock`; installing needs no more than pip
# pip itself would only say that it found no version
NO_PACKAGES := { echo "The packages could not be installed; pip says why above. This is the one step that needs a network (or a package index of yours that pip knows): once there is one, the same command goes on."; exit 1; }
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra build

.DEFAULT_GOAL := help
.PHONY: help demo up test lint bench bench-scale soak kills troubles validate-confidence pictures lock clean

help:
	@echo "make demo    see it work: a local exchange misbehaves, the pipeline notices and heals (ONCE=1: no UI at the end; PORT=3000)"
	@echo "make up      collect from the live exchange, with the Dagster UI on 127.0.0.1 (PORT=3000)"
	@echo "make test    the whole test suite, with coverage"
	@echo "make lint    ruff and mypy"
	@echo "make bench   measure the core beside a bare loop"
	@echo "make bench-scale   time the database's part at up to 200 markets and 12 months (hours, 20 GB; ARGS='--markets 6,20 --months 1,2')"
	@echo "make soak    half an hour of the live stream under seeded trouble, then every candle held against the truth (ARGS='--seed 2')"
	@echo "make kills   kill our processes at random moments, 50 times, and see that nothing is lost or left (ARGS='--seed 2')"
	@echo "make troubles  inject 44 troubles, see that the operator is told of each and that each ends; writes docs/troubles.md (some ten minutes; ARGS='--only rows')"
	@echo "make validate-confidence  inject twelve kinds of fault and hold the confidence scores against the truth (some minutes)"
	@echo "make pictures  take the pictures of docs/ui.md again, from a running demo (needs Chromium; ARGS='--url http://127.0.0.1:3000')"
	@echo "make lock    resolve the lock files again (needs uv)"
	@echo "make clean   remove the virtual environment and caches; .hl, where the data is, stays"

demo: $(VENV)/.runtime
	@$(BIN)/hl demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

up: $(VENV)/.runtime
	@$(if $(PORT),HL_UI_PORT=$(PORT)) $(BIN)/hl up

test: $(VENV)/.dev
	# a worker a core, each with a Postgres of its own; a file stays with one worker, for its fixtures are dear
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --cov --cov-report=term $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

bench-scale: $(VENV)/.dev
	$(BIN)/python -m benchmarks.scale $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python -m benchmarks.soak $(ARGS)

kills: $(VENV)/.dev
	$(BIN)/python -m benchmarks.kills $(ARGS)

troubles: $(VENV)/.dev
	$(BIN)/python -m benchmarks.troubles $(if $(ARGS),$(ARGS),--markdown docs/troubles.md)

validate-confidence: $(VENV)/.dev
	$(BIN)/python -m benchmarks.confidence_validation $(ARGS)

pictures: $(VENV)/.dev
	$(BIN)/python -m benchmarks.pictures $(ARGS)

lock:
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$(PYTHON) is $$($(PYTHON) --version): Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/.python
	@echo "Installing packages from requirements.lock, every hash checked (about a minute) ..."
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock || $(NO_PACKAGES)
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements.lock pyproject.toml | $(VENV)/.python
	@echo "Installing packages from requirements-dev.lock, every hash checked (a minute or two) ..."
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements-dev.lock || $(NO_PACKAGES)
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@
