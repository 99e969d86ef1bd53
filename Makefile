# Two commands matter: `make demo` shows what this is, `make test` shows that it works.
# Both set themselves up in .venv; the second time they start at once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench fuzz peers clean

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough; `make PYTHON=/path/to/python` takes another one.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST_FLAGS ?= -q
# What the tests may use besides the core; `make test EXTRAS=dev,torch` also runs the tests that need torch.
EXTRAS ?= dev
DEV := $(VENV)/.$(EXTRAS)
CAMPAIGN ?= runs/demo.yaml
RAPL_USABLE := "import json, sys; sys.exit(not any(m['driver'] == 'rapl' and m['usable'] for m in json.load(sys.stdin)))"

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

demo: $(VENV)/.core ## measure real networks on a simulated bench: table and pictures, in minutes
	@echo "== measuring the networks of $(CAMPAIGN): real inferences, a SIMULATED meter on its real wire"
	@$(BIN)/joulebench run --sim $(CAMPAIGN)
	@echo "== the same figures held against the simulated bench's hidden truth"
	@$(BIN)/joulebench exam --root $(basename $(CAMPAIGN))
	@if $(BIN)/joulebench meters list --json | $(BIN)/python -c $(RAPL_USABLE); then \
		echo "== this machine's own energy counters (RAPL) may be read: MEASURED, not simulated"; \
		$(BIN)/joulebench run runs/this-machine.yaml; \
	else echo "== no energy counter of this machine may be read (joulebench meters list says why)"; fi
	@$(BIN)/joulebench sim stop

test: $(DEV) ## all tests (PYTEST_FLAGS="-q -k rapl" for some of them)
	@status=0; ran=0; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	group() { echo "== $$1"; shift; code=0; $(BIN)/python -m pytest $(PYTEST_FLAGS) "$$@" || code=$$?; \
		if [ $$code -ne 5 ]; then ran=1; [ $$code -eq 0 ] || status=1; fi; }; \
	group "in virtual time, on all cores" -m "not realtime" -n auto --dist loadfile; \
	group "against the wall clock, one at a time" -m realtime --reruns 2 --basetemp "$$folder/t"; \
	if [ $$ran -eq 0 ]; then echo "no test was chosen by: $(PYTEST_FLAGS)" >&2; exit 5; fi; \
	exit $$status

lint: $(DEV) ## style, formatting, types, import contracts
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	$(BIN)/lint-imports || status=1; \
	exit $$status

bench: $(DEV) ## speed and memory; prints tables, judges nothing
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

fuzz: $(DEV) ## a million damaged inputs for the text parsers (FUZZ="--count 5000 --seed 7" for others)
	@$(BIN)/python -m tests.fuzz.fuzz_text $(FUZZ)

peers: $(DEV) ## other people's tools on our simulators: half an hour, as root; writes docs/peers.md
	@$(BIN)/python -m benchmarks.peers install
	@$(BIN)/python -m benchmarks.peers run
	@$(BIN)/python -m benchmarks.peers table

clean: ## remove .venv and caches; measured runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up ------------------------------------------------------------------------------------

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "joulebench needs Python 3.11 or newer; python3 here is $$(python3 --version 2>&1 || echo missing)." >&2; \
		echo "  -> install one (Debian: sudo apt install python3 python3-venv) or say: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi
	@echo "== creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "  -> Debian: sudo apt install python3-venv" >&2; exit 1; }

# A stamp file remembers what was installed from; either file newer than it installs again.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing joulebench and what it needs (about a minute, once)"
	@$(PIP) --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing joulebench with its test tools: $(EXTRAS) (about a minute, once)"
	@$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@ $(VENV)/.core
