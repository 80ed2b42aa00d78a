"""How a foreground command is asked to end: Ctrl-C, SIGTERM, or the end of its terminal."""

import contextlib
import os
import select
import signal
import sys
from types import FrameType
from typing import Self


def stop_signals() -> tuple[signal.Signals, ...]:
    """Name the signals that ask to end. Where SIGHUP is ignored from the start (`nohup`), it goes on being ignored."""
    asks = (signal.SIGINT, signal.SIGTERM)
    return asks if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*asks, signal.SIGHUP)


def ends_with_its_terminal() -> bool:
    """Whether standard output is this session's terminal, and its end asks to end."""
    with contextlib.suppress(OSError):
        os.tcgetpgrp(sys.stdout.fileno())  # refused where it is no terminal, or another session's (`setsid`)
        return signal.SIGHUP in stop_signals()
    return False


class StopFlag:
    """Set by the first signal that asks to end; a second one of the same kind acts as it would without this flag.

    Enter it in the main thread (the only one that may set signal handlers). A pipe rather than a threading.Event:
    a handler that interrupts `Event.wait` and calls `Event.set` may find the event's own lock taken.
    """

    def __init__(self) -> None:
        self._is_set = False

    def __enter__(self) -> Self:
        self._read_end, self._write_end = os.pipe()
        self._former = {number: signal.signal(number, self._ask) for number in stop_signals()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        os.close(self._read_end)
        os.close(self._write_end)

    def is_set(self) -> bool:
        """Tell whether somebody has asked this command to end."""
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Wait for the question to end, at most so long; returns whether it came."""
        select.select([self._read_end], [], [], max(timeout_s, 0.0))
        return self._is_set

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if not self._is_set:
            self._is_set = True
            os.write(self._write_end, b"!")
        signal.signal(number, self._former[signal.Signals(number)])
