"""Memory that a backlog has taken, given back to the system when the backlog is over.

Python frees what it held, but the C library keeps freed memory for itself: without this a member would hold for good
what its largest backlog took. Told the lag by `fleet.ingest.polling`.
"""

import ctypes
import ctypes.util
from collections.abc import Callable

BACKLOG_RECORDS = 10_000
OVER_RECORDS = 2_000


def give_back() -> None:
    """Have the C library return what it does not use; where it has no such call, nothing happens."""
    library = ctypes.CDLL(ctypes.util.find_library("c"))
    if trim := getattr(library, "malloc_trim", None):  # glibc
        trim(0)


class FreedMemory:
    """Remembers whether there was a backlog, so that memory is given back once for each."""

    def __init__(self, give: Callable[[], None] = give_back) -> None:
        self._give = give
        self._had_backlog = False

    def note(self, lag_records: int) -> None:
        """Take the lag of the moment; at the end of a backlog this blocks for some tens of milliseconds."""
        if lag_records >= BACKLOG_RECORDS:
            self._had_backlog = True
        elif self._had_backlog and lag_records <= OVER_RECORDS:
            self._had_backlog = False
            self._give()
