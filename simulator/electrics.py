"""Alternators, loads and batteries: the wire's `battery`, in %.

Neighbours: `driving` and `engine` say how fast the alternator turns and whether the fan runs, `faults` what drains,
`sensors` reads it. The reading follows the charge, which moves slowly, and the voltage, which moves with the load:
13.7 V with the alternator running, about 12.5 V without.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.randomness import Flags, Floats, VehicleRandomness

ALTERNATOR_V: Final = 13.7
RESTING_V: Final = 12.5

_PCT_PER_V = 4.0
_V_PER_A = 0.011
_OFF_A = 5.0
_LIGHTS_A, _WIPERS_A, _FAN_A, _BRAKE_LIGHTS_A = 11.0, 6.0, 22.0, 4.0
_IDLE_A, _TURNING_A_PER_MPS = 42.0, 6.0
_CAPACITY_AS_PER_PCT = 2_160.0  # 60 Ah
_CHARGING_A_PER_PCT = 3.0
_SETTLES_S = 4.0
_COMFORTABLE_C, _AIR_A_PER_C = 21.0, 0.7


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lights, wipers and air conditioning have to do."""

    is_dark: bool
    is_wet: bool
    ambient_c: float


@dataclass(frozen=True, slots=True)
class BatteryFaults:
    """What faults do to batteries; all of length n."""

    drains_pct_s: Floats
    down_to_pct: Floats


class Electrics:
    """The batteries of n vehicles; all arrays are of length n."""

    def __init__(self, random: VehicleRandomness) -> None:
        u = random.uniforms(b"electric", 4)
        self._full_pct = 72.0 + 25.0 * u[0]
        self._charge_pct = self._full_pct - 5.0 * u[1] ** 2
        self._base_a = 7.0 + 9.0 * u[2]
        self._regulated_v = ALTERNATOR_V + 0.4 * (u[3] - 0.5)
        self._voltage_v = self._regulated_v - 0.2
        self._lost_pct = np.zeros(random.count)

    @property
    def battery_pct(self) -> Floats:
        """The battery as the vehicle reports it."""
        battery: Floats = self._undrained_pct() - self._lost_pct
        return battery

    def advance(
        self,
        dt_s: float,
        speed_mps: Floats,
        acceleration_mps2: Floats,
        is_off: Flags,
        has_fan_on: Flags,
        around: Surroundings,
        faults: BatteryFaults,
        charger_pct_s: Floats,
    ) -> None:
        """Charge or discharge for `dt_s`; `charger_pct_s` float64[n] is what an outlet gives."""
        weather_a = _LIGHTS_A * (around.is_dark or around.is_wet) + _WIPERS_A * around.is_wet
        air_a = _AIR_A_PER_C * min(abs(around.ambient_c - _COMFORTABLE_C), 20.0)
        driven_a = weather_a + air_a + _FAN_A * has_fan_on + _BRAKE_LIGHTS_A * (acceleration_mps2 < -0.5)
        load_a = np.where(is_off, _OFF_A, self._base_a + driven_a)
        self._charge(dt_s, load_a, speed_mps, is_off)
        plugged = charger_pct_s > 0
        charged_pct = np.minimum(self._charge_pct + charger_pct_s * dt_s, 100.0)
        self._charge_pct = np.where(plugged, charged_pct, self._charge_pct)
        settled_v = np.where(is_off, RESTING_V, self._regulated_v) - _V_PER_A * load_a
        self._voltage_v = self._voltage_v + (settled_v - self._voltage_v) * -np.expm1(-dt_s / _SETTLES_S)
        room_pct = np.maximum(self.battery_pct - faults.down_to_pct, 0.0)
        lost_pct = self._lost_pct + np.minimum(faults.drains_pct_s * dt_s, room_pct)
        self._lost_pct = np.where(faults.drains_pct_s > 0, lost_pct, 0.0)  # a drained battery is replaced

    def _charge(self, dt_s: float, load_a: Floats, speed_mps: Floats, is_off: Flags) -> None:
        gives_a = np.where(is_off, 0.0, _IDLE_A + _TURNING_A_PER_MPS * np.minimum(speed_mps, 15.0))
        missing_a = _CHARGING_A_PER_PCT * np.maximum(self._full_pct - self._charge_pct, 0.0)
        surplus_a = np.minimum(gives_a - load_a, missing_a)
        self._charge_pct = np.maximum(self._charge_pct + surplus_a * dt_s / _CAPACITY_AS_PER_PCT, 0.0)

    def _undrained_pct(self) -> Floats:
        undrained: Floats = self._charge_pct + _PCT_PER_V * (self._voltage_v - ALTERNATOR_V)
        return undrained
