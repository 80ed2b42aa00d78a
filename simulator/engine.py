"""Engines and tanks: coolant temperature as one lump of heat, fuel by the work done.

Neighbours: `driving` says how much power the wheels take, `faults` what runs away or drains, `electrics` has the fan
to feed, `sensors` reads temperature and level.

Heat: a share of the fuel's power goes into metal and coolant; block and radiator give it to the air, the radiator as
far as the thermostat is open, by wind and fan. Constants are of ordinary size (70 kJ/K; 0.8 l/h at idle); a warm-up
from 21 to 87 °C takes some minutes of driving, and idling makes the fan cycle between 91 and 96 °C.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.randomness import Flags, Floats, VehicleRandomness

FAN_ON_C: Final = 96.0
FAN_OFF_C: Final = 91.0
PLATEAU_C: Final = (85.0, 90.0)
WARM_BELOW_PLATEAU_C: Final = 4.0
RECOVERS_C_S: Final = 4.0  # a thermostat that opens again, a pump that runs again: the excess is gone in seconds

_COLD_START_SHARE = 0.15
_PREHEATED_SHARE, _PREHEATED_C = 0.3, 21.0
_PETROL_W_H_PER_L = 8_900.0
_COOLANT_SHARE, _IDLE_HEAT_W = 0.32, 4_500.0
_BLOCK_W_K, _RADIATOR_W_K, _WIND_W_K_PER_MPS, _FAN_W_K = 22.0, 12.0, 60.0, 300.0
_THERMOSTAT_OPENS_OVER_C = 5.0
_SLOSH_S, _SLOSH_PCT_PER_MPS3 = 2.5, 0.25


@dataclass(frozen=True, slots=True)
class EngineFaults:
    """What faults do to engines and tanks; all of length n."""

    heats_c_s: Floats
    """How fast the coolant runs away or drifts; 0 = it does not."""
    up_to_c: Floats
    drains_pct_s: Floats
    """Fuel that is stolen or leaks."""


class Engine:
    """Engines and tanks of n vehicles; all arrays are of length n."""

    def __init__(self, random: VehicleRandomness, ambient_c: float, start_fuel_pct: Floats) -> None:
        u = random.uniforms(b"engine", 10)
        self.plateau_c = PLATEAU_C[0] + (PLATEAU_C[1] - PLATEAU_C[0]) * u[0]
        self._heat_capacity_j_k = 55e3 + 35e3 * u[1]
        self._efficiency = 0.26 + 0.1 * u[2]
        self._tank_l = 45.0 + 35.0 * u[3]
        self._idle_l_h = 0.6 + 0.6 * u[4]
        self._auxiliary_w = 300.0 + 900.0 * u[5]
        started_c = np.where(u[6] < _PREHEATED_SHARE, max(_PREHEATED_C, ambient_c), ambient_c) + 30.0 * u[7] ** 3
        self._coolant_c = np.where(u[8] < _COLD_START_SHARE, started_c, self.plateau_c)
        self._excess_c = np.zeros(random.count)
        self.has_fan_on = np.zeros(random.count, bool)
        self.fuel_pct = start_fuel_pct + (100.0 - start_fuel_pct) * u[9]
        self._slosh_pct = np.zeros(random.count)

    @property
    def temperature_c(self) -> Floats:
        """The coolant's temperature."""
        temperature: Floats = self._coolant_c + self._excess_c
        return temperature

    @property
    def level_pct(self) -> Floats:
        """Where the fuel stands at the gauge: it sloshes."""
        level: Floats = self.fuel_pct + self._slosh_pct
        return level

    def is_warm(self) -> Flags:
        """Say who has reached the plateau."""
        warm: Flags = self._coolant_c > self.plateau_c - WARM_BELOW_PLATEAU_C
        return warm

    def advance(
        self,
        dt_s: float,
        power_w: Floats,
        speed_mps: Floats,
        acceleration_mps2: Floats,
        is_off: Flags,
        ambient_c: float,
        pumps_pct_s: Floats,
        faults: EngineFaults,
    ) -> None:
        """Run for `dt_s`: `power_w` at the wheels, `pumps_pct_s` fuel that is filled in."""
        burns_w = np.where(is_off, 0.0, (power_w + self._auxiliary_w) / self._efficiency)
        self._heat(dt_s, burns_w, speed_mps, is_off, ambient_c)
        self._run_away(dt_s, faults)
        burns_l_h = np.where(is_off, 0.0, self._idle_l_h + burns_w / _PETROL_W_H_PER_L)
        used_pct_s = burns_l_h / 36.0 / self._tank_l + faults.drains_pct_s - pumps_pct_s
        self.fuel_pct = np.clip(self.fuel_pct - used_pct_s * dt_s, 0.0, 100.0)
        moved_pct = _SLOSH_PCT_PER_MPS3 * acceleration_mps2 * dt_s
        self._slosh_pct = self._slosh_pct * np.exp(-dt_s / _SLOSH_S) + moved_pct

    def _heat(self, dt_s: float, burns_w: Floats, speed_mps: Floats, is_off: Flags, ambient_c: float) -> None:
        heats_w = np.where(is_off, 0.0, _IDLE_HEAT_W + _COOLANT_SHARE * burns_w)
        hot = self._coolant_c > np.where(self.has_fan_on, FAN_OFF_C, FAN_ON_C)
        self.has_fan_on = hot & ~is_off
        is_open = np.clip((self._coolant_c - self.plateau_c + 1.0) / _THERMOSTAT_OPENS_OVER_C, 0.0, 1.0)
        flow_w_k = _RADIATOR_W_K + _WIND_W_K_PER_MPS * speed_mps + np.where(self.has_fan_on, _FAN_W_K, 0.0)
        loses_w = (_BLOCK_W_K + is_open * flow_w_k) * (self._coolant_c - ambient_c)
        self._coolant_c = self._coolant_c + (heats_w - loses_w) / self._heat_capacity_j_k * dt_s

    def _run_away(self, dt_s: float, faults: EngineFaults) -> None:
        room_c = np.maximum(faults.up_to_c - self.temperature_c, 0.0)
        rises_c = np.minimum(faults.heats_c_s * dt_s, room_c)
        recovered_c = np.maximum(self._excess_c - RECOVERS_C_S * dt_s, 0.0)
        self._excess_c = np.where(faults.heats_c_s > 0, self._excess_c + rises_c, recovered_c)
