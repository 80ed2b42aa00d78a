# Every target installs what it needs into .venv first. PYTHON picks another interpreter (3.11 or newer).
PYTHON ?= python3
SHELL := /bin/bash
FLEET := .venv/bin/python -m commands
PYTEST := .venv/bin/python -m pytest

.PHONY: run help kafka train evaluate simulate loadtest faults chaos-demo bench lint types test-fast test docs

run: .venv/laptop ## Run everything in the foreground: Kafka, the application, 1,000 simulated vehicles
	@exec $(FLEET) run

help: ## Say what each target does
	@sed -n 's/^\([a-z -]*\):.* ## \(.*\)/\1\t\2/p' Makefile | expand --tabs=24

kafka: .venv/laptop ## Run a local Kafka alone
	@exec $(FLEET) kafka

train: .venv/laptop ## Train a model on simulated vehicles and make it the current one
evaluate: .venv/laptop ## Measure what the detector finds, over several seeds, with a page
simulate: .venv/laptop ## Send the telemetry of simulated vehicles
# With options: make evaluate OPTIONS="--json docs/evaluation.json"
train evaluate simulate:
	@exec $(FLEET) $@ $(OPTIONS)

# With options: make loadtest OPTIONS="--rate 20000 --profile spike --gateway http://gateway:8000"
loadtest: .venv/loadtest ## Drive a running system and judge what comes out
	@exec $(FLEET) loadtest $(OPTIONS)

# With options: make faults OPTIONS="--cases 1,8 --seed 7"
faults: .venv/dev ## Break a system of its own under load, case by case, and check its books
	@exec $(FLEET) faults $(OPTIONS)

chaos-demo: .venv/laptop ## Watch a system on the page while it is broken and recovers
	@exec $(FLEET) chaos-demo

# With options: make bench OPTIONS="throughput --repeats 5"
bench: .venv/dev .venv-bench/installed ## Measure throughput and latency, beside a hand-written loop and other processors
	@exec $(FLEET) bench $(OPTIONS)

lint: .venv/dev ## Check style, format and who imports whom
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports

types: .venv/dev ## Check types
	.venv/bin/mypy

# Left out: what starts a broker, a browser or a training (`slow`, in tests/conftest.py), and the long drives.
test-fast: .venv/dev ## Run the quick tests, in under two minutes
	$(PYTEST) -m "not whole_system and not slow" --numprocesses 2 --dist loadfile \
	  --ignore tests/training --ignore tests/simulator --ignore tests/end_to_end

test: lint types ## Run every check and every test, the whole system's too
	$(PYTEST) -m "not whole_system" --numprocesses 2 --dist loadfile --cov
	$(PYTEST) -m whole_system

docs: .venv/dev ## Write the pages that follow from the code, and build the documentation into build/docs
	.venv/bin/python -m reference
	.venv/bin/mkdocs build --strict

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11: install Python 3.11 or newer, or name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: python3-venv)"; exit 1; }

# What the product is compared with, apart from it: its pins contradict the product's.
.venv-bench/installed: requirements/bench.txt | .venv/bin/python
	@$(PYTHON) -m venv .venv-bench
	@requirements/install.sh bench .venv-bench/bin/python
	@touch $@

# Installed once per change of the pinned requirements; the mark is written last.
.venv/laptop .venv/loadtest .venv/dev: .venv/%: requirements/%.txt pyproject.toml | .venv/bin/python
	@requirements/install.sh $*
	@.venv/bin/uv pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@
