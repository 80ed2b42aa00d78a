"""When to send: events due by a clock that never goes back, until somebody asks to stop.

Used by `publisher`, `senders`, `replay` and the load test's generator.
"""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

TICK_S = 0.005  # shorter waits would cost more in wake-ups than they gain in evenness
LARGEST_SLICE = 1_000
_CLOCK_SET_S = 1.0
_GOLDEN_SECTION = 0.6180339887498949


def phases(first: int, count: int) -> NDArray[np.float64]:
    """Give each vehicle its moment of the period, float64[count] in [0, 1): evenly spread in every range of a fleet.

    Multiples of the golden section (a low-discrepancy sequence); it depends on the vehicle's index alone.
    """
    share: NDArray[np.float64] = np.modf(np.arange(first, first + count) * _GOLDEN_SECTION)[0]
    return share


class Stop(Protocol):
    """Says whether to stop; a threading.Event is one."""

    def is_set(self) -> bool:
        """Tell whether somebody asked to stop."""

    def wait(self, timeout_s: float, /) -> bool:
        """Wait at most so long for that; returns whether it came."""


class SteadyClock:
    """Unix seconds that never go back: a machine's clock set back is ignored, one set forward is followed.

    A laptop that slept wakes up with its wall clock far ahead of its monotonic one; that is the second case.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._offset_s = wall() - monotonic()

    def now_s(self) -> float:
        """Return the time in Unix seconds."""
        ahead_s = self._wall() - self._monotonic() - self._offset_s
        if ahead_s > _CLOCK_SET_S:
            self._offset_s += ahead_s
        return self._monotonic() + self._offset_s


def due_slices(due_s: NDArray[np.float64], now_s: Callable[[], float], stop: Stop) -> Iterator[slice]:
    """Yield the rows that have become due, in order and at most 1,000 at a time, until all are or `stop` is set.

    `due_s` is float64[N], ascending, on the clock that `now_s` reads; minus infinity is due at once.
    """
    done, count = 0, len(due_s)
    while done < count and not stop.is_set():
        now = now_s()
        end = min(int(np.searchsorted(due_s, now, side="right")), done + LARGEST_SLICE)
        if end > done:
            yield slice(done, end)
            done = end
        else:
            stop.wait(max(float(due_s[done]) - now, TICK_S))
