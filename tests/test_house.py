"""How large a file, a function and a list of parameters may be."""

import ast
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS = 450, 40, 8

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> list[str]:
    """Return what git tracks and what it will, by path from the root."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).exists()]


def functions() -> Iterator[tuple[str, Function]]:
    """Yield each function with its file and name."""
    for name in files():
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, Function):
                yield f"{name}:{node.name}", node


def large_files() -> set[str]:
    return {name for name in files() if len((ROOT / name).read_text().splitlines()) > MOST_LINES_OF_A_FILE}


def long_functions() -> set[str]:
    return {name for name, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION}


def many_parameters() -> set[str]:
    """Return functions with too many; the options of a command are its parameters."""
    return {
        name
        for name, node in functions()
        if _parameters(node) > MOST_PARAMETERS and not (name.startswith("commands/") and not node.name.startswith("_"))
    }


def _parameters(node: Function) -> int:
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(one.arg not in ("self", "cls") for one in named) + bool(node.args.vararg) + bool(node.args.kwarg)


@pytest.mark.parametrize("larger", [large_files, long_functions, many_parameters])
def test_sizes_stay_within_bounds(larger: Callable[[], set[str]]) -> None:
    assert larger() == set(), "these are too large: cut them into parts"
