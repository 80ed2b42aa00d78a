"""Vehicles that drive about a city, with sensors and faults: each step advances all of them and reads their sensors.

`simulator.city` is the world, `faults` and `occasions` say what happens to whom, `driving`, `engine` and `electrics`
are the physics, `sensors` reads them; `simulator.publisher` sends what `SimulatedFleet.step` returns. Everything
random is a hash of (seed, vehicle index, occasion), so a vehicle does the same whatever range of the fleet a process
owns.
"""

from collections.abc import Sequence
from typing import Final, TypedDict

import numpy as np

from simulator import faults, occasions, sensors
from simulator.city import ROAD_TYPES, WEATHERS, City
from simulator.driving import Driving, Orders
from simulator.electrics import BatteryFaults, Electrics, Surroundings
from simulator.engine import Engine, EngineFaults
from simulator.faults import FAULTS, HIGHEST_FAULT_RATE, FaultSchedule, FaultStretch, Scene
from simulator.occasions import Occasions
from simulator.randomness import Flags, Floats, VehicleRandomness
from simulator.sensors import Readings, Sensors, Truth

__all__ = ["FAULTS", "HIGHEST_FAULT_RATE", "FaultStretch", "FleetState", "SimulatedFleet"]

LONGEST_SUBSTEP_S: Final = 1.0
LONGEST_STEP_S: Final = 3600.0

_DRIFTS_UP_TO_C = 140.0
_ROAD_NAMES = np.array(ROAD_TYPES, object)
_FAULT_NAMES = np.array([*FAULTS, None], object)


