"""Loops over events that are compiled: what depends on the event before it has no columns to work on."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function of numbers and arrays; the result is kept on disk from one start to the next.

    Division by zero gives infinity, as in numpy. Other threads run meanwhile.
    """
    fast: Callable[Arguments, Result] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return fast
