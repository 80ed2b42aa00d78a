"""What a vehicle's sensors and its modem make of the truth: noise, coarse steps, glitches, faults, lost messages.

The last stop in the simulator: `driving`, `engine` and `electrics` are read, `vehicles` lays the readings out as
events. The order is the physical one: noise and bias before the converter's steps, a stuck reading after them, then
what goes missing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator import faults
from simulator.city import City
from simulator.faults import FaultSchedule
from simulator.randomness import Flags, Floats, Indices, VehicleRandomness, Words

GPS_M: Final = 1.5
GPS_MEMORY_PER_S: Final = 0.97  # AR(1): real receivers drift, they do not jump about
COARSE_SHARE: Final = 0.25
LOST_SHARE: Final = 0.001
NULL_SHARE: Final = 0.001
SPIKE_SHARE: Final = 0.002
REPEATED_FIX_SHARE: Final = 0.0002

SPEED, TEMPERATURE, BATTERY, FUEL_LEVEL, LATITUDE, LONGITUDE, LIMIT, TRAFFIC = range(8)
_READINGS = 8
_LEVELS = 4  # the first four readings are the signals of the same numbers in `faults`
_NOISE = np.array([0.25, 0.2, 0.15, 0.12])  # km/h, °C, %, %
_COARSE_NOISE = np.array([0.25, 0.4, 0.4, 0.25])  # cheap converters are noisier than their last digit
_COARSE_STEP = np.array([1.0, 1.0, 1.0, 0.5])
_COARSE_DEGREES = 1e-5
_SLOSH_PCT, _SLOSH_MEMORY_PER_S = 0.3, 0.7
_SPIKE = 2.2
_MOVES_MPS = 0.1
_NULL_FIELDS = ((SPEED,), (TEMPERATURE,), (BATTERY,), (FUEL_LEVEL,), (LATITUDE, LONGITUDE), (LIMIT,), (TRAFFIC,))


@dataclass(frozen=True, slots=True)
class Truth:
    """What there is to read, all of length n."""

    speed_mps: Floats
    temperature_c: Floats
    battery_pct: Floats
    fuel_pct: Floats
    east_m: Floats
    north_m: Floats
    limit_kmh: Floats
    traffic: Indices
    in_tunnel: Flags


@dataclass(frozen=True, slots=True)
class Readings:
    """What is reported; NaN is unknown."""

    values: Floats
    """float64[8, n]: km/h, °C, %, %, degrees, degrees, km/h, 1 to 5."""
    clock_skew_s: Floats
    is_sent: Flags


class Sensors:
    """The sensors of n vehicles."""

    def __init__(self, random: VehicleRandomness, city: City) -> None:
        self._random, self._city = random, city
        self._is_coarse = random.uniforms(b"coarse", 1)[0] < COARSE_SHARE
        self._noise = np.where(self._is_coarse, _COARSE_NOISE[:, None], _NOISE[:, None])
        start = random.normals(b"sensors0", 3, np.zeros(1, np.uint64))
        self._gps_m, self._slosh_pct = GPS_M * start[:2], _SLOSH_PCT * start[2]
        self._last = np.full((_READINGS, random.count), np.nan)  # the last known of each, to be stuck at

    def read(self, truth: Truth, schedule: FaultSchedule, now_s: float, dt_s: float, event: Words) -> Readings:
        """Read all sensors, `dt_s` after the reading before; `event` uint64[1] numbers the readings."""
        normal = self._random.normals(b"sensors", 7, event)
        uniform = self._random.uniforms(b"glitch", 4, event)
        self._drift(normal[4:], truth.speed_mps, dt_s)
        values = np.empty((_READINGS, len(truth.speed_mps)))
        values[:_LEVELS] = self._levels(truth, schedule, normal[:4], uniform[0])
        values[LATITUDE], values[LONGITUDE] = self._position(truth, schedule, now_s, uniform[1])
        values[LIMIT], values[TRAFFIC] = truth.limit_kmh, truth.traffic
        self._freeze(values, schedule)
        self._last = np.where(np.isnan(values), self._last, values)
        self._leave_out(values, truth.in_tunnel, schedule, uniform[2])
        return Readings(values, _skew_s(schedule), _is_sent(schedule, now_s, dt_s, uniform[3]))

    def _drift(self, normal: Floats, speed_mps: Floats, dt_s: float) -> None:
        memory, slosh_memory = GPS_MEMORY_PER_S**dt_s, _SLOSH_MEMORY_PER_S**dt_s
        self._gps_m = memory * self._gps_m + np.sqrt(1 - memory**2) * GPS_M * normal[:2]
        moves = np.minimum(speed_mps / 5.0, 1.0)
        self._slosh_pct = slosh_memory * self._slosh_pct + np.sqrt(1 - slosh_memory**2) * _SLOSH_PCT * moves * normal[2]

    def _levels(self, truth: Truth, schedule: FaultSchedule, normal: Floats, spiked: Floats) -> Floats:
        """Speed, temperature, battery and fuel, float64[4, n]."""
        spikes = np.flatnonzero(spiked < SPIKE_SHARE)
        if len(spikes):
            signal = (spiked[spikes] / SPIKE_SHARE * _LEVELS).astype(np.intp)
            normal[signal, spikes] *= _SPIKE
        noise = self._noise * normal
        noise[SPEED] *= truth.speed_mps > _MOVES_MPS  # a wheel that stands is read exactly
        fuel_pct = truth.fuel_pct + self._slosh_pct
        levels = np.stack([truth.speed_mps * 3.6, truth.temperature_c, truth.battery_pct, fuel_pct]) + noise
        biased = np.flatnonzero(schedule.acts(faults.SENSOR_BIAS))
        levels[schedule.signal[biased], biased] += schedule.size[biased]
        levels[[SPEED, BATTERY, FUEL_LEVEL]] = np.maximum(levels[[SPEED, BATTERY, FUEL_LEVEL]], 0.0)
        levels[[BATTERY, FUEL_LEVEL]] = np.minimum(levels[[BATTERY, FUEL_LEVEL]], 100.0)
        steps = _COARSE_STEP[:, None]
        return np.where(self._is_coarse, np.round(levels / steps) * steps, levels)

    def _position(self, truth: Truth, schedule: FaultSchedule, now_s: float, repeated: Floats) -> tuple[Floats, Floats]:
        off_m = self._gps_m.copy()
        wrong = np.flatnonzero(schedule.acts(faults.GPS_JUMP) | schedule.acts(faults.GPS_SPOOF))
        if len(wrong):
            grown_m = schedule.rate[wrong] * (now_s - schedule.begun_s[wrong])
            far_m = np.where(schedule.kind[wrong] == faults.GPS_SPOOF, grown_m, schedule.size[wrong])
            off_m[0, wrong] += far_m * np.cos(schedule.angle[wrong])
            off_m[1, wrong] += far_m * np.sin(schedule.angle[wrong])
        latitude, longitude = self._city.to_degrees(truth.east_m + off_m[0], truth.north_m + off_m[1])
        again = np.flatnonzero((repeated < REPEATED_FIX_SHARE) & ~schedule.is_busy() & ~np.isnan(self._last[LATITUDE]))
        degrees = np.stack([latitude, longitude])
        degrees = np.where(self._is_coarse, np.round(degrees / _COARSE_DEGREES) * _COARSE_DEGREES, degrees)
        degrees[:, again] = self._last[LATITUDE : LONGITUDE + 1, again]
        return degrees[0], degrees[1]

    def _freeze(self, values: Floats, schedule: FaultSchedule) -> None:
        stuck = np.flatnonzero(schedule.acts(faults.STUCK_SENSOR))
        signal = schedule.signal[stuck]
        for who, reading in ((stuck, signal), (stuck[signal == faults.POSITION], LONGITUDE)):
            held = self._last[reading, who]
            values[reading, who] = np.where(np.isnan(held), values[reading, who], held)

    def _leave_out(self, values: Floats, in_tunnel: Flags, schedule: FaultSchedule, empty: Floats) -> None:
        values[LATITUDE : LONGITUDE + 1, in_tunnel] = np.nan
        dropped = np.flatnonzero(schedule.acts(faults.DROP_OUT))
        values[schedule.signal[dropped], dropped] = np.nan
        nulls = np.flatnonzero(empty < NULL_SHARE)
        chosen = (empty[nulls] / NULL_SHARE * len(_NULL_FIELDS)).astype(np.intp)
        for who, field in zip(nulls.tolist(), chosen.tolist(), strict=True):
            values[list(_NULL_FIELDS[field]), who] = np.nan


def _skew_s(schedule: FaultSchedule) -> Floats:
    return np.where(schedule.acts(faults.CLOCK_SKEW), schedule.size, 0.0)


def _is_sent(schedule: FaultSchedule, now_s: float, dt_s: float, u: Floats) -> Flags:
    """Lose a message now and then, and most of them in a fault: surely the first, and surely not the last.

    So every such fault is a gap that ends inside its label.
    """
    is_sent: Flags = u >= LOST_SHARE
    lossy = np.flatnonzero(schedule.acts(faults.MESSAGE_LOSS))
    is_first = now_s - schedule.begun_s[lossy] < 1.5 * dt_s
    is_last = now_s + 0.5 * dt_s >= schedule.until_s[lossy]
    is_sent[lossy] = is_last | (~is_first & (u[lossy] >= schedule.size[lossy]))
    return is_sent
