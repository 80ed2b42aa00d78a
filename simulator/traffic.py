"""How dense the traffic is around each vehicle, and the vehicle ahead that it follows.

The leader is a phantom of each vehicle's own, with a random speed: a real one would tie a vehicle to which others a
process owns. `simulator.driving` is the reader.
"""

from typing import Final

import numpy as np

from simulator.city import URBAN, City
from simulator.randomness import Floats, Indices, VehicleRandomness, Words

NO_LEADER_M: Final = 1e6

_TRAFFIC_LASTS_S = 150.0
_LEADER_MPS2 = 1.5
_STAYS_SHARE = 0.6
_LEADER_SHARE = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 0.95])  # by traffic level; level 0 does not occur
_STANDING_SHARE = np.array([0.0, 0.0, 0.0, 0.03, 0.12, 0.3])  # of a leader's spells that are stop and go


class Traffic:
    """Traffic levels 1 to 5 and leaders of n vehicles; all arrays are of length n."""

    def __init__(self, random: VehicleRandomness, city: City, now_s: float) -> None:
        self._random, self._city = random, city
        u = random.uniforms(b"traffic1", 2)
        self._phase = 1000.0 * u[0]
        self.level = np.ones(random.count, np.intp)
        self.gap_m = np.full(random.count, NO_LEADER_M)
        self.leader_mps = np.zeros(random.count)
        self._goal_share = np.ones(random.count)
        self._until_s = now_s + 20.0 * u[1]
        self._number: Words = np.zeros(random.count, np.uint64)

    def advance(self, now_s: float, road: Indices, limit_mps: Floats, speed_mps: Floats) -> None:
        """Bring levels and leaders to `now_s`."""
        self.level = self._levels(now_s, road)
        self._change_leaders(np.flatnonzero(self._until_s <= now_s), now_s, limit_mps, speed_mps)

    def move_leaders(self, dt_s: float, limit_mps: Floats, speed_mps: Floats) -> None:
        """Let the leaders drive for `dt_s` ahead of vehicles at `speed_mps`."""
        change = _LEADER_MPS2 * dt_s
        self.leader_mps += np.clip(self._goal_share * limit_mps - self.leader_mps, -change, change)
        self.gap_m = np.minimum(np.maximum(self.gap_m + (self.leader_mps - speed_mps) * dt_s, 1.0), NO_LEADER_M)

    def _levels(self, now_s: float, road: Indices) -> Indices:
        """Traffic by the hour, denser in town, different for every vehicle, steady for minutes."""
        hour = self._city.local_hour(now_s)
        rush = np.exp(-(((hour - 8.5) / 1.5) ** 2)) + np.exp(-(((hour - 18.5) / 2.0) ** 2))
        period = np.floor(now_s / _TRAFFIC_LASTS_S + self._phase).astype(np.uint64)
        u = self._random.uniforms(b"traffic", 1, period)[0]
        town = np.where(self._city.road_type[road] == URBAN, 0.6, 0.0)
        level: Floats = np.floor(1.0 + 3.2 * u * np.sqrt(u) + town + self._city.style.rush * rush)
        return np.clip(level, 1, 5).astype(np.intp)

    def _change_leaders(self, who: Indices, now_s: float, limit_mps: Floats, speed_mps: Floats) -> None:
        """Another spell: the leader leaves, one cuts in with room to spare, or the same one drives differently."""
        if not len(who):
            return
        self._number[who] += np.uint64(1)
        u = self._random.uniforms(b"leader", 6, self._number, who)
        level, had_leader = self.level[who], self.gap_m[who] < 0.5 * NO_LEADER_M
        stays = had_leader & (u[0] < _STAYS_SHARE)
        comes = ~stays & (u[1] < _LEADER_SHARE[level])
        cut_in_m = 10.0 + 1.8 * speed_mps[who] + 50.0 * u[2]
        self.gap_m[who] = np.where(stays, self.gap_m[who], np.where(comes, cut_in_m, NO_LEADER_M))
        self._goal_share[who] = np.where(u[3] < _STANDING_SHARE[level], 0.0, 0.45 + 0.6 * u[4])
        newcomer_mps = np.maximum(0.8 * speed_mps[who], np.minimum(speed_mps[who], 0.8 * limit_mps[who]))
        self.leader_mps[who] = np.where(stays, self.leader_mps[who], newcomer_mps)
        spell_s = np.where(self._goal_share[who] == 0, 8.0 + 22.0 * u[5], 15.0 + 60.0 * u[5])
        self._until_s[who] = now_s + spell_s