class FleetState(TypedDict):
    """One event of every vehicle, in the order of the vehicles' numbers; all columns are of length n.

    Named as the fields of the telemetry JSON, in its units; NaN is a missing field. The last three are no fields.
    """

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
    trafficLevel: Floats
    weather: list[str]
    roadType: list[str]
    night: Flags
    anomaly: Flags
    anomalyType: list[str | None]
    clock_skew_s: Floats
    """By how much `timestamp` is wrong."""
    is_parked: Flags
    """It stands with its engine off, for longer than at a pump."""
    is_sent: Flags
    """False: the message is lost on its way; nobody may see it."""


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
        faults: Sequence[str] = FAULTS,
        parks_first: Flags | None = None,
    ) -> None:
        """Place the vehicles at Unix time `start_s`; raises ValueError.

        `fault_rate` is the share of a vehicle's time that is faulty. `faults` restricts the types; where they are
        short ones, the pauses between two of them (at least 240 s) keep the share below the rate. `parks_first`
        bool[n] says who parks at once, for ten minutes to two hours.
        """
        if first < 0 or count < 1:
            raise ValueError(f"A fleet needs first >= 0 and count >= 1, but they are {first} and {count}.")
        self.city = city
        self.time_s = start_s
        self.vehicle_ids = [f"V{index:06d}" for index in range(first, first + count)]
        self._events = 0
        random = VehicleRandomness(seed, first, count)
        self._faults = FaultSchedule(random, fault_rate, faults, start_s)
        self._occasions = Occasions(random, start_s, parks_first)
        self._driving = Driving(city, random, start_s)
        self._engine = Engine(random, city.ambient_c(start_s), self._occasions.start_fuel_pct)
        self._electrics = Electrics(random)
        self._sensors = Sensors(random, city)
        self._reported_kmh = self._driving.speed_mps * 3.6

    def step(self, dt_s: float) -> FleetState:
        """Advance by `dt_s` seconds (more than 0) and return the event of every vehicle at the new time."""
        if not 0 < dt_s <= LONGEST_STEP_S:
            raise ValueError(f"A step must be longer than 0 s and at most {LONGEST_STEP_S:g} s, but it is {dt_s} s.")
        parts = int(np.ceil(dt_s / LONGEST_SUBSTEP_S))
        for _ in range(parts):
            self._advance(dt_s / parts)
        self._events += 1
        readings = self._sensors.read(
            self._truth(), self._faults, self.time_s, dt_s, np.array([self._events], np.uint64)
        )
        return self._state(readings)

    def stretches(self, from_s: float, until_s: float) -> list[FaultStretch]:
        """Return the faults driven so far (the last 200,000) that touch a span of true Unix time, by onset."""
        return self._faults.stretches(from_s, until_s, self.vehicle_ids)

    def _advance(self, dt_s: float) -> None:
        driving, schedule = self._driving, self._faults
        scene = self._scene()
        schedule.advance(self.time_s, scene)
        self._occasions.advance(
            self.time_s, ~schedule.is_busy(), driving.speed_mps, driving.stood_s, self._engine.fuel_pct
        )
        weather = self.city.weather(self.time_s)
        driving.advance(dt_s, self.time_s, weather, self._orders())
        self._work(dt_s, weather)
        self.time_s += dt_s
        schedule.observe(self.time_s, self._scene())

    def _work(self, dt_s: float, weather: int) -> None:
        """Let engine and battery do what the drive just driven takes."""
        driving, schedule, engine = self._driving, self._faults, self._engine
        speed_mps, acceleration_mps2 = driving.speed_mps, driving.acceleration_mps2
        is_off = self._occasions.is_engine_off(driving.stood_s) | (schedule.kind == faults.FUEL_THEFT)
        ambient_c = self.city.ambient_c(self.time_s)
        pumps_pct_s = np.where(self._occasions.is_pumping, self._occasions.pump_pct_s, 0.0)
        engine.advance(
            dt_s, driving.wheel_power_w(), speed_mps, acceleration_mps2, is_off, ambient_c, pumps_pct_s,
            self._engine_faults(),
        )  # fmt: skip
        self._electrics.advance(
            dt_s, speed_mps, acceleration_mps2, is_off, engine.has_fan_on,
            Surroundings(self.city.is_night(self.time_s), weather != 0, ambient_c),
            BatteryFaults(np.where(schedule.acts(faults.BATTERY_LOW), schedule.rate, 0.0), schedule.size),
            self._occasions.charges_pct_s(driving.stood_s),
        )  # fmt: skip

    def _scene(self) -> Scene:
        driving = self._driving
        return Scene(
            speed_mps=driving.speed_mps,
            limit_mps=driving.limit_mps,
            clear_m=driving.clear_m(),
            spare_mps2=driving.spare_mps2(self._faults.planned_overspeed() * driving.limit_mps),
            stood_s=driving.stood_s,
            is_warm=self._engine.is_warm(),
            is_ordinary=self._occasions.kind == occasions.NOTHING,
            fuel_pct=self._engine.fuel_pct,
            battery_pct=self._electrics.battery_pct,
        )

    def _orders(self) -> Orders:
        schedule = self._faults
        kind, size = schedule.kind, schedule.size
        fools_speed = schedule.acts(faults.STUCK_SENSOR) | (
            schedule.acts(faults.SENSOR_BIAS) & (schedule.signal == faults.SPEED)
        )
        return Orders(
            overspeed=np.where(kind == faults.OVERSPEED, size, 0.0),
            brakes_mps2=np.where(kind == faults.HARSH_BRAKING, size, 0.0),
            stands=self._occasions.must_stand() | (kind == faults.FUEL_THEFT),
            keeps_moving=fools_speed,
        )

    def _engine_faults(self) -> EngineFaults:
        schedule = self._faults
        overheats, drifts = schedule.acts(faults.OVERHEAT), schedule.acts(faults.COOLANT_DRIFT)
        drains = schedule.acts(faults.FUEL_THEFT) | schedule.acts(faults.FUEL_LEAK)
        return EngineFaults(
            heats_c_s=np.where(overheats | drifts, schedule.rate, 0.0),
            up_to_c=np.where(overheats, schedule.size, _DRIFTS_UP_TO_C),
            drains_pct_s=np.where(drains, schedule.rate, 0.0),
        )

    def _truth(self) -> Truth:
        east_m, north_m = self._driving.place_m()
        return Truth(
            speed_mps=self._driving.speed_mps,
            temperature_c=self._engine.temperature_c,
            battery_pct=self._electrics.battery_pct,
            fuel_pct=self._engine.level_pct,
            east_m=east_m,
            north_m=north_m,
            limit_kmh=self.city.limit_kmh[self._driving.road],
            traffic=self._driving.traffic.level,
            in_tunnel=self._occasions.kind == occasions.TUNNEL,
        )

    def _state(self, readings: Readings) -> FleetState:
        count, values = len(self.vehicle_ids), readings.values
        fault = self._faults.label(self.time_s)
        previous_kmh, self._reported_kmh = self._reported_kmh, values[sensors.SPEED].copy()
        return FleetState(
            vehicleId=self.vehicle_ids,
            timestamp=self.time_s + readings.clock_skew_s,
            latitude=values[sensors.LATITUDE],
            longitude=values[sensors.LONGITUDE],
            speed=values[sensors.SPEED],
            previousSpeed=previous_kmh,
            acceleration=values[sensors.SPEED] - previous_kmh,
            temperature=values[sensors.TEMPERATURE],
            battery=values[sensors.BATTERY],
            fuelLevel=values[sensors.FUEL_LEVEL],
            speedLimit=values[sensors.LIMIT],
            trafficLevel=values[sensors.TRAFFIC],
            weather=[WEATHERS[self.city.weather(self.time_s)]] * count,
            roadType=_ROAD_NAMES[self.city.road_type[self._driving.road]].tolist(),
            night=np.full(count, self.city.is_night(self.time_s)),
            anomaly=fault < len(FAULTS),
            anomalyType=_FAULT_NAMES[fault].tolist(),
            clock_skew_s=readings.clock_skew_s,
            is_parked=self._occasions.is_parked(self._driving.stood_s),
            is_sent=readings.is_sent,
        )
