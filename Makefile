# yardwatch: every verb a developer or a scheduler needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN ?= configs/runs/long-beach.yaml
RECIPE ?= configs/train/yard.yaml

.DEFAULT_GOAL := help
.PHONY: help install demo run test test-quick lint type format bench train evaluate fixtures nightly doctor clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# --no-compile: what is imported compiles itself once; compiling all that is installed takes longer than installing it
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP) ## make the environment in .venv from pyproject.toml and constraints.txt

demo: $(STAMP) ## run the embedded default and print where the overlays and the report are
	$(BIN)/yardwatch demo

run: $(STAMP) ## run one job: make run RUN=configs/runs/long-beach.yaml
	$(BIN)/yardwatch run $(RUN)

test: $(STAMP) ## every test, on all cores (real imagery is used where ../shared/imagery is present)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup

test-quick: $(STAMP) ## the tests that take milliseconds
	$(BIN)/python -m pytest -m 'not slow'

lint: $(STAMP) ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP) ## mypy, strict
	$(BIN)/mypy

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## ratios against peers and bounds, in one run; none of them is a test
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; $(BIN)/python "$$bench"; done

train: $(STAMP) ## train a detector head: make train RECIPE=configs/train/yard.yaml
	$(BIN)/yardwatch train $(RECIPE)

evaluate: $(STAMP) ## score the shipped weights on renders and on the public imagery that is present
	$(BIN)/yardwatch evaluate

fixtures: $(STAMP) ## rebuild the demo's imagery and its manifest
	$(BIN)/python -m fixtures.build_demo

nightly: $(STAMP) ## the job of RUN; make says 2 for an alert or an error. Schedulers: .venv/bin/yardwatch run FILE --fail-on-alert says 3 or 1
	$(BIN)/yardwatch run $(RUN) --fail-on-alert

doctor: $(STAMP) ## say what this machine can do and what is missing
	$(BIN)/yardwatch doctor

clean: ## remove results and caches; the environment stays
	rm -rf out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +
