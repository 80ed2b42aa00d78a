"""In which unit and in which steps a device says its readings."""

from typing import Final

import numpy as np

from fleet.events.channels import METRES_PER_SECOND
from simulator.randomness import Flags, VehicleRandomness
from simulator.senders.reports import (
    ACCELERATION,
    BATTERY,
    FUEL_LEVEL,
    LATITUDE,
    LONGITUDE,
    PREVIOUS_SPEED,
    SIGNALS,
    SPEED,
    TEMPERATURE,
    Reports,
)

_PER_PERCENT_OF_A_BYTE: Final = 2.55
_FUEL_STEPS_PER_PERCENT: Final = np.array([1.0, 0.5, 0.2])
_STEPS_PER_DEGREE: Final = np.array([1e4, 1e5])
_UNITS: Final = {"speed_in_knots": "knots", "speed_in_mph": "mph", "speed_in_mps": "m/s"}


class Resolution:
    """Units and steps of n senders. What a device claims of its own past follows from what it said."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        self._speed_factor = np.ones(random.count)
        for name, unit in _UNITS.items():
            self._speed_factor[has[name]] = METRES_PER_SECOND["km/h"] / METRES_PER_SECOND[unit]
        self._steps_per_unit = _steps_per_unit(random, has)
        self._has = (self._steps_per_unit > 0).any(axis=1) | (self._speed_factor != 1.0)
        self._alters_speed = (
            (self._speed_factor != 1.0) | (self._steps_per_unit[:, SPEED] > 0) | has["held_readings"] | has["parked"]
        )
        self._said_speed = np.full(random.count, np.nan)

    def apply(self, reports: Reports) -> None:
        """Convert and round."""
        rows = np.flatnonzero(self._has[reports.vehicle])
        if len(rows):
            who, read = reports.vehicle[rows], reports.signals[rows]
            read[:, SPEED] *= self._speed_factor[who]
            per_unit = self._steps_per_unit[who]
            is_coarse = per_unit > 0
            rounded = np.round(read * per_unit) / np.where(is_coarse, per_unit, 1.0)
            reports.signals[rows] = np.where(is_coarse, rounded, read)
        self._claim(reports)

    def _claim(self, reports: Reports) -> None:
        rows = np.flatnonzero(self._alters_speed[reports.vehicle])
        if not len(rows):
            return
        who, speed = reports.vehicle[rows], reports.signals[rows, SPEED]
        previous = np.where(np.isnan(self._said_speed[who]), speed, self._said_speed[who])
        reports.signals[rows, PREVIOUS_SPEED] = previous
        reports.signals[rows, ACCELERATION] = speed - previous
        self._said_speed[who] = speed


def _steps_per_unit(random: VehicleRandomness, has: dict[str, Flags]) -> np.ndarray:
    """Return float64[n, 13]: how many steps a signal's unit has; 0 where it is fine."""
    u = random.uniforms(b"steps", 2)
    whole = has["whole_numbers"] | has["only_changed"]  # on change alone: noise would be a change each time
    per_unit = np.zeros((random.count, len(SIGNALS)))
    per_unit[has["coarse_temperature"] | has["obd_steps"] | whole, TEMPERATURE] = 1.0
    per_unit[has["whole_speed"] | has["obd_steps"] | whole, SPEED] = 1.0
    per_unit[has["coarse_battery"] | whole, BATTERY] = 1.0
    per_unit[whole, FUEL_LEVEL] = 1.0
    fuel = _FUEL_STEPS_PER_PERCENT[(u[0] * len(_FUEL_STEPS_PER_PERCENT)).astype(np.intp)]
    per_unit[has["coarse_fuel"], FUEL_LEVEL] = fuel[has["coarse_fuel"]]
    for level in (BATTERY, FUEL_LEVEL):
        per_unit[has["obd_steps"], level] = _PER_PERCENT_OF_A_BYTE
    degrees = np.where(has["only_changed"], _STEPS_PER_DEGREE[1], _STEPS_PER_DEGREE[(u[1] < 0.5).astype(np.intp)])
    for axis in (LATITUDE, LONGITUDE):
        places = has["coarse_position"] | has["only_changed"]
        per_unit[places, axis] = degrees[places]
    return per_unit
