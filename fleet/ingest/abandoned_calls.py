"""Calls whose answer nobody waits for any more, and that cannot or should not be ended: kept, and counted."""

import asyncio
from typing import Any


class AbandonedCalls:
    """The abandoned calls that have not ended yet; `len` says how many. On the event loop alone."""

    def __init__(self) -> None:
        self._calls: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        """Count those that have not ended."""
        return len(self._calls)

    def add(self, call: "asyncio.Future[Any]") -> None:
        """Let a call run on by itself."""
        self._calls.add(call)  # a task that nobody refers to may be collected while it runs
        call.add_done_callback(self._has_ended)

    def _has_ended(self, call: "asyncio.Future[Any]") -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # asyncio complains of a failure that nobody looks at
