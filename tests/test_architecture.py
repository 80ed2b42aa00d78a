"""ARCHITECTURE.md says who may import whom: what it says is what the import contracts check."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEADER = "| folder | what it is | may import |"
NOTHING = "–"


def contract(name: str) -> dict[str, Any]:
    [found] = [one for one in PYPROJECT["tool"]["importlinter"]["contracts"] if one["name"] == name]
    return found


def below(name: str) -> dict[str, set[str]]:
    """Return what each folder of a contract's layers may import."""
    layers = [[folder.strip() for folder in layer.split("|")] for layer in contract(name)["layers"]]
    return {
        folder: {lower for rest in layers[level + 1 :] for lower in rest}
        for level, layer in enumerate(layers)
        for folder in layer
    }


def tables() -> list[dict[str, set[str]]]:
    """Return the tables of ARCHITECTURE.md: what each folder is said to be allowed to import."""
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    return [_table(lines[at + 2 :]) for at, line in enumerate(lines) if line == HEADER]


def _table(lines: list[str]) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        folder, *_, may_import = line.strip("|").split("|")
        rows[_names(folder)[0]] = set(_names(may_import))
        assert _names(may_import) or may_import.strip() == NOTHING, line
    return rows


def _names(cell: str) -> list[str]:
    return [quoted.rstrip("/").removesuffix(".py").rsplit("/", 1)[-1] for quoted in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(("table", "name"), [(0, "The top level"), (1, "The rooms of fleet")])
def test_architecture_says_who_may_import_whom(table: int, name: str) -> None:
    said, held = tables()[table], below(name)
    assert {folder: said.get(folder) for folder in held} == held
    others = {folder: may_import for folder, may_import in said.items() if folder not in held}
    assert set().union(*others.values()) == set(), f"{sorted(others)} are no layers of the contract"


def test_top_level_contract_holds_every_package() -> None:
    packages = {pattern.removesuffix("*") for pattern in PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages == {init.parent.name for init in ROOT.glob("*/__init__.py")}
    assert set(below("The top level")) == packages
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == packages
    assert set(PYPROJECT["tool"]["mypy"]["files"]) == packages
