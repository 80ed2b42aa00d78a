#!/usr/bin/env bash
# Pins every dependency with its hashes, for every platform, without naming an index.
set -euo pipefail
cd "$(dirname "$0")/.."
pin() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command "requirements/compile.sh" pyproject.toml "$@"; }
pin --extra dev --output-file requirements/dev.txt
pin --constraint requirements/dev.txt --output-file requirements/cluster.txt
pin --constraint requirements/dev.txt --extra laptop --output-file requirements/laptop.txt
# The peers of `make bench`: not with the product, but with its versions where they can.
cp requirements/cluster.txt requirements/bench.txt
uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command "requirements/compile.sh" --group pyproject.toml:bench --output-file requirements/bench.txt
pin --constraint requirements/dev.txt --extra loadtest --output-file requirements/loadtest.txt
