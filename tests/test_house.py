"""How large a file, a function and a list of parameters may be.

What is larger stands below by name, with its size as it is, and leaves the list as soon as it is mended.
"""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS = 450, 40, 8
# Kernels that numba compiles cannot be handed objects; one that is cut into pieces is compiled piece by piece.
KERNELS = {"fleet/detection/window_kernel.py"}
LARGE_FILES = {
    "tests/deployments/test_gateway.py",
    "tests/fleet/detection/test_windows.py",
}
LONG_FUNCTIONS = {
    "fleet/records/scored.py:encode_results",
    "tests/end_to_end/test_events.py:test_models_are_swapped_refused_and_rolled_back_under_load",
}
MANY_PARAMETERS: set[str] = set()

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


def _outside_kernels(found: set[str]) -> set[str]:
    return {name for name in found if name.split(":")[0] not in KERNELS}


@pytest.mark.parametrize(
    ("found", "allowed"),
    [
        pytest.param(large_files, LARGE_FILES, id="files"),
        pytest.param(long_functions, LONG_FUNCTIONS, id="functions"),
        pytest.param(many_parameters, MANY_PARAMETERS, id="parameters"),
    ],
)
def test_sizes_stay_within_bounds(found, allowed: set[str]) -> None:
    larger = _outside_kernels(found())
    assert larger - allowed == set(), "these are too large: cut them into parts"
    assert allowed - larger == set(), "these are no longer too large: take them off the list"


def test_kernels_that_are_excepted_are_there() -> None:
    assert {name for name in KERNELS if not (ROOT / name).exists()} == set()
