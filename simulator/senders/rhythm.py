"""How often a sender reports, driving and parked."""

from typing import Final

import numpy as np

from simulator.randomness import Flags, Floats, VehicleRandomness, Words

INTERVALS_S: Final = {f"every_{seconds}_s": float(seconds) for seconds in (2, 5, 10, 30, 60, 300, 600, 900)}
_JITTERED_S: Final = (5.0, 60.0)
_JITTER: Final = 0.2
_SLOW_WHEN_PARKED_S: Final = 60.0
_PARKED_S: Final = 10.0
_ROUNDING_S: Final = 1e-3


class Rhythm:
    """The rhythms of n senders. What is not named below sends at every step."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        self._random = random
        u = random.uniforms(b"rhythm", 3)
        shortest_s, longest_s = _JITTERED_S
        self._driving_s = np.where(has["jittered"], shortest_s * (longest_s / shortest_s) ** u[0], 0.0)
        for name, interval_s in INTERVALS_S.items():
            self._driving_s[has[name]] = interval_s
        parked_s = np.where(has["parked"] & (u[1] < 0.5), np.maximum(self._driving_s, _PARKED_S), self._driving_s)
        parked_s[has["slow_when_parked"]] = _SLOW_WHEN_PARKED_S
        parked_s[has["silent_when_parked"]] = np.inf
        self._parked_s, self._begins_with = parked_s, u[2]
        self._jitter = np.where(has["jittered"], _JITTER, 0.0)
        self._stretched = np.ones(random.count)
        self._sent: Words = np.zeros(random.count, np.uint64)
        self._last_s: Floats | None = None

    def due(self, now_s: Floats, is_parked: Flags) -> Flags:
        """Say who reports at its own moment of this step, bool[n]."""
        if self._last_s is None:  # as if all had been sending for long
            self._last_s = now_s - self._begins_with * self._driving_s
        wait_s = np.where(is_parked, self._parked_s, self._driving_s) * self._stretched
        due: Flags = now_s - self._last_s >= wait_s - _ROUNDING_S
        self._last_s = np.where(due, now_s, self._last_s)
        self._stretch(due)
        return due

    def _stretch(self, due: Flags) -> None:
        who = np.flatnonzero(due & (self._jitter > 0))
        if len(who):
            self._sent[who] += np.uint64(1)
            u = self._random.uniforms(b"jitter", 1, self._sent, who)[0]
            self._stretched[who] = 1 + self._jitter[who] * (2 * u - 1)
