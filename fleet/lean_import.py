"""Importing a library without an optional one that it would load as well."""

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
