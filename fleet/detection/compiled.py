"""Loops over events that are compiled: what depends on the event before it has no columns to work on."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_ROOM: Final = Path(__file__).parent


def _keep_beside_the_sources() -> None:
    """Keep what is compiled under a name that follows all sources of this room.

    By itself numba follows changes of a function's own file, and not of the files of what it calls.
    """
    sources = sorted(_ROOM.rglob("*.py"))
    name = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    cache = _ROOM / "__pycache__"
    if not numba.config.CACHE_DIR and os.access(cache if cache.exists() else _ROOM, os.W_OK):
        numba.config.CACHE_DIR = str(cache / f"compiled-{name}")


_keep_beside_the_sources()


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function of numbers and arrays; the result is kept on disk from one start to the next.

    Division by zero gives infinity, as in numpy. Other threads run meanwhile.
    """
    fast: Callable[Arguments, Result] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return fast
