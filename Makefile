# Two commands matter: `make demo` and `make test`. Each sets everything up first; a second call reuses what is there.
#
#   PYTHON=python3.12        another interpreter (3.11 or newer)
#   ARGS="--seed 1"          options for the demo

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --progress-bar off

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast pytest lint format types layers docs check bench clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Create .venv with everything that development needs.

$(STAMP): pyproject.toml .ci/constraints.txt
	@.ci/prepare $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing mise-gym and its development packages into $(VENV) (a few minutes the first time)."
	@$(PIP_INSTALL) --constraint .ci/constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## Train a small language model on real text games; no GPU, no API key.
	@$(BIN)/python examples/train_llm_ppo.py $(ARGS)

test: lint types layers pytest  ## Everything CI runs: lint, types, layers and all tests with coverage.

pytest: setup
	@$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

test-fast: setup  ## Only the tests without real simulators and training.
	@$(BIN)/python -m pytest -m "not slow and not integration"

lint: setup  ## ruff: rules and format.
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted. Run make format."; exit 1; }

format: setup  ## Let ruff repair what it can.
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

types: setup  ## mypy --strict.
	@$(BIN)/mypy --no-error-summary

layers: setup  ## The import directions between the rooms.
	@$(BIN)/lint-imports > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }

docs: setup  ## Regenerate the pages that are made from the code.
	@$(BIN)/python docs/_gen.py

check: lint types layers test-fast  ## The quick gate before a commit.

bench: setup  ## Run every benchmark, one after the other.
	@for script in examples/benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

clean:  ## Remove .venv and caches; runs/ stays.
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage .coverage.* htmlcov
	@find mise_gym tests examples docs -name __pycache__ -type d -prune -exec rm -rf {} +
