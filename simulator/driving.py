"""Drivers: they follow a limit, turns, red lights and a leader through the city, within what the vehicle can do.

`simulator.vehicles` advances them with `Orders` from the faults and occasions; `engine` and `electrics` work for what
they do; `sensors` reads where they are. Free driving and following are the Intelligent Driver Model (Treiber,
Hennecke, Helbing, Phys. Rev. E 62, 2000); slowing for a turn, a lower limit or a light is constant deceleration that
begins when the comfortable one would no longer do.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.city import URBAN, City
from simulator.randomness import Flags, Floats, Indices, VehicleRandomness, Words
from simulator.traffic import Traffic

HARDEST_BRAKING_MPS2: Final = 3.5
HARDEST_ACCELERATION_MPS2: Final = 2.5
LONGEST_STEP_S: Final = 0.5
STANDS_MPS: Final = 0.05

_GRAVITY_MPS2 = 9.81
_AIR_KG_M3 = 1.2
_COMFORTABLE_BRAKING_MPS2 = 2.0
_HURRIED_MPS2, _SOBERED_MPS2 = 2.2, 3.0
_PULLING_OVER_MPS2 = 1.8
_HELD_MPS2 = 2.5
_JERK_UP_MPS3, _JERK_DOWN_MPS3 = 3.0, 6.0
_HEADWAY_S, _STANDING_GAP_M = 1.4, 2.0
_STOP_LINE_M, _AT_LIGHT_M = 4.0, 9.0
_STRAIGHT_ON_SHARE = np.array([0.9, 0.65, 0.8])  # by road type
_TRAFFIC_FACTOR = np.array([1.0, 1.0, 0.95, 0.88, 0.75, 0.6])  # by traffic level; level 0 does not occur
_WEATHER_FACTOR = np.array([1.0, 0.92, 0.84, 0.78])


@dataclass(frozen=True, slots=True)
class Orders:
    """What faults and occasions make of drivers; all of length n."""

    overspeed: Floats
    """Times the limit that is driven; 0 = as usual."""
    brakes_mps2: Floats
    """Deceleration of a harsh braking; 0 = as usual."""
    stands: Flags
    """Pulls over and stands."""
    keeps_moving: Flags
    """Meets no red light."""


class Driving:
    """Where n vehicles are and how fast; all arrays are of length n."""

    def __init__(self, city: City, random: VehicleRandomness, now_s: float) -> None:
        self._city, self._random = city, random
        self.traffic = Traffic(random, city, now_s)
        self._draw_characters()
        u = random.uniforms(b"place", 3)
        self.road = self._start_roads(u[0])
        self.along_m = u[1] * city.length_m[self.road]
        self._crossings: Words = np.zeros(random.count, np.uint64)
        self._slot = np.zeros(random.count, np.intp)  # which successor of its road comes next
        self._stops_ahead = np.zeros(random.count, bool)
        self._waits_s = np.zeros(random.count)
        self._plan(np.arange(random.count), np.zeros(random.count, bool), np.zeros(random.count, bool))
        self.limit_mps = city.limit_kmh[self.road] / 3.6
        self.speed_mps = 0.6 * u[2] * self.limit_mps
        self.acceleration_mps2 = np.zeros(random.count)
        self.stood_s = np.zeros(random.count)

    def _draw_characters(self) -> None:
        u = self._random.uniforms(b"driver", 9)
        self._habit = 0.8 + 0.26 * u[0]  # share of the limit on a free road: many drive a little above it
        self._eager_mps2 = 1.0 + 1.0 * u[1]
        self._wander_phase = 2 * np.pi * u[2]
        self.mass_kg = 1100.0 + 2400.0 * u[3] ** 2
        self._drag_kg_m = 0.5 * _AIR_KG_M3 * (0.55 + 0.8 * u[4] * u[3])
        self._rolling_mps2 = _GRAVITY_MPS2 * (0.009 + 0.005 * u[5])
        self.power_w = 80e3 + 70e3 * u[6]

    def _start_roads(self, u: Floats) -> Indices:
        weight = np.zeros(len(self._city.length_m))
        for road_type, share in enumerate(self._city.style.start_shares):
            lengths = np.where(self._city.road_type == road_type, self._city.length_m, 0.0)
            weight += share * lengths / lengths.sum()
        cumulated = np.cumsum(weight)
        roads: Indices = np.searchsorted(cumulated, u * cumulated[-1], side="right")
        return np.minimum(roads, len(weight) - 1)

    def clear_m(self) -> Floats:
        """How far each vehicle can go straight on under one limit."""
        clear: Floats = self._city.clear_run_m[self.road] - self.along_m
        return clear

    def place_m(self) -> tuple[Floats, Floats]:
        """Where the vehicles are, metres east and north of the centre."""
        place_m = self._city.start_m[self.road] + self._city.direction[self.road] * self.along_m[:, None]
        return place_m[:, 0], place_m[:, 1]

    def resistance_mps2(self) -> Floats:
        """Deceleration by drag, rolling and the road's grade."""
        drag_mps2 = self._drag_kg_m * self.speed_mps**2 / self.mass_kg
        resistance: Floats = drag_mps2 + self._rolling_mps2 + _GRAVITY_MPS2 * self._city.grade[self.road]
        return resistance

    def spare_mps2(self, speed_mps: Floats) -> Floats:
        """Acceleration that the engine could still give at another speed, on the road where the vehicles are."""
        speed_mps = np.maximum(speed_mps, 1.0)
        drag_mps2 = self._drag_kg_m * speed_mps**2 / self.mass_kg
        slope_mps2 = self._rolling_mps2 + _GRAVITY_MPS2 * self._city.grade[self.road]
        spare: Floats = self.power_w / (self.mass_kg * speed_mps) - drag_mps2 - slope_mps2
        return spare

    def wheel_power_w(self) -> Floats:
        """Power that the engine gives the wheels; braking and rolling downhill give none back."""
        force_n = self.mass_kg * (self.acceleration_mps2 + self.resistance_mps2())
        power: Floats = np.maximum(force_n * self.speed_mps, 0.0)
        return power

    def advance(self, dt_s: float, now_s: float, weather: int, orders: Orders) -> None:
        """Drive for `dt_s` from `now_s`."""
        hurried = orders.overspeed > 0
        self.traffic.advance(now_s, self.road, self.limit_mps, self.speed_mps)
        self._slot[hurried] = 0
        self._stops_ahead &= ~(hurried | orders.keeps_moving)
        wander = 1 + 0.02 * np.sin(now_s / 17.0 + self._wander_phase)
        share = self._habit * wander * _TRAFFIC_FACTOR[self.traffic.level] * _WEATHER_FACTOR[weather]
        share = np.where(hurried, orders.overspeed * wander, share)
        parts = int(np.ceil(dt_s / LONGEST_STEP_S))
        for _ in range(parts):
            self._move(dt_s / parts, share, hurried, orders)

    def _move(self, dt_s: float, share: Floats, hurried: Flags, orders: Orders) -> None:
        stops = orders.stands | self._is_held(dt_s, hurried | orders.keeps_moving)
        wanted = self._wanted_mps2(share, hurried)
        wanted = np.where(stops, np.minimum(wanted, np.where(orders.stands, -_PULLING_OVER_MPS2, -_HELD_MPS2)), wanted)
        before = self.speed_mps
        acceleration = self._possible_mps2(wanted, dt_s)
        acceleration = np.where(orders.brakes_mps2 > 0, -orders.brakes_mps2, acceleration)
        self.speed_mps = np.maximum(0.0, before + acceleration * dt_s)
        self.acceleration_mps2 = (self.speed_mps - before) / dt_s
        self.stood_s = np.where(self.speed_mps < STANDS_MPS, self.stood_s + dt_s, 0.0)
        self.traffic.move_leaders(dt_s, self.limit_mps, self.speed_mps)
        self.along_m = self.along_m + (before + self.speed_mps) / 2 * dt_s
        self._cross(hurried, hurried | orders.keeps_moving)

    def _wanted_mps2(self, share: Floats, hurried: Flags) -> Floats:
        """Acceleration of a free road, or less for a leader or for what comes at the road's end."""
        speed = self.speed_mps
        free = self._free_mps2(share * self.limit_mps, hurried)
        following = self._following_mps2()
        wanted: Floats = np.where(hurried, free, np.minimum(np.minimum(free, following), self._approaching_mps2(share)))
        return np.where(speed <= 0, np.maximum(wanted, 0.0), wanted)

    def _free_mps2(self, aim_mps: Floats, hurried: Flags) -> Floats:
        ratio = self.speed_mps / np.maximum(aim_mps, 1.0)
        square = ratio * ratio
        # Above the speed in mind the model would brake ever harder; a driver lets the vehicle slow down.
        slowing = np.maximum((aim_mps - self.speed_mps) / 2.0, -_SOBERED_MPS2)
        free: Floats = np.where(ratio > 1, slowing, self._eager_mps2 * (1 - square * square))
        return np.where(hurried, np.clip(aim_mps - self.speed_mps, -_SOBERED_MPS2, _HURRIED_MPS2), free)

    def _following_mps2(self) -> Floats:
        speed, eager = self.speed_mps, self._eager_mps2
        nearing = speed * (speed - self.traffic.leader_mps) / (2 * np.sqrt(eager * _COMFORTABLE_BRAKING_MPS2))
        desired_m = _STANDING_GAP_M + np.maximum(speed * _HEADWAY_S + nearing, 0.0)
        ratio = desired_m / self.traffic.gap_m
        following: Floats = eager * (1 - ratio * ratio)
        return following

    def _approaching_mps2(self, share: Floats) -> Floats:
        """Deceleration for the next turn, limit or red light; plus infinity while it is far."""
        city = self._city
        following = city.successors[self.road, self._slot]
        next_mps = np.minimum(city.turn_kmh[self.road, self._slot], share * city.limit_kmh[following]) / 3.6
        left_m = city.length_m[self.road] - self.along_m
        next_mps = np.where(self._stops_ahead, 0.0, next_mps)
        left_m = np.where(self._stops_ahead, left_m - _STOP_LINE_M, left_m)
        # Planned half a step ahead, or every one would arrive a little too fast.
        left_m = left_m - self.speed_mps * LONGEST_STEP_S / 2
        needed = (self.speed_mps**2 - next_mps**2) / (2 * np.maximum(left_m, 0.5))
        approaching: Floats = np.where(needed > 0.85 * _COMFORTABLE_BRAKING_MPS2, -needed, np.inf)
        return approaching

    def _possible_mps2(self, wanted: Floats, dt_s: float) -> Floats:
        """Limit what is wanted to what foot and engine do."""
        pull = self.power_w / (self.mass_kg * np.maximum(self.speed_mps, 4.0)) - self.resistance_mps2()
        wanted = np.minimum(wanted, np.minimum(pull, HARDEST_ACCELERATION_MPS2))
        now = np.maximum(self.acceleration_mps2, -HARDEST_BRAKING_MPS2)
        smooth = np.clip(wanted, now - _JERK_DOWN_MPS3 * dt_s, np.maximum(now, 0.0) + _JERK_UP_MPS3 * dt_s)
        possible: Floats = np.maximum(smooth, -HARDEST_BRAKING_MPS2)
        return possible

    def _is_held(self, dt_s: float, keeps_moving: Flags) -> Flags:
        """Say who stands or pulls up at a red light."""
        self._waits_s = np.maximum(self._waits_s - dt_s, 0.0)
        self._waits_s[keeps_moving] = 0.0
        near = self._city.length_m[self.road] - self.along_m < _AT_LIGHT_M
        arriving = np.flatnonzero(self._stops_ahead & near & (self.speed_mps < 4.0))
        if len(arriving):
            self._waits_s[arriving] = 3.0 + 30.0 * self._random.uniforms(b"light", 1, self._crossings, arriving)[0]
            self._stops_ahead[arriving] = False
        held: Flags = (self._waits_s > 0) & ~keeps_moving
        return held

    def _cross(self, hurried: Flags, keeps_moving: Flags) -> None:
        """Bring those who reached a road's end onto the next one."""
        city = self._city
        while len(beyond := np.flatnonzero(self.along_m >= city.length_m[self.road])):
            self.along_m[beyond] -= city.length_m[self.road[beyond]]
            self.road[beyond] = city.successors[self.road[beyond], self._slot[beyond]]
            self._plan(beyond, hurried[beyond], keeps_moving[beyond])
            self.limit_mps = city.limit_kmh[self.road] / 3.6

    def _plan(self, who: Indices, straight_on: Flags, keeps_moving: Flags) -> None:
        """Choose, at the start of a road, what follows it and whether the light at its end is red."""
        self._crossings[who] += np.uint64(1)
        u = self._random.uniforms(b"plan", 3, self._crossings, who)
        city, road = self._city, self.road[who]
        others = np.maximum(city.successor_count[road] - 1, 1)
        turn = np.minimum(1 + (u[1] * others).astype(np.intp), city.successor_count[road] - 1)
        self._slot[who] = np.where((u[0] < _STRAIGHT_ON_SHARE[city.road_type[road]]) | straight_on, 0, turn)
        is_crossing = (city.successor_count[road] > 1) & (city.road_type[road] == URBAN)
        self._stops_ahead[who] = (u[2] < city.style.red_light_share) & is_crossing & ~keeps_moving
