# make setup   a virtual environment in .venv with everything sweepkit needs
# make demo    setup, then a real staged promotion on the embedded corpus (minutes, two cores)
# make test-setup   setup, and what the checks need: pytest, ruff, mypy
# make test    setup, then lint, types, import rules and tests: the quick ones, and one in SLOW_ONE_IN=6 of the slow ones
# make test-avx2   the same as on a CPU that has AVX2 and neither AVX-512 nor bf16
# make test-versions   the tests of configuration and command line with the next Hydra and OmegaConf, in a folder of their own
# make test-full   the same with every slow test, and all generated cases instead of a sample of them (hours)
# make simulate-verdicts   error rates of one rung's verdicts in the frozen worlds, into results/published
# make reproduce   the committed campaign again from nothing, into build/reproduce (hours; goes on where it was stopped)
# make findings   what is missing of the published record's sweeps, then docs/findings.md (an hour or two)
# make bench   the reference workload's speed beside the committed baseline (half an hour; a quiet machine)
# make slurm-packages   as root, on Debian: the Slurm that tests/slurm start a cluster of
#
# PYTHON=python3.12   another interpreter (3.11 or newer)
# TORCH_INDEX=URL EXTRAS=cuda   where the torch wheel comes from, for a CUDA build (docs/gpu.md)
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-versions test-avx2 test-full test-setup lint types imports pytest bench slurm-packages findings reproduce wheel clean
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := torch==2.13.0
# Four workers for two cores: those with a Slurm cluster often wait for it. Tests that share something dear, a
# cluster or what a module trains once, stay on one worker (xdist_group); others go one by one, long ones first.
JOBS ?= 4
# Of the tests marked slow one in this many; SLOW_ONE_IN=1 runs each (an hour on two cores).
SLOW_ONE_IN ?= 6

help:
	@sed -n '/^\.DEFAULT/q; s/^# //p' Makefile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "PYTHON is $(PYTHON), but must be Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "$(PYTHON) cannot create virtual environments; install its venv package (Debian: apt-get install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Stamps are touched last, so an interrupted installation is taken up again.
$(VENV)/.setup: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV): some minutes and 1.8 GB. 1 of 2: torch, the largest part"
	$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@echo "2 of 2: sweepkit and what it needs"
	$(PIP) install -c constraints.txt --editable '.$(if $(EXTRAS),[$(EXTRAS)])'
	@touch $@

$(VENV)/.test-setup: $(VENV)/.setup
	@echo "Installing what the checks need: pytest, ruff, mypy"
	$(PIP) install -c constraints.txt --editable '.[dev]'
	@touch $@

setup: $(VENV)/.setup
	@echo "Ready: $(BIN)/sweepkit --help"

demo: $(VENV)/.setup
	$(BIN)/sweepkit promote demo

test-setup: $(VENV)/.test-setup

test: lint types imports pytest

# Hides from sweepkit, torch, oneDNN and MKL what this CPU has beyond AVX2.
test-avx2: export SWEEPKIT_CPU_FLAGS := avx2 fma
test-avx2: export ATEN_CPU_CAPABILITY := avx2
test-avx2: export ONEDNN_MAX_CPU_ISA := AVX2
test-avx2: export MKL_ENABLE_INSTRUCTIONS := AVX2
test-avx2: test

NEXT := hydra-core==1.4.0rc3 omegaconf==2.4.1rc1
NEXT_TESTS := tests/config tests/sweep tests/cli/test_train.py tests/cli/test_main.py
test-versions: $(VENV)/.test-setup
	$(PIP) install --quiet --upgrade --no-deps --target build/next $(NEXT)
	PYTHONPATH=build/next $(BIN)/pytest -n $(JOBS) --dist loadgroup $(NEXT_TESTS) $(PYTEST_ARGS)

test-full: export SWEEPKIT_TEST_FULL := 1
test-full: test

lint: $(VENV)/.test-setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test-setup
	$(BIN)/mypy

imports: $(VENV)/.test-setup
	$(BIN)/lint-imports --no-cache

pytest: $(VENV)/.test-setup
	$(BIN)/pytest -n $(JOBS) --dist loadgroup --durations 15 --slow-one-in $(SLOW_ONE_IN) $(PYTEST_ARGS)

# BENCH_ARGS=--save makes the figures the baseline, BENCH_ARGS=--smoke only shows that both run.
bench: $(VENV)/.setup
	$(BIN)/python scripts/bench_training.py $(BENCH_ARGS)
	$(BIN)/python scripts/bench_runs.py $(BENCH_ARGS)
	$(BIN)/python scripts/bench_diagnostics.py $(BENCH_ARGS)

SLURM_PACKAGES := slurmctld slurmd slurm-client munge slurmdbd mariadb-server-core mariadb-client-core procps
slurm-packages:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SLURM_PACKAGES)

findings: $(VENV)/.setup
	$(BIN)/python scripts/findings.py --run

reproduce: $(VENV)/.setup
	$(BIN)/python scripts/reproduce.py --into build/reproduce

# WORLDS=400 for a quick look; 4,000 take some minutes on two quiet cores.
WORLDS ?= 4000
simulate-verdicts: $(VENV)/.setup
	$(BIN)/python scripts/simulate_verdicts.py --worlds $(WORLDS) --out results/published/error_rates/verdicts.csv

wheel: $(VENV)/.test-setup
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) build dist
