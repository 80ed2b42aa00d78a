#!/usr/bin/env bash
# Installs the pins of requirements/NAME.txt with their hashes: requirements/install.sh NAME [PYTHON].
# pip installs uv (requirements/uv.txt), and uv, which is many times as fast, installs the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
pip=(.venv/bin/python -m pip --disable-pip-version-check)

# uv does not read pip's settings: a mirror or a certificate that is set for pip holds for uv too.
pip_setting() { "${pip[@]}" config list | sed -n "s/^[a-z:]*\.$1='\(.*\)'\$/\1/p" | head -n 1; }
index=$(pip_setting index-url) certificate=$(pip_setting cert)
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
[ -z "$certificate" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificate}"

if [ ! requirements/uv.txt -ot .venv/uv ]; then
  echo "Installing uv, which installs the rest"
  "${pip[@]}" install --quiet --require-hashes --requirement requirements/uv.txt
  touch .venv/uv
fi
echo "Installing requirements/$1.txt"
# Compiled, as pip does it: where Python may not write beside what it reads, each replica would compile all of Ray anew.
.venv/bin/uv pip install --compile-bytecode --python "${2:-.venv/bin/python}" --require-hashes --requirement "requirements/$1.txt"
