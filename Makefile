# The doors of the project; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOAD_FILES := $(filter-out %/_load.c,$(wildcard simulators/load/*.c simulators/load/*.h))
C_FILES := $(wildcard csrc/*.c csrc/*.h csrc/kinefuse/*.h tests/c/*.c tests/c/*.h) $(LOAD_FILES)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test check bench eval core clean need-run need-test

help: ## list the doors
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(STAMP) core ## make the virtual environment and build the C core

run: setup ## start a broker, the server and a demo of simulated athletes; Ctrl-C stops all
	@exec $(BIN)/kinefuse up --demo $(ARGS)

test: need-test setup ## everything: lint, types, C tests under sanitizers, unit, property, golden, end-to-end
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest $(ARGS)

check: need-test setup check-c ## lint, format, types and the C tests, without pytest
	@echo "ruff, mypy, clang-format, clang-tidy"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff .; exit 1; }
	@$(BIN)/mypy
	@clang-format --dry-run --Werror $(C_FILES)
	@clang-tidy --quiet csrc/*.c -- -std=c11 -Icsrc 2>/dev/null
	@clang-tidy --quiet $(filter %.c,$(LOAD_FILES)) -- -std=c11 -Isimulators/load 2>/dev/null

bench: setup ## speed and memory, as ratios against a peer in the same run
	@$(BIN)/python -m tests.bench $(ARGS)

eval: setup ## accuracy, on simulated truth and on the recordings that KINEFUSE_DATA names
	@$(BIN)/kinefuse evaluate $(ARGS)

clean: ## remove what was built, but not the virtual environment
	@rm -rf build dist *.egg-info fusion/_core*.so simulators/load/_load*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis

need-run:
	@.ci/require python3:python3 python-venv:python3-venv python-headers:python3-dev cc:gcc

need-test: need-run
	@.ci/require gcc:gcc clang:clang clang-format:clang-format clang-tidy:clang-tidy mosquitto:mosquitto openssl:openssl

$(STAMP): pyproject.toml constraints.txt | need-run
	@echo "setting up $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel cffi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--no-build-isolation --editable '.[test,peers]'
	@touch $@

core: $(STAMP)
	@$(BIN)/python setup.py -q build_ext --inplace

-include tests/c/tests.mk
