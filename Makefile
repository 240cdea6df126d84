# The same commands for a person and for CI. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
PINS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test bench docs unchanged experiments soak fuzz recordings clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "streamstop needs Python 3.11 or newer, but $(PYTHON) is: $$($(PYTHON) -V 2>&1)."; \
	  echo "Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# One environment, and one stamp for each set of packages in it: a set is installed when a target
# first needs it, and again only where the dependencies have changed.
$(VENV)/.demo: $(PINS) | $(BIN)/python
	@echo "Installing streamstop and what it needs into $(VENV), once."
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.test: $(PINS) | $(BIN)/python
	@echo "Installing the tools and libraries of the tests into $(VENV), once."
	@$(INSTALL) -e '.[all]'
	@$(INSTALL) --no-deps neurobench
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(PINS) $(VENV)/.test
	@echo "Installing the libraries to compare with into $(VENV), once."
	@$(INSTALL) -e '.[all,bench]'
	@$(INSTALL) --no-deps spikingjelly norse
	@touch $@

$(VENV)/.docs: $(PINS) | $(BIN)/python
	@echo "Installing what builds the documentation into $(VENV), once."
	@$(INSTALL) -e '.[docs]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## install, run the bundled demo, print its score and where its report is
	@$(BIN)/streamstop run

test: $(VENV)/.test  ## ruff, mypy, import contract, pytest: what CI runs
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest

docs: $(VENV)/.docs  ## build the documentation site into site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.bench  ## speed, memory, accuracy beside other libraries; writes docs/results
	@set -e; for name in speed.binning speed.decode speed.network speed.volume studies.rule \
	  speed.learner speed.late speed.memory studies.accuracy; do \
	  echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

experiments: $(VENV)/.test  ## learning rules compared, changing streams, simulated sets; five hours
	@set -e; for name in order ablation drift continual realism gestures; do echo "== $$name"; $(BIN)/python -m benchmarks.studies.$$name; done

soak: $(VENV)/.test  ## memory over a million learning steps; about half an hour
	@$(BIN)/python -m benchmarks.speed.memory --section learner --steps 1000000

fuzz: $(VENV)/.test  ## 100,000 mutations of every file format; writes docs/results
	@$(BIN)/python -m tests.formats.fuzz --mutations 100000

unchanged: $(VENV)/.test  ## run the demo again: scores and weights byte for byte those on record
	@$(BIN)/python tests/fixtures/compare_before.py --digests --run demo

recordings: $(VENV)/.demo  ## make the bundled recordings again, byte for byte
	@$(BIN)/python -m streamstop.simulation recordings

clean:  ## remove the environment, caches and built files, never runs/
	rm -rf $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
