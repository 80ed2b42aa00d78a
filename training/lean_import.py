"""Importing a large library at less cost: without an optional one that it would load, and without collections."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(name: str) -> Iterator[None]:
    """Let imports inside find no module `name`, as if it were not installed; afterwards it can be imported as ever.

    Where it is loaded already, nothing changes.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # what the import system takes for "is not there"
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage inside: what imports make stays, and each collection would look through all of it again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
