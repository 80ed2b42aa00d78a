"""What is normal but unusual: refuelling, long idling, parking with the engine off, tunnels.

Advanced by `simulator.vehicles` beside the faults, and never during one; `driving` pulls over for what needs a
vehicle that stands, `sensors` has no position in a tunnel.
"""

from typing import Final

import numpy as np

from simulator.randomness import Flags, Floats, Indices, VehicleRandomness, Words

NOTHING, TUNNEL, IDLE, PARKED, REFUEL = range(5)
MEAN_INTERVAL_S: Final = 2400.0
TUNNEL_LASTS_S: Final = (10.0, 60.0)
PARKS_FIRST_S: Final = (600.0, 7_200.0)
CHARGER_SHARE: Final = 0.15
CHARGER_PCT_S: Final = (0.002, 0.02)  # a wall box takes half a day, a fast charger an hour and a half

_SHARES = np.cumsum([0.4, 0.25, 0.15, 0.2])  # of tunnel, idle, parked, refuel
_SHORTEST_S = np.array([0.0, TUNNEL_LASTS_S[0], 120.0, 60.0, 15.0])
_LONGEST_S = np.array([0.0, TUNNEL_LASTS_S[1], 600.0, 900.0, 60.0])  # refuelling: paying, after it is full
_TUNNEL_MPS = 8.0
_REFUELS_FROM_PCT = 75.0
_BEFORE_PUMPING_S = 25.0


class Occasions:
    """Which occasion each of n vehicles is at; all arrays are of length n."""

    def __init__(self, random: VehicleRandomness, now_s: float, parks_first: Flags | None = None) -> None:
        """Let those of `parks_first` bool[n] begin with a long stay."""
        u = random.uniforms(b"occasio1", 5)
        self._random = random
        self.kind = np.full(random.count, NOTHING)
        self.is_pumping = np.zeros(random.count, bool)
        self.pump_pct_s = 0.6 + 0.6 * u[1]  # 20 to 40 l/min into 55 l
        self._full_pct = 90.0 + 9.0 * u[2]
        self._refuels_below_pct = 8.0 + 14.0 * u[3]
        self._lasts_s = np.zeros(random.count)
        self._until_s = np.full(random.count, np.inf)
        self._due_s = now_s - MEAN_INTERVAL_S * np.log1p(-u[4])
        self._number: Words = np.zeros(random.count, np.uint64)
        if parks_first is not None:
            shortest_s, longest_s = PARKS_FIRST_S
            self.kind[parks_first] = PARKED
            self._lasts_s[parks_first] = (shortest_s * (longest_s / shortest_s) ** u[0])[parks_first]
        self._charger_pct_s = np.zeros(random.count) if parks_first is None else parks_first * charger_pct_s(random)

    @property
    def start_fuel_pct(self) -> Floats:
        """The least that a vehicle sets out with."""
        start: Floats = self._refuels_below_pct + 1.0
        return start

    def must_stand(self) -> Flags:
        """Say who pulls over and stands."""
        return self.kind >= IDLE

    def is_engine_off(self, stood_s: Floats) -> Flags:
        """Say who stands with the engine off."""
        off: Flags = (self.kind >= PARKED) & (stood_s > 2.0)
        return off

    def is_parked(self, stood_s: Floats) -> Flags:
        """Say who stands with the engine off, and not at a pump."""
        parked: Flags = (self.kind == PARKED) & (stood_s > 2.0)
        return parked

    def charges_pct_s(self, stood_s: Floats) -> Floats:
        """Say who is charged how fast: some of those that began with a long stay, whenever they are parked."""
        charges: Floats = self._charger_pct_s * self.is_parked(stood_s)
        return charges

    def advance(self, now_s: float, is_free: Flags, speed_mps: Floats, stood_s: Floats, fuel_pct: Floats) -> None:
        """Begin and end occasions; `is_free` says which vehicles have no fault."""
        self._end(np.flatnonzero(self._until_s <= now_s), now_s)
        hungry = fuel_pct < self._refuels_below_pct
        called = is_free & (self.kind == NOTHING) & (hungry | (self._due_s <= now_s))
        self._begin(np.flatnonzero(called), now_s, hungry, speed_mps, fuel_pct)
        here = np.flatnonzero(self.kind >= IDLE)
        self._start_clocks(here, now_s, stood_s)
        self._pump(here, now_s, stood_s, fuel_pct)

    def _begin(self, who: Indices, now_s: float, hungry: Flags, speed_mps: Floats, fuel_pct: Floats) -> None:
        if not len(who):
            return
        u = self._random.uniforms(b"occasion", 2, self._number, who)
        kind = np.where(hungry[who], REFUEL, 1 + np.minimum(np.searchsorted(_SHARES, u[0], side="right"), 3))
        kind = np.where((kind == REFUEL) & (fuel_pct[who] > _REFUELS_FROM_PCT), IDLE, kind)
        ready = (kind != TUNNEL) | (speed_mps[who] > _TUNNEL_MPS)
        who, kind = who[ready], kind[ready]
        self.kind[who] = kind
        self._lasts_s[who] = _SHORTEST_S[kind] + (_LONGEST_S[kind] - _SHORTEST_S[kind]) * u[1, ready]
        self._until_s[who] = np.where(kind == TUNNEL, now_s + self._lasts_s[who], np.inf)

    def _start_clocks(self, here: Indices, now_s: float, stood_s: Floats) -> None:
        """Count the time of those who pulled over from when they stand."""
        arrived = here[(stood_s[here] > 0) & np.isinf(self._until_s[here]) & (self.kind[here] != REFUEL)]
        self._until_s[arrived] = now_s + self._lasts_s[arrived]

    def _pump(self, here: Indices, now_s: float, stood_s: Floats, fuel_pct: Floats) -> None:
        self.is_pumping[:] = False
        at_pump = here[(self.kind[here] == REFUEL) & np.isinf(self._until_s[here])]
        at_pump = at_pump[stood_s[at_pump] > _BEFORE_PUMPING_S]
        full = fuel_pct[at_pump] >= self._full_pct[at_pump]
        self.is_pumping[at_pump[~full]] = True
        self._until_s[at_pump[full]] = now_s + self._lasts_s[at_pump[full]]

    def _end(self, who: Indices, now_s: float) -> None:
        if not len(who):
            return
        self._number[who] += np.uint64(1)
        u = self._random.uniforms(b"next", 1, self._number, who)[0]
        self._due_s[who] = now_s + 120.0 - MEAN_INTERVAL_S * np.log1p(-u)
        self.kind[who], self._until_s[who] = NOTHING, np.inf


def charger_pct_s(random: VehicleRandomness) -> Floats:
    """Return what the charger at each vehicle's own place gives, % per second; 0 where there is none."""
    u = random.uniforms(b"charger", 2)
    slowest, fastest = CHARGER_PCT_S
    return np.where(u[0] < CHARGER_SHARE, slowest * (fastest / slowest) ** u[1], 0.0)
