#!/usr/bin/env bash
# Pins every dependency with its hashes, for every platform, without naming an index. Pins that stand stay as they are,
# as long as pyproject.toml allows them: to raise one, take it out of requirements/dev.txt first.
set -euo pipefail
cd "$(dirname "$0")/.."
pin() { .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-annotate --custom-compile-command "requirements/compile.sh" "$@"; }
pin pyproject.toml --extra dev --output-file requirements/dev.txt
pin pyproject.toml --constraint requirements/dev.txt --output-file requirements/cluster.txt
pin pyproject.toml --constraint requirements/dev.txt --extra laptop --output-file requirements/laptop.txt
pin pyproject.toml --constraint requirements/dev.txt --extra loadtest --output-file requirements/loadtest.txt
# The peers of `make bench`: not with the product, but with its versions where they can.
cp requirements/cluster.txt requirements/bench.txt
pin --group pyproject.toml:bench --output-file requirements/bench.txt
# What installs all of these.
pin --group pyproject.toml:install --output-file requirements/uv.txt
