"""Values that a device repeats instead of reading anew: those of a slow adapter, and those of a vehicle that stands."""

from typing import Final

import numpy as np

from simulator.occasions import charger_pct_s
from simulator.randomness import Flags, VehicleRandomness
from simulator.senders.reports import BATTERY, FUEL_LEVEL, LATITUDE, LONGITUDE, SPEED, TEMPERATURE, WEATHER, Reports

_FROM_THE_BUS: Final = [SPEED, TEMPERATURE, BATTERY, FUEL_LEVEL]
_RENEWED_EVERY_S: Final = (2.0, 5.0)
_REPEATS_SHARE: Final = 0.85
_DRIFTS_SHARE: Final = 0.25


class HeldReadings:
    """Adapters that ask the bus for one value after the other: each is 2 to 5 s old at most."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        self._has = has["held_readings"]
        shortest_s, longest_s = _RENEWED_EVERY_S
        self._every_s = shortest_s + (longest_s - shortest_s) * random.uniforms(b"held", 1)[0]
        self._values = np.full((random.count, len(_FROM_THE_BUS)), np.nan)
        self._renewed_s = np.full((random.count, len(_FROM_THE_BUS)), -np.inf)

    def apply(self, reports: Reports) -> None:
        """Replace what the adapter has not asked for again."""
        rows = np.flatnonzero(self._has[reports.vehicle])
        if not len(rows):
            return
        who, now_s = reports.vehicle[rows], reports.measured_s[rows, None]
        read = reports.signals[rows[:, None], _FROM_THE_BUS]
        is_first = np.isinf(self._renewed_s[who])
        renewed = is_first | (now_s - self._renewed_s[who] >= self._every_s[who, None])
        turn_s = self._every_s[who, None] * np.arange(len(_FROM_THE_BUS)) / len(_FROM_THE_BUS)
        self._renewed_s[who] = np.where(renewed, now_s - is_first * turn_s, self._renewed_s[who])
        self._values[who] = np.where(renewed, read, self._values[who])
        reports.signals[rows[:, None], _FROM_THE_BUS] = self._values[who]


class ParkedReadings:
    """Devices whose vehicle stands with its engine off. Most repeat what they knew; positions may drift on.

    Where there is a charger, the battery goes on. Some devices read everything on.
    """

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        u = random.uniforms(b"parked", 1)[0]
        self._has = has["parked"] & (u < _REPEATS_SHARE)
        self._drifts, self._charges = u < _DRIFTS_SHARE, charger_pct_s(random) > 0
        self._values = np.full((random.count, WEATHER), np.nan)  # numbers alone: night falls on them too

    def apply(self, reports: Reports) -> None:
        """Replace what the device repeats."""
        has = self._has[reports.vehicle]
        self._values[reports.vehicle[has & ~reports.is_parked]] = np.nan
        rows = np.flatnonzero(has & reports.is_parked)
        if not len(rows):
            return
        who, read = reports.vehicle[rows], reports.signals[rows, :WEATHER]
        self._values[who] = np.where(np.isnan(self._values[who]), read, self._values[who])
        is_live = np.zeros(read.shape, bool)
        is_live[:, [LATITUDE, LONGITUDE]] = self._drifts[who, None]
        is_live[:, BATTERY] = self._charges[who]
        reports.signals[rows, :WEATHER] = np.where(is_live, read, self._values[who])
