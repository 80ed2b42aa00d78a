"""The Makefile says what it does, and the hooks before a commit run the same linters."""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def recipe(target: str) -> list[str]:
    """Return the commands below a target."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None
    return [line.strip() for line in found[1].splitlines()]


def test_help_says_what_every_target_does() -> None:
    # Under `make test` a make in a make would tell which directory it enters.
    told = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert {line.split()[0] for line in told.splitlines()} == set(phony[1].split())
    assert all(len(line.split()) > 2 for line in told.splitlines())


def test_hooks_run_what_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == recipe("lint")
    assert {repository["repo"] for repository in config["repos"]} == {"local"}  # nothing is fetched


def test_requirements_name_no_index() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        lines = [line for line in file.read_text().splitlines() if not line.startswith((" ", "#"))]
        assert all(re.match(r"[A-Za-z0-9._-]+==[^ ]+( ;.*)? \\$", line) for line in lines), file.name
