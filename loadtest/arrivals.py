"""The books of one way out of the system: which events arrived, how often, how late, and in which order.

Pure bookkeeping over numpy arrays; `readers` fills it, `report` reads it.
"""

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]


class Arrivals:
    """Events 0 to `expected` - 1 of a run, of which event s belongs to vehicle s modulo `vehicles`.

    One thread writes; others may read the counts at any time.
    """

    def __init__(self, expected: int, vehicles: int) -> None:
        self._times_seen = np.zeros(expected, np.uint16)
        self._latency_ms = np.full(expected, np.nan, np.float32)
        self._highest = np.full(vehicles, -1, np.int64)
        self._vehicles = vehicles
        self.received = 0
        self.reordered = 0
        self.unexpected = 0
        self.first_at_s = np.nan
        self.last_at_s = np.nan

    @property
    def unique(self) -> int:
        """How many different events arrived."""
        return int(np.count_nonzero(self._times_seen))

    @property
    def duplicates(self) -> int:
        """How many arrivals were of an event that had arrived before."""
        return self.received - self.unique

    @property
    def rate(self) -> float:
        """Different events per second, between the first and the last arrival; 0 without two of them."""
        span_s = self.last_at_s - self.first_at_s
        return self.unique / span_s if span_s > 0 else 0.0

    def take(self, sequence: Int64s, due_at_s: Float64s, arrived_at_s: float) -> None:
        """Enter N events that arrived together, in their order: int64[N], float64[N] Unix seconds."""
        known = (sequence >= 0) & (sequence < len(self._times_seen))
        self.unexpected += int(np.count_nonzero(~known))
        sequence, due_at_s = sequence[known], due_at_s[known]
        if not len(sequence):
            return
        self.received += len(sequence)
        self.first_at_s = arrived_at_s if np.isnan(self.first_at_s) else self.first_at_s
        self.last_at_s = arrived_at_s
        is_new = self._is_new(sequence)
        self.reordered += int(np.count_nonzero(self._is_overtaken(sequence) & is_new))
        self._latency_ms[sequence[is_new]] = (arrived_at_s - due_at_s[is_new]) * 1000
        np.add.at(self._times_seen, sequence, 1)
        np.maximum.at(self._highest, sequence % self._vehicles, sequence)

    def latency_ms(self, *percentiles: float) -> list[float]:
        """Return percentiles of the time from when events were due to their first arrival; NaN when nothing arrived."""
        arrived = self._latency_ms[~np.isnan(self._latency_ms)]
        return [float(np.percentile(arrived, share)) if len(arrived) else float("nan") for share in percentiles]

    @property
    def latencies_ms(self) -> NDArray[np.float32]:
        """Milliseconds from when each event was due to its first arrival: float32[expected], NaN = not arrived."""
        return self._latency_ms

    def _is_new(self, sequence: Int64s) -> NDArray[np.bool_]:
        """Mark the first arrival of each event."""
        is_first = np.zeros(len(sequence), bool)
        is_first[np.unique(sequence, return_index=True)[1]] = True
        is_new: NDArray[np.bool_] = is_first & (self._times_seen[sequence] == 0)
        return is_new

    def _is_overtaken(self, sequence: Int64s) -> NDArray[np.bool_]:
        """Mark events of which a later one of the same vehicle has already arrived."""
        vehicle = sequence % self._vehicles
        order = np.argsort(vehicle, kind="stable")
        # A running maximum per vehicle: rows are grouped by vehicle, and a whole run's length between the groups
        # keeps one vehicle's events from overtaking another's.
        apart = vehicle[order] * (len(self._times_seen) + 1)
        key = apart + sequence[order]
        running = np.maximum.accumulate(np.maximum(key, apart + self._highest[vehicle[order]]))
        overtaken = np.zeros(len(sequence), bool)
        overtaken[order] = key < running
        return overtaken
