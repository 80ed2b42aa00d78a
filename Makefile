# Every target installs what it needs into .venv first. PYTHON picks another interpreter (3.11 or newer).
PYTHON ?= python3
SHELL := /bin/bash
FLEET := .venv/bin/python -m commands

.PHONY: run test kafka train evaluate simulate loadtest faults chaos-demo bench

run: .venv/laptop
	@exec $(FLEET) run

test: .venv/dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest -m "not whole_system" --numprocesses 2 --dist loadfile
	.venv/bin/python -m pytest -m whole_system

kafka: .venv/laptop
	@exec $(FLEET) kafka

train evaluate simulate: .venv/laptop
	@exec $(FLEET) $@

# With options: make loadtest OPTIONS="--rate 20000 --profile spike --gateway http://gateway:8000"
loadtest: .venv/loadtest
	@exec $(FLEET) loadtest $(OPTIONS)

# With options: make faults OPTIONS="--cases 1,8 --seed 7"
faults: .venv/dev
	@exec $(FLEET) faults $(OPTIONS)

chaos-demo: .venv/laptop
	@exec $(FLEET) chaos-demo

# With options: make bench OPTIONS="throughput --repeats 5"
bench: .venv/dev .venv-bench/installed
	@exec $(FLEET) bench $(OPTIONS)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11: install Python 3.11 or newer, or name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: python3-venv)"; exit 1; }

# What the product is compared with, apart from it: its pins contradict the product's.
.venv-bench/installed: requirements/bench.txt | .venv/bin/python
	@echo "Installing what the product is compared with (requirements/bench.txt) into .venv-bench"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/bench.txt
	@touch $@

# Installed once per change of the pinned requirements; the mark is written last.
.venv/laptop .venv/loadtest .venv/dev: .venv/%: requirements/%.txt pyproject.toml | .venv/bin/python
	@echo "Installing the requirements (requirements/$*.txt) into .venv"
	@.venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements/$*.txt \
	  | sed -un 's/^Collecting \([^ ]*\).*/  \1/p; s/^Successfully.*/  installed/p'; exit $${PIPESTATUS[0]}
	@.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@
