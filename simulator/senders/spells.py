"""Stretches of time in which a sender does something: without network, with a wrong clock, for one event."""

from typing import Final

import numpy as np

from simulator.randomness import Flags, Floats, Indices, VehicleRandomness, Words

_SOONEST_S: Final = 60.0


class Spells:
    """The spells of n senders, at most one at a time each. Every spell strikes one event at least."""

    def __init__(
        self, random: VehicleRandomness, purpose: bytes, pause_s: float, lasts_s: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Let spells last as drawn from `lasts_s` and pause for 60 s and more, `pause_s` in the mean."""
        self._random, self._purpose = random, purpose
        self._pause_s, self._lasts_s = pause_s, lasts_s
        self.begins_s, self.until_s = (np.full(random.count, np.nan) for _ in range(2))
        """float64[n]: of the spell that is, or that comes next."""
        self.number: Words = np.zeros(random.count, np.uint64)
        self._has_struck = np.zeros(random.count, bool)

    def strike(self, who: Indices, now_s: Floats) -> Flags:
        """Say which of these senders, each named once, are in a spell at their own moment; times never go back."""
        over = np.isnan(self.begins_s[who]) | (self._has_struck[who] & (now_s >= self.until_s[who]))
        self._plan(who[over], now_s[over])
        struck: Flags = now_s >= self.begins_s[who]
        self._has_struck[who[struck]] = True
        return struck

    def _plan(self, who: Indices, now_s: Floats) -> None:
        if not len(who):
            return
        self.number[who] += np.uint64(1)
        u = self._random.uniforms(self._purpose, 2, self.number, who)
        shortest_s, longest_s = self._lasts_s
        self.begins_s[who] = now_s + _SOONEST_S - (self._pause_s - _SOONEST_S) * np.log1p(-u[0])
        # Geometric, so that short ones are as frequent as long ones.
        lasts_s = shortest_s * (longest_s / shortest_s) ** u[1] if shortest_s > 0 else 0.0
        self.until_s[who] = self.begins_s[who] + lasts_s
        self._has_struck[who] = False
