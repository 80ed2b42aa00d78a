"""How far a generator was behind its own due times: what is its own fault, and not the system's.

Neighbours: `generator` and `locust_clients` note it as they send, `verdict` judges it, `page` draws it. Pure.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]

BIN_S: Final = 0.1


class Lateness:
    """The worst lateness of every tenth of a second of a test, with how much was sent in it.

    A percentile over what was sent takes each bin's worst for all that was due in it, so it errs against the generator.
    """

    def __init__(self, seconds: float) -> None:
        bins = max(int(np.ceil(seconds / BIN_S)), 1)
        self.worst_s = np.zeros(bins)
        self.sent = np.zeros(bins, np.int64)
        self.held_up = np.zeros(bins, bool)
        """Where Kafka's push-back, not the generator, was to blame."""

    def note(self, offset_s: float, late_s: float, sent: int, is_held_up: bool = False) -> None:
        """Enter that `sent` events, due from `offset_s` after the start, were begun `late_s` too late."""
        place = min(max(int(offset_s / BIN_S), 0), len(self.worst_s) - 1)
        self.sent[place] += sent
        self.held_up[place] |= is_held_up
        self.worst_s[place] = max(self.worst_s[place], late_s)

    def add(self, other: "Lateness") -> None:
        """Take another generator of the same test in."""
        self.worst_s = np.maximum(self.worst_s, other.worst_s)
        self.sent = self.sent + other.sent
        self.held_up = self.held_up | other.held_up

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of its own lateness over what was sent; 0 when nothing was."""
        own = ~self.held_up & (self.sent > 0)
        if not own.any():
            return 0.0
        order = np.argsort(self.worst_s[own])
        reached = np.cumsum(self.sent[own][order]) / self.sent[own].sum()
        place = min(int(np.searchsorted(reached, percent / 100)), len(order) - 1)
        return float(self.worst_s[own][order][place]) * 1000

    @property
    def held_up_s(self) -> float:
        """For how long Kafka's push-back held it up."""
        return float(self.held_up.sum()) * BIN_S
