# `make all` reproduces data and model, `make test` and `make test-slow` are what CI runs. `make help` lists the rest.
CONFIG ?= sample
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder  # a file's tests share what is dear to make

.DEFAULT_GOAL := help
.PHONY: help all setup test test-slow format bench peers faults clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

all: setup ## run the whole pipeline; CONFIG=lips crawls the web
	$(BIN)/fer run --config $(CONFIG)
	$(BIN)/fer status --config $(CONFIG)

setup: .venv/.ready ## make .venv with the exact versions of constraints.txt

.venv/.ready: constraints.txt pyproject.toml
	@echo "installing: PyTorch and the rest are about 7 GB, some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,serve,scale,dev]'
	touch $@

test: setup ## check format, lint, types and imports, and run the fast tests: about 3 minutes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow"

test-slow: setup ## run the slow tests: kills, browser, Ray, torchrun, whole trainings
	$(PYTEST) -m slow

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: all ## time this project beside plain baselines, and others if there are `make peers`; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks --run runs/sample --photos data/sample/gallery --crops data/sample/split/train \
		$(addprefix --peers ,$(wildcard .venv-peers/bin/python))

peers: setup ## install what people use otherwise, to be timed by `make bench`: .venv-peers
	$(BIN)/python -m venv .venv-peers
	.venv-peers/bin/pip install -q img2dataset==1.47.0 imagededup==0.3.3

faults: setup ## kill, starve and mislead every stage, and spoil 100,000 inputs; half an hour
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.fuzz --inputs 100000 --seed 0

clean: ## remove what the sample made, and .venv
	rm -rf data/sample runs/sample .venv .venv-peers
