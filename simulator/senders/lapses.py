"""Single readings that are wrong, once or twice an hour: a value that stands for no value, or a spike."""

from typing import Final

import numpy as np

from simulator.randomness import Flags, VehicleRandomness
from simulator.senders.reports import BATTERY, FUEL_LEVEL, LATITUDE, LONGITUDE, SPEED, TEMPERATURE, Reports
from simulator.senders.spells import Spells

_PAUSE_S: Final = 2400.0
_COLD_C: Final = -40.0
_OFF_LEVELS: Final = np.array([0.0, 255.0])
_SPIKE_KMH: Final = (60.0, 200.0)


class Lapses:
    """The bad readings of n senders."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        self._kinds = {
            "zero_position_once": self._lose_position,
            "cold_once": self._lose_temperature,
            "level_off_once": self._lose_level,
            "speed_spike_once": self._spike,
        }
        self._random, self._has = random, {name: has[name] for name in self._kinds}
        self._has_any = np.logical_or.reduce(list(self._has.values()))
        self._spells = Spells(random, b"lapse", _PAUSE_S)

    def apply(self, reports: Reports) -> None:
        """Spoil the readings whose turn it is."""
        rows = np.flatnonzero(self._has_any[reports.vehicle])
        struck = rows[self._spells.strike(reports.vehicle[rows], reports.measured_s[rows])]
        if not len(struck):
            return
        who = reports.vehicle[struck]
        u = self._random.uniforms(b"lapses", 2, self._spells.number, who)
        for name, spoil in self._kinds.items():
            mine = self._has[name][who]
            spoil(reports, struck[mine], u[:, mine])

    def _lose_position(self, reports: Reports, rows: np.ndarray, _u: np.ndarray) -> None:
        reports.signals[rows, LATITUDE] = reports.signals[rows, LONGITUDE] = 0.0

    def _lose_temperature(self, reports: Reports, rows: np.ndarray, _u: np.ndarray) -> None:
        reports.signals[rows, TEMPERATURE] = _COLD_C

    def _lose_level(self, reports: Reports, rows: np.ndarray, u: np.ndarray) -> None:
        level = np.where(u[0] < 0.5, BATTERY, FUEL_LEVEL)
        reports.signals[rows, level] = _OFF_LEVELS[(u[1] < 0.5).astype(np.intp)]

    def _spike(self, reports: Reports, rows: np.ndarray, u: np.ndarray) -> None:
        least_kmh, most_kmh = _SPIKE_KMH
        reports.signals[rows, SPEED] += least_kmh + (most_kmh - least_kmh) * u[0]
