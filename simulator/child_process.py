"""How a child process is told to end, and notices that its parent has gone.

Used by `publisher` and the load test, which share out work to processes of `multiprocessing`.
"""

import contextlib
import signal
from multiprocessing.connection import Connection


class PipeStop:
    """Stop when the parent says so (it sends something), or is no more (its end of the pipe closes)."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._is_set = False

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return self.wait(0.0)

    def wait(self, timeout_s: float, /) -> bool:
        """Wait at most so long for that; returns whether it came."""
        if not self._is_set and self._pipe.poll(timeout_s):
            self._is_set = True
            # Taken out of the pipe: one that is closed with something unread in it resets the parent's end.
            with contextlib.suppress(EOFError, OSError):
                self._pipe.recv()
        return self._is_set


def tell(pipe: Connection, message: object) -> None:
    """Send unless the other end has gone: a child notices that by `PipeStop`, a parent by the end of the pipe."""
    with contextlib.suppress(OSError):
        pipe.send(message)


def leave_signals_to_the_parent() -> None:
    """Ignore what asks to end: a terminal's Ctrl-C reaches the child too, but its parent decides."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
