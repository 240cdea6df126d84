# The same commands for a person and for CI. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test bench experiments soak fuzz recordings clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Installed once: again only where the dependencies have changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "streamstop needs Python 3.11 or newer, but $(PYTHON) is: $$($(PYTHON) -V 2>&1)."; \
	  echo "Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing streamstop and what it needs into $(VENV), once."
	@$(PIP) install -qq -c constraints.txt -e '.[all]'
	@touch $@

demo: $(STAMP)  ## install, run the bundled demo, print its score and where its report is
	@$(BIN)/streamstop run

$(VENV)/.neurobench: $(STAMP)
	@$(PIP) install -qq -c constraints.txt --no-deps neurobench
	@touch $@

test: $(VENV)/.neurobench  ## ruff, mypy, pytest: what CI runs
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/pytest

$(VENV)/.bench: $(STAMP)
	@$(PIP) install -qq -c constraints.txt -e '.[all,bench]'
	@$(PIP) install -qq -c constraints.txt --no-deps spikingjelly norse
	@touch $@

bench: $(VENV)/.bench  ## speed, memory, accuracy beside their peers; writes docs/results
	@set -e; for name in speed.binning speed.decode speed.network speed.volume studies.rule \
	  speed.learner speed.memory studies.accuracy; do \
	  echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

experiments: $(STAMP)  ## rules against each other, streams that change, simulated sets, some five hours
	@set -e; for name in order ablation drift continual realism gestures; do echo "== $$name"; $(BIN)/python -m benchmarks.studies.$$name; done

soak: $(STAMP)  ## a million steps of learning: memory stands still; about half an hour
	@$(BIN)/python -m benchmarks.speed.memory --section learner --steps 1000000

fuzz: $(STAMP)  ## 100,000 mutations of every format of files; writes docs/results
	@$(BIN)/python -m tests.formats.fuzz --mutations 100000

recordings: $(STAMP)  ## make the bundled recordings anew, byte for byte
	@$(BIN)/python -m streamstop.simulation recordings

clean:  ## remove the environment and caches, never runs/
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
