"""How values are spread, as counts below bounds: what a block brings is counted at once, not event by event."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


class Histogram:
    """Counts of non-negative values by upper bound, and their sum; both only grow. One thread adds, any may read."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = np.zeros(len(self.bounds) + 1, dtype=np.int64)

    def observe(self, value: float, times: int = 1) -> None:
        """Count one value, so many times."""
        self._counts[np.searchsorted(self.bounds, value)] += times
        self.sum += max(value, 0.0) * times

    def observe_all(self, values: ArrayLike) -> None:
        """Count the values of a block, float64[N]; what is below zero counts as zero, for clocks differ."""
        found = np.maximum(np.asarray(values, np.float64), 0.0)
        self._counts += np.bincount(np.searchsorted(self.bounds, found), minlength=len(self._counts))
        self.sum += float(found.sum())

    def cumulative(self) -> list[int]:
        """Return how many values are at most each bound, and last how many there are."""
        counts: list[int] = self._counts.cumsum().tolist()
        return counts
