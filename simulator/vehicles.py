"""Vehicles that drive about a city, vectorised: each step advances all of them and reads their sensors.

`simulator.city` is the world, `simulator.publisher` sends what `SimulatedFleet.step` returns. Everything random is a
hash of (seed, vehicle index, occasion), so a vehicle does the same whatever range of the fleet a process owns.

Kinematics: the speed follows a target (limit, driver, traffic, weather, next turn or red light) with bounded
acceleration; the position moves along the road by the mean speed of the step. Thermics: first order towards the
thermostat's plateau. The battery is the starter's: the alternator keeps it up, standing draws it down a little. Fuel
falls with use and is filled up at a stop. Three faults develop, hold and end continuously inside their labelled
stretch.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from simulator.city import HIGHWAY, ROAD_TYPES, RURAL, URBAN, WEATHERS, City

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]
Words: TypeAlias = npt.NDArray[np.uint64]

FAULTS: Final = ("overspeed", "engine_overheat", "battery_low")
OVERSPEED, OVERHEAT, BATTERY_LOW = range(3)
# A vehicle's time is cut into cycles; in some of them one fault stretch happens.
FAULT_CYCLE_S: Final = 240.0
FAULT_LASTS_S: Final = (60.0, 180.0)
HIGHEST_FAULT_RATE: Final = sum(FAULT_LASTS_S) / 2 / FAULT_CYCLE_S
LONGEST_SUBSTEP_S: Final = 1.0
HARDEST_BRAKING_KMH_S: Final = 14.0
HARDEST_ACCELERATION_KMH_S: Final = 9.0

_STANDING_DRAWS_PCT, _BATTERY_SETTLES_S = 6.0, 600.0
_FAULT_RAMP = 0.15  # share of a stretch in which the fault develops, and in which it recedes
_MPS = 1 / 3.6
_COMFORTABLE_BRAKING_MPS2 = 2.0
_PLANNED_STOP_M = 6.0
_TRAFFIC_FACTOR = np.array([1.0, 1.0, 0.93, 0.8, 0.6, 0.4])  # by traffic level; level 0 does not occur
_WEATHER_FACTOR = np.array([1.0, 0.9, 0.82, 0.75])
_TRAFFIC_LASTS_S = 150.0
_START_SHARES = {URBAN: 0.55, HIGHWAY: 0.25, RURAL: 0.2}
_GPS_M, _GPS_MEMORY = 1.5, 0.97  # AR(1): real receivers drift, they do not jump about
_ROAD_NAMES = np.array(ROAD_TYPES, object)
_FAULT_NAMES = np.array([*FAULTS, None], object)


class FleetState(TypedDict):
    """One event of every vehicle, columns named as the fields of the telemetry JSON; all of length n."""

    vehicleId: list[str]
    timestamp: Floats
    latitude: Floats
    longitude: Floats
    speed: Floats
    previousSpeed: Floats
    acceleration: Floats
    temperature: Floats
    battery: Floats
    fuelLevel: Floats
    speedLimit: Floats
    trafficLevel: npt.NDArray[np.int64]
    weather: list[str]
    roadType: list[str]
    night: Flags
    anomaly: Flags
    anomalyType: list[str | None]


@dataclass(frozen=True, slots=True)
class _Characters:
    """What differs from vehicle to vehicle and does not change; float64[n] each."""

    driver: Floats  # share of the limit that is driven on a free road
    accelerates_mps2: Floats
    wander_phase: Floats
    plateau_c: Floats
    warm_up_s: Floats
    battery_pct: Floats  # what the alternator charges it to
    fuel_per_s: Floats
    refuels_below_pct: Floats
    fault_phase_s: Floats


@dataclass(frozen=True, slots=True)
class _Fault:
    """Which fault each vehicle is in: kind int[n] (3 = none), how developed it is and its severity, float64[n]."""

    kind: Indices
    developed: Floats
    strength: Floats

    def of(self, kind: int) -> Floats:
        """How far a fault of this kind has developed, 0 to 1."""
        return np.where(self.kind == kind, self.developed, 0.0)


class SimulatedFleet:
    """Vehicles `first` to `first + count - 1` of the fleet that `seed` describes, in one city."""

    def __init__(
        self,
        seed: int,
        first: int,
        count: int,
        city: City,
        fault_rate: float = 0.02,
        start_s: float = 0.0,
    ) -> None:
        """Place the vehicles. `fault_rate` is the share of a vehicle's time that is faulty, `start_s` Unix time."""
        if not 0 <= fault_rate <= HIGHEST_FAULT_RATE:
            message = f"fault_rate must be from 0 to {HIGHEST_FAULT_RATE}, but it is {fault_rate}."
            raise ValueError(message)
        if first < 0 or count < 1:
            message = f"A fleet needs first >= 0 and count >= 1, but they are {first} and {count}."
            raise ValueError(message)
        self.city = city
        self.time_s = start_s
        self.vehicle_ids = [f"V{index:06d}" for index in range(first, first + count)]
        self._fault_rate = fault_rate
        self._tick = 0
        index = np.arange(first, first + count, dtype=np.uint64)
        self._key = _mixed(index * _ODD + _mixed(np.array([seed & 0xFFFF_FFFF_FFFF_FFFF], np.uint64)))
        self._characters = self._draw_characters()
        self._place()

    def step(self, dt_s: float) -> FleetState:
        """Advance by `dt_s` seconds (more than 0) and return the event of every vehicle at the new time."""
        if not 0 < dt_s <= 3600:
            message = f"A step must be longer than 0 s and at most 3600 s, but it is {dt_s} s."
            raise ValueError(message)
        parts = int(np.ceil(dt_s / LONGEST_SUBSTEP_S))
        for _ in range(parts):
            fault = self._advance(dt_s / parts)
        return self._read_sensors(fault)

    def _draw_characters(self) -> _Characters:
        u = self._uniforms(b"traits", 9)
        return _Characters(
            driver=0.8 + 0.26 * u[0],  # many drive a little above the limit
            accelerates_mps2=1.0 + 1.3 * u[1],
            wander_phase=2 * np.pi * u[2],
            plateau_c=85.0 + 11.0 * u[3],  # recorded engines run at 85 to 99 °C
            warm_up_s=150.0 + 200.0 * u[4],
            battery_pct=70.0 + 28.0 * u[5],
            fuel_per_s=0.001 + 0.003 * u[6],
            refuels_below_pct=8.0 + 14.0 * u[7],
            fault_phase_s=FAULT_CYCLE_S * u[8],
        )

    def _place(self) -> None:
        city, character = self.city, self._characters
        u = self._uniforms(b"place", 8)
        count = len(self._key)
        self._road = self._start_roads(u[0])
        self._along_m = u[1] * city.length_m[self._road]
        self._crossings = np.zeros(count, np.uint64)
        self._slot = np.zeros(count, np.intp)  # which successor of its road comes next
        self._stops_ahead = np.zeros(count, bool)
        self._plan(np.arange(count), np.zeros(count, bool))
        self._waits_s = np.zeros(count)
        self._speed_mps = u[2] * 0.6 * city.limit_kmh[self._road] * _MPS
        cold = u[3] < 0.15
        self._temperature_c = np.where(cold, 12.0 + 40.0 * u[4], character.plateau_c)
        self._battery_pct = character.battery_pct - _STANDING_DRAWS_PCT * u[5]
        self._fuel_pct = character.refuels_below_pct + (100.0 - character.refuels_below_pct) * u[6]
        self._refuelling = np.zeros(count, bool)
        self._gps_m = _GPS_M * self._normals(b"gps 0", 2)
        self._reported_kmh = self._speed_mps * 3.6

    def _start_roads(self, u: Floats) -> Indices:
        weight = np.zeros(len(self.city.length_m))
        for road_type, share in _START_SHARES.items():
            lengths = np.where(self.city.road_type == road_type, self.city.length_m, 0.0)
            weight += share * lengths / lengths.sum()
        cumulated = np.cumsum(weight)
        roads: Indices = np.searchsorted(cumulated, u * cumulated[-1], side="right")
        return np.minimum(roads, len(weight) - 1)

    def _advance(self, dt_s: float) -> _Fault:
        self._tick += 1
        self.time_s += dt_s
        fault = self._fault()
        self._traffic = self._traffic_levels()
        self._weather = self.city.weather(self.time_s)
        self._drive(dt_s, fault)
        self._consume(dt_s, fault)
        self._gps_m = _GPS_MEMORY * self._gps_m + np.sqrt(1 - _GPS_MEMORY**2) * _GPS_M * self._normals(b"gps", 2)
        return fault

    def _fault(self) -> _Fault:
        """Say which fault stretch each vehicle is in and how far it has developed.

        Inside a stretch the fault develops over its first part, holds, and recedes over its last part.
        """
        count = len(self._key)
        if self._fault_rate == 0:
            return _Fault(np.full(count, len(FAULTS)), np.zeros(count), np.zeros(count))
        place_s = self.time_s + self._characters.fault_phase_s
        cycle = np.floor(place_s / FAULT_CYCLE_S)
        u = self._uniforms(b"fault", 5, cycle.astype(np.int64).astype(np.uint64))
        lasts_s = FAULT_LASTS_S[0] + (FAULT_LASTS_S[1] - FAULT_LASTS_S[0]) * u[1]
        since_s = place_s - cycle * FAULT_CYCLE_S - u[2] * (FAULT_CYCLE_S - lasts_s)
        inside = (u[0] < self._fault_rate / HIGHEST_FAULT_RATE) & (since_s >= 0) & (since_s < lasts_s)
        ramp = np.clip(np.minimum(since_s, lasts_s - since_s) / (_FAULT_RAMP * lasts_s), 0.0, 1.0)
        kind = np.where(inside, (u[3] * len(FAULTS)).astype(np.intp), len(FAULTS))
        return _Fault(kind, np.where(inside, ramp * ramp * (3 - 2 * ramp), 0.0), u[4])

    def _traffic_levels(self) -> npt.NDArray[np.int64]:
        """Traffic 1 to 5: by the hour, denser in the city, different for every vehicle, steady for minutes."""
        hour = self.city.local_hour(self.time_s)
        rush = np.exp(-(((hour - 8.5) / 1.5) ** 2)) + np.exp(-(((hour - 18.5) / 2.0) ** 2))
        period = self.time_s / _TRAFFIC_LASTS_S + self._characters.fault_phase_s
        u = self._uniforms(b"traffic", 1, np.floor(period).astype(np.uint64))[0]
        town = np.where(self.city.road_type[self._road] == URBAN, 0.6, 0.0)
        level: Floats = np.floor(1.0 + 3.2 * u**1.5 + town + 1.2 * rush)
        return np.clip(level, 1, 5).astype(np.int64)

    def _drive(self, dt_s: float, fault: _Fault) -> None:
        city, speed = self.city, self._speed_mps
        overspeed = fault.of(OVERSPEED)
        held = self._is_held(dt_s, overspeed > 0)
        target = np.where(held, 0.0, self._target_mps(overspeed, fault.strength))
        # A second and a half is how soon a driver means to have reached the speed in mind.
        wanted = (target - speed) / 1.5
        acceleration = np.clip(wanted, -HARDEST_BRAKING_KMH_S * _MPS, self._characters.accelerates_mps2)
        self._speed_mps = np.maximum(0.0, speed + acceleration * dt_s)
        self._along_m = self._along_m + (speed + self._speed_mps) / 2 * dt_s
        while len(beyond := np.flatnonzero(self._along_m >= city.length_m[self._road])):
            self._along_m[beyond] -= city.length_m[self._road[beyond]]
            self._road[beyond] = city.successors[self._road[beyond], self._slot[beyond]]
            self._plan(beyond, overspeed[beyond] > 0)

    def _target_mps(self, overspeed: Floats, strength: Floats) -> Floats:
        """Return the speed a driver has in mind: free-road speed, or less to make the next turn, limit or red light."""
        city, character = self.city, self._characters
        following = city.successors[self._road, self._slot]
        wander = 1 + 0.02 * np.sin(self.time_s / 17.0 + character.wander_phase)
        habit = character.driver * wander * _TRAFFIC_FACTOR[self._traffic] * _WEATHER_FACTOR[self._weather]
        share = habit + overspeed * (1.35 + 0.4 * strength - habit)
        # Planned a second ahead: a speed that follows its target late would otherwise arrive too fast.
        left_m = city.length_m[self._road] - self._along_m - self._speed_mps * 1.0
        reach_m = np.maximum(left_m - _PLANNED_STOP_M / 2, 0.0)
        turn_kmh = city.turn_kmh[self._road, self._slot] * (1 + 0.6 * overspeed)
        at_end = np.minimum(turn_kmh, share * city.limit_kmh[following]) * _MPS
        at_end = np.where(self._stops_ahead & (overspeed == 0), 0.0, at_end)
        braking = np.sqrt(at_end**2 + 2 * _COMFORTABLE_BRAKING_MPS2 * reach_m)
        target: Floats = np.minimum(share * city.limit_kmh[self._road] * _MPS, braking)
        return target

    def _is_held(self, dt_s: float, hurried: Flags) -> Flags:
        """Say who stands or pulls up: at a red light or at a filling station."""
        self._waits_s = np.maximum(self._waits_s - dt_s, 0.0)
        near = self.city.length_m[self._road] - self._along_m < _PLANNED_STOP_M
        arriving = np.flatnonzero(self._stops_ahead & near & ~hurried)
        if len(arriving):
            self._waits_s[arriving] = 3.0 + 27.0 * self._uniforms(b"light", 1, self._crossings)[0, arriving]
            self._stops_ahead[arriving] = False
        return ((self._waits_s > 0) | self._refuelling) & ~hurried

    def _plan(self, who: Indices, straight_on: Flags) -> None:
        """Choose, at the start of a road, what follows it and whether the light at its end is red."""
        self._crossings[who] += np.uint64(1)
        u = self._uniforms(b"plan", 3, self._crossings, who)
        city, road = self.city, self._road[who]
        others = np.maximum(city.successor_count[road] - 1, 1)
        turn = np.minimum(1 + (u[1] * others).astype(np.intp), city.successor_count[road] - 1)
        self._slot[who] = np.where((u[0] < 0.65) | straight_on, 0, turn)
        is_crossing = city.successor_count[road] > 1
        self._stops_ahead[who] = (u[2] < 0.2) & is_crossing & (city.road_type[road] == URBAN)

    def _consume(self, dt_s: float, fault: _Fault) -> None:
        character = self._characters
        load = self._speed_mps / 30.0
        settled_c = character.plateau_c + 1.5 * load
        self._temperature_c += (settled_c - self._temperature_c) * -np.expm1(-dt_s / character.warm_up_s)
        stands = self._speed_mps < 0.3
        settled_pct = character.battery_pct - np.where(stands, _STANDING_DRAWS_PCT, 0.0)
        self._battery_pct += (settled_pct - self._battery_pct) * -np.expm1(-dt_s / _BATTERY_SETTLES_S)
        self._refuelling = self._goes_on_refuelling(fault)
        fuel = np.where(self._refuelling & stands, 0.9, -character.fuel_per_s * (0.15 + load))
        self._fuel_pct = np.clip(self._fuel_pct + fuel * dt_s, 0.0, 100.0)

    def _goes_on_refuelling(self, fault: _Fault) -> Flags:
        """Say who stands at a pump: until it is full, or until a driver in a hurry leaves."""
        goes_on = self._refuelling & (self._fuel_pct < 97.0) & (fault.kind != OVERSPEED)
        begins = (self._fuel_pct < self._characters.refuels_below_pct) & (fault.kind == len(FAULTS))
        refuelling: Flags = goes_on | begins
        return refuelling

    def _read_sensors(self, fault: _Fault) -> FleetState:
        city, count = self.city, len(self._key)
        noise = self._normals(b"sensors", 4)
        hot, low = fault.of(OVERHEAT), fault.of(BATTERY_LOW)
        temperature = self._temperature_c + hot * (108.0 + 14.0 * fault.strength - self._temperature_c)
        battery = self._battery_pct + low * (4.0 + 8.0 * fault.strength - self._battery_pct)
        moving = self._speed_mps > 0.1  # a wheel that stands is read exactly
        speed_kmh = np.maximum(self._speed_mps * 3.6 + 0.25 * noise[0] * moving, 0.0)
        previous_kmh, self._reported_kmh = self._reported_kmh, speed_kmh
        position_m = city.start_m[self._road] + city.direction[self._road] * self._along_m[:, None]
        latitude, longitude = city.to_degrees(position_m[:, 0] + self._gps_m[0], position_m[:, 1] + self._gps_m[1])
        return FleetState(
            vehicleId=self.vehicle_ids,
            timestamp=np.full(count, self.time_s),
            latitude=latitude,
            longitude=longitude,
            speed=speed_kmh,
            previousSpeed=previous_kmh,
            acceleration=speed_kmh - previous_kmh,
            temperature=temperature + 0.2 * noise[1],
            battery=np.clip(battery + 0.05 * noise[2], 0.0, 100.0),
            fuelLevel=np.clip(self._fuel_pct + 0.08 * noise[3], 0.0, 100.0),
            speedLimit=city.limit_kmh[self._road],
            trafficLevel=self._traffic,
            weather=[WEATHERS[self._weather]] * count,
            roadType=_ROAD_NAMES[city.road_type[self._road]].tolist(),
            night=np.full(count, city.is_night(self.time_s)),
            anomaly=fault.kind < len(FAULTS),
            anomalyType=_FAULT_NAMES[fault.kind].tolist(),
        )

    def _uniforms(self, purpose: bytes, rows: int, occasion: Words | None = None, who: Indices | None = None) -> Floats:
        """Draw float64[rows, n] in [0, 1): the same for the same seed, vehicle, purpose and occasion."""
        key = self._key if occasion is None else self._key ^ _mixed(occasion)
        words = _hashed(key if who is None else key[who], purpose, rows)
        uniforms: Floats = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return uniforms

    def _normals(self, purpose: bytes, rows: int) -> Floats:
        """Draw float64[rows, n], nearly normal and within ±3.5: sums of four 16-bit uniforms (Irwin-Hall)."""
        words = _hashed(self._key ^ _mixed(np.array([self._tick], np.uint64)), purpose, rows)
        sums = words.view(np.uint16).reshape(*words.shape, 4).sum(axis=2, dtype=np.float64)
        normals: Floats = (sums - 2 * 65_535) * (3.0**0.5 / 65_536)
        return normals


_ODD = np.uint64(0x9E37_79B9_7F4A_7C15)


def _hashed(key: Words, purpose: bytes, rows: int) -> Words:
    salt = np.uint64(int.from_bytes(purpose.ljust(8), "little"))  # purposes have at most 8 letters
    streams = _mixed(np.arange(1, rows + 1, dtype=np.uint64) * _ODD + salt)
    return _mixed(key[None, :] + streams[:, None])


def _mixed(words: Words) -> Words:
    """Scramble 64-bit words (the finaliser of SplitMix64: Steele, Lea, Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return words ^ (words >> np.uint64(31))
