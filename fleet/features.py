"""Columns of telemetry -> float32 features, with each vehicle's own history.

Neighbours on the event's way: `fleet.telemetry` hands over the columns of one partition in log order, the
scorer takes the features. `VehicleWindows` is the only memory between two events of a vehicle; it is a struct
of arrays (one row per vehicle), so that further history is further arrays and a snapshot is their bytes.

Raw coordinates are never a feature: they would make every other city an anomaly. Positions count only as the
distance between two events of one vehicle. The sender's own `previousSpeed` and `acceleration` are claims and
are not used: acceleration is taken from the vehicle's history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.telemetry import SIGNALS

Floats: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]

# Each feature with the cause that an alarm gets when this feature's error weighs most.
CAUSE_BY_FEATURE: Final = {
    "speed_over_limit": "overspeed",
    "speed_kmh": "overspeed",
    "acceleration_kmh_s": "harsh_motion",
    "position_speed_error_kmh": "position_mismatch",
    "step_excess_m": "position_mismatch",
    "temperature_c": "engine_overheat",
    "temperature_slope_c_s": "engine_overheat",
    "battery_pct": "battery_low",
    "battery_slope_pct_s": "battery_low",
    "fuel_pct": "fuel_level",
    "fuel_slope_pct_s": "fuel_level",
    "traffic_level": "context",
    "road_highway": "context",
    "road_rural": "context",
    "night": "context",
    "weather_adverse": "context",
}
FEATURES: Final[tuple[str, ...]] = tuple(CAUSE_BY_FEATURE)
# The world a vehicle is in, not what it does: the model is told these and never judges them.
CONDITIONS: Final = frozenset({"road_highway", "road_rural", "night", "weather_adverse"})

# A vehicle that was silent for longer than this starts a new history.
GAP_S: Final = 120.0
# Slopes of slow signals are taken per second of at least this interval, so that the sensor noise of a sender
# at 10 Hz is not multiplied into a slope that no engine has.
SLOWEST_SLOPE_INTERVAL_S: Final = 1.0
# Speed changes fast enough to be taken over shorter intervals.
SHORTEST_MOTION_INTERVAL_S: Final = 0.5
# Beyond this interval a road bends and a speed varies too much for distance/time to be compared with speed.
LONGEST_POSITION_INTERVAL_S: Final = 10.0
# No road vehicle accelerates or brakes harder (about 1 g): what a step may exceed speed times time by.
HARDEST_ACCELERATION_KMH_S: Final = 36.0
# A limit of 0, or less, is a broken map: it must not make every speed infinitely too fast.
LOWEST_LIMIT_KMH: Final = 5.0
# A reading may be anything that JSON can say; products of two clipped readings still fit a float64.
SIGNAL_LIMIT: Final = 1e30
# Features beyond this say no more than this, and their squares still fit a float32.
FEATURE_LIMIT: Final = 1e9
METRES_PER_DEGREE: Final = 111_195.0  # of latitude, mean Earth radius 6,371,009 m

_LATITUDE, _LONGITUDE, _SPEED = (SIGNALS.index(name) for name in ("latitude", "longitude", "speed"))
_TEMPERATURE, _BATTERY, _FUEL = (SIGNALS.index(name) for name in ("temperature", "battery", "fuelLevel"))
_LIMIT, _TRAFFIC = (SIGNALS.index(name) for name in ("speedLimit", "trafficLevel"))
_WEATHER, _ROAD, _NIGHT = (SIGNALS.index(name) for name in ("weather", "roadType", "night"))


@dataclass(frozen=True, slots=True)
class WindowedBlock:
    """The features of one block of N events, in the order of the events."""

    features: Features
    """float32[N, K] in the order of `FEATURES`; NaN = unknown, otherwise finite."""
    warming_up: Flags
    """bool[N]: no usable history (the vehicle's first event, or more than `GAP_S` from its latest one)."""
    repeat: Flags
    """bool[N]: same time and same signals as the vehicle's latest event; it did not enter the history."""


class VehicleWindows:
    """The recent history of one partition's vehicles, at most `max_vehicles` of them.

    An event enters its vehicle's history when it is later than the latest one that did. Late events, repeats
    and further events of the same instant are given the features that need no history, and leave none.
    The result does not depend on how the stream is cut into blocks, except that a vehicle is forgotten only
    between two blocks.

    Vehicles that were idle for `idle_s` of event time are forgotten; when there are more than `max_vehicles`,
    those seen longest ago are. Both are counted in `evictions`.
    """

    def __init__(self, idle_s: float = 1800.0, max_vehicles: int = 200_000) -> None:
        if idle_s < GAP_S or max_vehicles < 1:
            message = (
                f"idle_s must be at least {GAP_S:.0f} s and max_vehicles at least 1,"
                f" but they are {idle_s} and {max_vehicles}."
            )
            raise ValueError(message)
        self.idle_s = idle_s
        self.max_vehicles = max_vehicles
        self.evictions = 0
        self._row_of: dict[str, int] = {}
        self._free_rows: list[int] = []
        self._swept_at_s = -np.inf
        self._allocate(min(1024, max_vehicles))

    def __len__(self) -> int:
        return len(self._row_of)

    def push(self, vehicle_ids: Sequence[str], timestamp_s: Floats, signals: Floats) -> WindowedBlock:
        """Take the next N events of the partition and return their features.

        `timestamp_s` float64[N] is event time in Unix seconds, `signals` float64[N, S] has the columns of
        `fleet.telemetry.SIGNALS` with NaN for what is unknown.
        """
        count = len(vehicle_ids)
        if count > self.max_vehicles:  # a block's own vehicles must all fit at once
            cut = self.max_vehicles
            return _concatenated(
                self.push(vehicle_ids[:cut], timestamp_s[:cut], signals[:cut]),
                self.push(vehicle_ids[cut:], timestamp_s[cut:], signals[cut:]),
            )
        if count == 0:
            return WindowedBlock(np.empty((0, len(FEATURES)), np.float32), np.empty(0, bool), np.empty(0, bool))
        clock_s = float(np.median(timestamp_s))  # one sender with a wrong clock does not move it
        self._forget_idle(clock_s)
        rows = self._rows(vehicle_ids)
        order = np.argsort(rows, kind="stable")
        windowed = self._push_sorted(
            rows[order], timestamp_s[order], np.clip(signals[order], -SIGNAL_LIMIT, SIGNAL_LIMIT), clock_s
        )
        place = np.empty_like(order)
        place[order] = np.arange(count)
        return WindowedBlock(windowed.features[place], windowed.warming_up[place], windowed.repeat[place])

    def _push_sorted(self, rows: Indices, time_s: Floats, signals: Floats, clock_s: float) -> WindowedBlock:
        """Push events that are sorted by row, and in log order within a row."""
        first, last = _run_bounds(rows)
        accepted = _later_than_all_before(rows, time_s, first, self._latest_s[rows])
        position = np.arange(len(rows))
        latest_accepted = np.maximum.accumulate(np.where(accepted, position, -1))
        previous = np.empty_like(latest_accepted)
        previous[0], previous[1:] = -1, latest_accepted[:-1]
        here = previous >= first  # else the predecessor is an event of an earlier block
        previous_s = np.where(here, time_s[previous], self._latest_s[rows])
        previous_signals = np.where(here[:, None], signals[previous], self._latest_signals[rows])

        interval_s = time_s - previous_s
        with_history = np.abs(interval_s) <= GAP_S
        same = (signals == previous_signals) | (np.isnan(signals) & np.isnan(previous_signals))
        repeated = (interval_s == 0) & same.all(axis=1)
        usable_interval_s = np.where(with_history & (interval_s > 0), interval_s, np.nan)
        features = _features(signals, previous_signals, usable_interval_s)

        ends = position[last == position]
        ends = ends[latest_accepted[ends] >= first[ends]]
        sources = latest_accepted[ends]
        self._latest_s[rows[ends]] = time_s[sources]
        self._latest_signals[rows[ends]] = signals[sources]
        # Only what enters the history keeps a vehicle alive: one whose clock once ran far ahead, and all of
        # whose events are late since, starts anew after `idle_s` instead of never.
        self._seen_s[rows[ends]] = clock_s
        return WindowedBlock(features, ~with_history, repeated)

    def _rows(self, vehicle_ids: Sequence[str]) -> Indices:
        rows = np.fromiter(map(self._row_of.get, vehicle_ids, repeat(-1)), np.intp, len(vehicle_ids))
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            newcomers = dict.fromkeys(vehicle_ids[i] for i in unknown.tolist())
            self._make_room(len(newcomers), rows[rows >= 0])
            self._row_of.update((vehicle_id, self._free_rows.pop()) for vehicle_id in newcomers)
            rows = np.fromiter(map(self._row_of.__getitem__, vehicle_ids), np.intp, len(vehicle_ids))
        return rows

    def _make_room(self, wanted: int, rows_in_use: Indices) -> None:
        """Have `wanted` free rows: grow up to `max_vehicles`, then forget those seen longest ago."""
        while len(self._free_rows) < wanted and self._capacity < self.max_vehicles:
            self._allocate(min(2 * self._capacity, self.max_vehicles))
        lacking = wanted - len(self._free_rows)
        if lacking <= 0:
            return
        # More than needed, so that a fleet slightly too large does not pay for this at every block.
        age_order_s = self._seen_s.copy()
        age_order_s[rows_in_use] = np.inf
        age_order_s[self._free_rows] = np.inf
        evictable = int((age_order_s < np.inf).sum())
        count = min(max(lacking, self.max_vehicles // 16), evictable)
        self._forget(np.argpartition(age_order_s, count - 1)[:count])

    def _forget_idle(self, clock_s: float) -> None:
        if abs(clock_s - self._swept_at_s) < self.idle_s / 16:
            return
        self._swept_at_s = clock_s
        # Seen far in the future means that the clock itself ran ahead; it is as useless as far in the past.
        self._forget(np.flatnonzero(np.isfinite(self._seen_s) & (np.abs(clock_s - self._seen_s) > self.idle_s)))

    def _forget(self, rows: Indices) -> None:
        if not len(rows):
            return
        doomed = set(rows.tolist())
        self._row_of = {vehicle_id: row for vehicle_id, row in self._row_of.items() if row not in doomed}
        self._free_rows.extend(doomed)
        self._latest_s[rows] = -np.inf
        self._seen_s[rows] = -np.inf
        self._latest_signals[rows] = np.nan
        self.evictions += len(doomed)

    def _allocate(self, capacity: int) -> None:
        """Grow the arrays to `capacity` rows; the first call creates them."""
        used = len(self._row_of) + len(self._free_rows)
        added = capacity - used
        latest_s, seen_s = np.full(added, -np.inf), np.full(added, -np.inf)
        signals = np.full((added, len(SIGNALS)), np.nan)
        if used:
            latest_s = np.concatenate([self._latest_s, latest_s])
            seen_s = np.concatenate([self._seen_s, seen_s])
            signals = np.concatenate([self._latest_signals, signals])
        self._capacity = capacity
        self._latest_s: Floats = latest_s
        self._seen_s: Floats = seen_s
        self._latest_signals: Floats = signals
        self._free_rows.extend(range(capacity - 1, used - 1, -1))


def _concatenated(head: WindowedBlock, tail: WindowedBlock) -> WindowedBlock:
    return WindowedBlock(
        np.concatenate([head.features, tail.features]),
        np.concatenate([head.warming_up, tail.warming_up]),
        np.concatenate([head.repeat, tail.repeat]),
    )


def _run_bounds(rows: Indices) -> tuple[Indices, Indices]:
    """Return, for every element of the sorted `rows`, where its run of equal values begins and ends."""
    begins = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
    lengths = np.diff(np.append(begins, len(rows)))
    return np.repeat(begins, lengths), np.repeat(begins + lengths - 1, lengths)


def _later_than_all_before(rows: Indices, time_s: Floats, first: Indices, latest_s: Floats) -> Flags:
    """Say which events are later than the vehicle's latest and all of its earlier ones in this block."""
    position = np.arange(len(rows))
    before_s = np.where(position == first, latest_s, np.concatenate([[-np.inf], time_s[:-1]]))
    if bool((time_s > before_s).all()):  # in order: nearly every block
        return np.ones(len(rows), bool)
    # Running maximum within each run, by doubling: log2(longest run) passes, however few the vehicles are.
    running_s = np.maximum(before_s, latest_s)
    reach, longest = 1, int((position - first).max())
    while reach <= longest:
        shifted = running_s[:-reach]
        inside = position[reach:] - reach >= first[reach:]
        running_s[reach:] = np.where(inside, np.maximum(running_s[reach:], shifted), running_s[reach:])
        reach *= 2
    return time_s > running_s


def _features(now: Floats, before: Floats, interval_s: Floats) -> Features:
    """Compute float32[N, K] from signals float64[N, S] and those of the predecessors.

    `interval_s` is NaN where there is no usable predecessor, and makes unknown what needs one.
    """
    speed, speed_before = now[:, _SPEED], before[:, _SPEED]
    slope_s = np.maximum(interval_s, SLOWEST_SLOPE_INTERVAL_S)
    step_m = _distance_m(before, now)
    position_s = np.where(interval_s <= LONGEST_POSITION_INTERVAL_S, slope_s, np.nan)
    travelled_m = (speed + speed_before) / 2 / 3.6 * interval_s
    columns = {
        # As a share of the limit, 0 below it: how slow a vehicle is says nothing about how much too fast it is.
        "speed_over_limit": np.maximum(0.0, speed / np.maximum(now[:, _LIMIT], LOWEST_LIMIT_KMH) - 1.0),
        "speed_kmh": speed,
        "acceleration_kmh_s": (speed - speed_before) / np.maximum(interval_s, SHORTEST_MOTION_INTERVAL_S),
        "position_speed_error_kmh": (step_m - travelled_m) / position_s * 3.6,
        "step_excess_m": np.maximum(0.0, step_m - _farthest_m(speed, speed_before, interval_s)),
        "temperature_c": now[:, _TEMPERATURE],
        "temperature_slope_c_s": (now[:, _TEMPERATURE] - before[:, _TEMPERATURE]) / slope_s,
        "battery_pct": now[:, _BATTERY],
        "battery_slope_pct_s": (now[:, _BATTERY] - before[:, _BATTERY]) / slope_s,
        "fuel_pct": now[:, _FUEL],
        "fuel_slope_pct_s": (now[:, _FUEL] - before[:, _FUEL]) / slope_s,
        "traffic_level": now[:, _TRAFFIC],
        "road_highway": _flag(now[:, _ROAD], now[:, _ROAD] == 0.0),
        "road_rural": _flag(now[:, _ROAD], now[:, _ROAD] == 2.0),
        "night": now[:, _NIGHT],
        "weather_adverse": _flag(now[:, _WEATHER], now[:, _WEATHER] > 0.0),
    }
    features = np.empty((len(now), len(FEATURES)), np.float32)
    for k, name in enumerate(FEATURES):
        features[:, k] = np.clip(columns[name], -FEATURE_LIMIT, FEATURE_LIMIT)
    return features


def _distance_m(before: Floats, now: Floats) -> Floats:
    """Distance of two positions in the plane that touches the Earth there (equirectangular), float64[N].

    Good to 0.1 % up to tens of kilometres, which is farther than a vehicle gets within `GAP_S`.
    """
    north = now[:, _LATITUDE] - before[:, _LATITUDE]
    east = (now[:, _LONGITUDE] - before[:, _LONGITUDE] + 180.0) % 360.0 - 180.0  # across the date line
    east *= np.cos(np.radians((now[:, _LATITUDE] + before[:, _LATITUDE]) / 2))
    metres: Floats = np.hypot(north, east) * METRES_PER_DEGREE
    return metres


def _farthest_m(speed: Floats, speed_before: Floats, interval_s: Floats) -> Floats:
    """How far a vehicle can get between two reported speeds, in km/h, if it raced in between."""
    fastest_kmh = (speed + speed_before) / 2 + HARDEST_ACCELERATION_KMH_S * interval_s / 4
    farthest: Floats = np.maximum(fastest_kmh, 0.0) / 3.6 * interval_s
    return farthest


def _flag(known: Floats, flag: Flags) -> Floats:
    return np.where(np.isnan(known), np.nan, flag)
