# `make all` reproduces data and model, `make test` is what CI runs. `make help` lists the rest.
CONFIG ?= configs/sample.yaml
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help all setup test format bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

all: setup ## run the whole pipeline; CONFIG=configs/lips.yaml crawls the web
	$(BIN)/fer run --config $(CONFIG)
	$(BIN)/fer status --config $(CONFIG)

setup: .venv/.ready ## make .venv with the exact versions of constraints.txt

.venv/.ready: constraints.txt pyproject.toml
	@echo "installing: PyTorch and the rest are about 6 GB, some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,serve,dev]'
	touch $@

test: setup ## check format, lint, types, and run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## time this project beside plain baselines
	$(BIN)/python -m benchmarks

clean: ## remove what the sample made, and .venv
	rm -rf data/sample runs/sample .venv
