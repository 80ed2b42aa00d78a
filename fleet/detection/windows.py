"""Each vehicle's recent past, and the features of its next event: columns in, float32[N, K] out.

Neighbours on the event's way: `fleet.events.telemetry` hands over the columns of one partition in log order, the scorer
takes the features that `fleet.detection.features` lays out. `VehicleWindows` is the only memory between two events of a
vehicle: a struct of arrays, one row per vehicle.

The past is held as exponential means over 5, 30, 120 and 480 events, not as the last events themselves: that says as
much to the detector at an eighth of the memory, of the snapshots, and of the work, and an event costs the same
whether ten vehicles send everything or ten thousand do. Until a mean has seen as many events as it spans it is the
plain mean of those it has. The kernel is compiled by numba, because every event depends on its vehicle's last one:
columns would need a pass per event of the busiest vehicle.

Rules of time: an event later than its vehicle's latest enters the history. A repeat (same time, same signals) and a
late one do not; several late ones in a row that follow each other mean that the clock was set back, and start a
new history, as a gap does. The result does not depend on how the stream is cut into blocks, except that vehicles are
forgotten only between two blocks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.compiled import compiled
from fleet.detection.features import FORMULAS, KINDS, FeaturePlan

Floats: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]

# A reading may be anything that JSON can say; products of two clipped readings still fit a float64.
SIGNAL_LIMIT: Final = 1e30
# Features beyond this say no more than this, and their squares still fit a float32.
FEATURE_LIMIT: Final = 1e9
METRES_PER_DEGREE: Final = 111_195.0  # of latitude, mean Earth radius 6,371,009 m
# No road vehicle accelerates or brakes harder (about 1 g): what a step may exceed speed times time by.
HARDEST_ACCELERATION_MPS2: Final = 10.0
# Speed changes fast enough to be taken over short intervals.
SHORTEST_MOTION_INTERVAL_S: Final = 0.5
# Beyond this interval a road bends and a speed varies too much for distance/time to be compared with speed.
LONGEST_MOTION_INTERVAL_S: Final = 10.0
# A limit of 0, or less, is a broken map: it must not make every speed infinitely too fast.
LOWEST_DIVISOR: Final = 5.0
# So many late events in a row, in order among themselves, mean that the clock was set back.
LATE_RUN: Final = 5
# However regular a vehicle was, one unusual event is no proof.
HIGHEST_RATE: Final = 0.99
# So many events it takes until a vehicle's own rates are believed in full.
TRUSTED_EVENTS: Final = 60.0
LONGEST_MEMORY: Final = 480.0
# In units of the usual step from event to event, or of the channel's resolution.
LARGE_STEP: Final = 6.0
# A level that has shifted, and stays for so many events where the means of 5 and 30 events agree, has a new past.
SETTLED_EVENTS: Final = 30.0
SETTLED_SHARE: Final = 1.0 / 8.0  # of the shift; while a level still moves steadily it is more than a quarter
SMALLEST_SHIFT: Final = 3.0  # in the units of LARGE_STEP
# What a step or a peak keeps of its height from event to event.
FADING: Final = math.exp(-1.0 / 30.0)

# Columns of the vehicles' scalars and of their memory of a channel.
(
    _LATEST_S,
    _EVENTS,
    _LOG_INTERVAL,
    _INTERVAL_SPREAD,
    _INTERVAL_MEAN,
    _LAG,
    _LAG_TREND,
    _LATE_RUN,
    _LATE_S,
    _SET_BACK_S,
) = range(10)
_SCALARS: Final = 10
_KNOWN, _PREVIOUS, _MEAN5, _MEAN30, _MEAN120, _MEAN480, _STEP2, _CHANGE_RATE, _RUN, _ABSENT, _SEEN_RATE = range(11)
_STEPPED, _PEAK, _STEP, _SETTLED = 11, 12, 13, 14
_MEMORIES: Final = 15

_LEVEL, _FAST, _MEDIUM, _SLOW, _DRIFT, _M5, _M30, _ROUGH, _FROZEN, _LOST, _STEPPED_KIND, _PEAK_KIND = range(12)
_INTERVAL, _INTERVAL_MEAN_KIND, _AHEAD, _BEHIND, _IS_CODE, _LOG_INTERVAL_KIND, _HISTORY = range(12, 19)
assert KINDS[_PEAK_KIND] == "peak"
assert KINDS[_HISTORY] == "history"
_EXCESS_RATIO, _RATE, _TRAVELLED, _TRAVEL_ERROR, _STEP_EXCESS = (FORMULAS.index(name) for name in FORMULAS[1:])


@dataclass(frozen=True, slots=True)
class WindowedBlock:
    """The features of one block of N events, in the order of the events."""

    features: Features
    """float32[N, K] in the order of the plan; NaN = unknown, otherwise finite."""
    warming_up: Flags
    """bool[N]: no usable history (the vehicle's first event, one after a gap, or a late one)."""
    repeat: Flags
    """bool[N]: same time and same signals as the vehicle's latest event; it did not enter the history."""


class VehicleWindows:
    """The recent past of one partition's vehicles, at most `max_vehicles` of them.

    Vehicles that were idle for `idle_s` of the log's time are forgotten (where there is no log, by the median time
    of a block); when there are more than `max_vehicles`, those seen longest ago are. Both are counted in `evictions`.
    """

    def __init__(self, plan: FeaturePlan, idle_s: float = 1800.0, max_vehicles: int = 200_000) -> None:
        if max_vehicles < 1 or not idle_s > 0:
            message = f"idle_s must be above 0 and max_vehicles at least 1, but they are {idle_s} and {max_vehicles}."
            raise ValueError(message)
        self.plan = plan
        self.idle_s = max(idle_s, plan.spec.gap_s)
        self.max_vehicles = max_vehicles
        self.evictions = 0
        self._memory_of = np.full(len(plan.spec.channels), -1, np.int64)
        self._memory_of[plan.remembered] = np.arange(len(plan.remembered))
        self._row_of: dict[str, int] = {}
        self._free_rows: list[int] = []
        self._swept_at_s = -np.inf
        self._capacity = 0
        self._allocate(min(1024, max_vehicles))

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def bytes_per_vehicle(self) -> int:
        """Size of one vehicle's row in the arrays."""
        arrays = (self._scalars, self._signals, self._memory, self._seen_s)
        return sum(int(array[:1].nbytes) for array in arrays)

    def push(
        self, vehicle_ids: Sequence[str], timestamp_s: Floats, signals: Floats, appended_at_s: Floats | None = None
    ) -> WindowedBlock:
        """Take the next N events of the partition and return their features.

        `timestamp_s` float64[N] is event time in Unix seconds, `signals` float64[N, S] has the columns of the
        specification's fields with NaN for what is unknown, `appended_at_s` float64[N] is the log's time, unknown
        where there is no log.
        """
        count = len(vehicle_ids)
        if count > self.max_vehicles:  # a block's own vehicles must all fit at once
            return self._push_in_parts(vehicle_ids, timestamp_s, signals, appended_at_s)
        features = np.empty((count, len(self.plan.features)), np.float32)
        block = WindowedBlock(features, np.empty(count, np.bool_), np.empty(count, np.bool_))
        if count == 0:
            return block
        # By the log's time, where there is one: in a block of a few events, one sender's wrong clock is the median.
        clock_s = float(np.median(timestamp_s) if appended_at_s is None else np.max(appended_at_s))
        self._forget_idle(clock_s)
        rows = self._rows(vehicle_ids)
        _advance(
            rows,
            timestamp_s,
            np.full(count, np.nan) if appended_at_s is None else appended_at_s,
            np.clip(signals, -SIGNAL_LIMIT, SIGNAL_LIMIT),
            self._scalars,
            self._signals,
            self._memory,
            self.plan.spec.gap_s,
            self.plan.sources,
            self.plan.metres_per_second,
            self._memory_of,
            self.plan.resolutions,
            self.plan.columns,
            self.plan.parameters,
            block.features,
            block.warming_up,
            block.repeat,
        )
        self._seen_s[rows] = clock_s
        return block

    def snapshot(self) -> dict[str, Any]:
        """Return everything that `restore` needs: the vehicles' ids, and their rows as arrays."""
        rows = np.fromiter(self._row_of.values(), np.intp, len(self._row_of))
        return {
            "vehicle_ids": list(self._row_of),
            "scalars": self._scalars[rows],
            "signals": self._signals[rows],
            "memory": self._memory[rows],
            "seen_s": self._seen_s[rows],
            "swept_at_s": self._swept_at_s,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where the windows were that `snapshot` was taken of; what was here before is forgotten.

        Raises ValueError when it was taken under another channel specification or holds too many vehicles.
        """
        ids = list(snapshot["vehicle_ids"])
        fits = snapshot["signals"].shape[1:] == self._signals.shape[1:]
        if not fits or snapshot["memory"].shape[1:] != self._memory.shape[1:] or len(ids) > self.max_vehicles:
            message = f"the snapshot of {len(ids)} vehicles does not fit these windows: another specification, or bound"
            raise ValueError(message)
        self._row_of, self._free_rows, self._capacity = {}, [], 0
        self._allocate(min(max(1024, len(ids)), self.max_vehicles))
        rows = [self._free_rows.pop() for _ in ids]
        self._row_of = dict(zip(ids, rows, strict=True))
        self._scalars[rows], self._signals[rows] = snapshot["scalars"], snapshot["signals"]
        self._memory[rows], self._seen_s[rows] = snapshot["memory"], snapshot["seen_s"]
        self._swept_at_s = float(snapshot["swept_at_s"])

    def _push_in_parts(
        self, vehicle_ids: Sequence[str], timestamp_s: Floats, signals: Floats, appended_at_s: Floats | None
    ) -> WindowedBlock:
        parts = []
        for start in range(0, len(vehicle_ids), self.max_vehicles):
            run = slice(start, start + self.max_vehicles)
            appended = None if appended_at_s is None else appended_at_s[run]
            parts.append(self.push(vehicle_ids[run], timestamp_s[run], signals[run], appended))
        return WindowedBlock(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.warming_up for part in parts]),
            np.concatenate([part.repeat for part in parts]),
        )

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
        self._seen_s[rows] = -np.inf
        self._scalars[rows] = 0.0
        self.evictions += len(doomed)

    def _allocate(self, capacity: int) -> None:
        """Grow the arrays to `capacity` rows; the first call creates them."""
        used = self._capacity
        shapes = {
            "_scalars": (capacity, _SCALARS),
            "_signals": (capacity, len(self.plan.spec.fields)),
            "_memory": (capacity, len(self.plan.remembered), _MEMORIES),
            "_seen_s": (capacity,),
        }
        for name, shape in shapes.items():
            grown = np.zeros(shape)
            if used:
                grown[:used] = getattr(self, name)
            setattr(self, name, grown)
        self._seen_s[used:] = -np.inf
        self._capacity = capacity
        self._free_rows.extend(range(capacity - 1, used - 1, -1))

    _scalars: Floats
    _signals: Floats
    _memory: Floats
    _seen_s: Floats


def warm_up(plan: FeaturePlan) -> None:
    """Compile the kernel, or load it from disk, before the first event has to wait for it."""
    VehicleWindows(plan, max_vehicles=1).push(["nobody"], np.zeros(1), np.full((1, len(plan.spec.fields)), np.nan))


@compiled
def _advance(
    rows: Any,
    time_s: Any,
    appended_s: Any,
    signals: Any,
    scalars: Any,
    before: Any,
    memory: Any,
    gap_s: float,
    sources: Any,
    metres_per_second: Any,
    memory_of: Any,
    resolutions: Any,
    columns: Any,
    parameters: Any,
    features: Any,
    warming_up: Any,
    repeats: Any,
) -> None:
    """Take N events one after the other: features from the past, then the past with the event."""
    values = np.empty(len(sources))
    for i in range(len(rows)):
        row = rows[i]
        own, past, now = scalars[row], memory[row], signals[i]
        known_before = own[_EVENTS] > 0
        interval_s = time_s[i] - own[_LATEST_S] if known_before else math.nan
        repeats[i] = known_before and interval_s == 0.0 and _same(now, before[row])
        late = known_before and interval_s <= 0.0
        # A clock that was set back is remembered for a while: nothing is odd about its events after the first.
        behind_s = max(-interval_s if late else 0.0, own[_SET_BACK_S] * FADING**1.5)
        if behind_s < 1.0:
            behind_s = 0.0
        own[_SET_BACK_S] = behind_s
        if late and not repeats[i] and _clock_was_set_back(own, time_s[i]):
            late, known_before = False, False
            own[_LAG] = math.nan
        if not late and known_before and interval_s > gap_s:
            known_before = False
        if not known_before:
            interval_s = math.nan
            past[:] = 0.0
            own[_EVENTS], own[_INTERVAL_SPREAD], own[_INTERVAL_MEAN] = 0.0, 0.0, 0.0
            if own[_LATEST_S] == 0.0:
                own[_LAG] = math.nan
        warming_up[i] = late or not known_before
        if late:
            interval_s = math.nan
        step_m, measured = math.nan, -1
        for c in range(len(sources)):
            # Several channels are computed from the same step.
            if sources[c, 0] >= _TRAVELLED and sources[c, 1] != measured and interval_s <= LONGEST_MOTION_INTERVAL_S:
                step_m, measured = _step_m(sources[c], now, before[row]), sources[c, 1]
            values[c] = _value(sources[c], metres_per_second[c], now, before[row], interval_s, step_m)
        unusual = _unusual_interval(own, interval_s)
        ahead_s = _ahead(own, appended_s[i] - time_s[i])
        for c in range(len(sources)):
            if memory_of[c] >= 0 and not late:
                _remember(past[memory_of[c]], values[c], resolutions[c], interval_s)
        if not late:
            _remember_time(own, time_s[i], interval_s, unusual, appended_s[i] - time_s[i])
            before[row] = now
        # Means over events span more time for a vehicle that reports seldom: what they differ by is taken per second.
        pace_s = max(math.exp(own[_LOG_INTERVAL]), 1.0) if own[_EVENTS] >= 3.0 else 1.0
        for k in range(len(columns)):
            kind, c = columns[k]
            if kind >= _INTERVAL:
                feature = _of_time(kind, c, own, values, parameters[k], interval_s, unusual, ahead_s, behind_s)
            elif late:
                feature = values[c] if kind == _LEVEL else math.nan
            elif memory_of[c] >= 0:
                feature = _of_channel(kind, values[c], past[memory_of[c]], pace_s)
            else:
                feature = values[c]
            features[i, k] = min(max(feature, -FEATURE_LIMIT), FEATURE_LIMIT) if feature == feature else math.nan


@compiled
def _same(now: Any, before: Any) -> bool:
    for s in range(len(now)):  # noqa: SIM110 - numba compiles no generator
        if now[s] != before[s] and (now[s] == now[s] or before[s] == before[s]):
            return False
    return True


@compiled
def _clock_was_set_back(own: Any, time_s: float) -> bool:
    """Count late events that follow each other; the last of `LATE_RUN` starts a new history."""
    in_order = own[_LATE_RUN] > 0 and time_s > own[_LATE_S]
    own[_LATE_RUN] = own[_LATE_RUN] + 1 if in_order else 1
    own[_LATE_S] = time_s
    return bool(own[_LATE_RUN] >= LATE_RUN)


@compiled
def _value(source: Any, metres_per_second: float, now: Any, before: Any, interval_s: float, step_m: float) -> float:
    """Return a channel's value: the field itself, or its formula. NaN where an input or the past is unknown."""
    formula, a = source[0], source[1]
    if formula == 0:
        return float(now[a])
    if formula == _EXCESS_RATIO:
        # 0 below the limit: how slow a vehicle is says nothing about how much too fast it is.
        return float(max(now[a] / max(now[source[2]], LOWEST_DIVISOR) - 1.0, 0.0)) if now[a] == now[a] else math.nan
    if not interval_s <= LONGEST_MOTION_INTERVAL_S:
        return math.nan
    if formula == _RATE:
        return float((now[a] - before[a]) / max(interval_s, SHORTEST_MOTION_INTERVAL_S))
    if formula == _TRAVELLED:
        return float(step_m / max(interval_s, 1.0))
    speed_mps = (now[source[3]] + before[source[3]]) / 2 * metres_per_second
    if formula == _TRAVEL_ERROR:
        return float((step_m - speed_mps * interval_s) / max(interval_s, 1.0))
    # Twice as far as it can drive: after a fix that was sent twice, the next step is that of both.
    farthest_m = max(2.0 * speed_mps + HARDEST_ACCELERATION_MPS2 * interval_s / 4, 0.0) * interval_s
    excess_mps = (step_m - farthest_m) / max(interval_s, 1.0)
    return max(excess_mps, 0.0) if excess_mps == excess_mps else math.nan


@compiled
def _step_m(source: Any, now: Any, before: Any) -> float:
    return _distance_m(now[source[1]], now[source[2]], before[source[1]], before[source[2]])


@compiled
def _distance_m(latitude: float, longitude: float, latitude_before: float, longitude_before: float) -> float:
    """Distance of two positions in the plane that touches the Earth there (equirectangular).

    Good to 0.1 % up to tens of kilometres, which is farther than a vehicle gets in `LONGEST_MOTION_INTERVAL_S`.
    """
    east = (longitude - longitude_before + 180.0) % 360.0 - 180.0  # across the date line
    east *= math.cos(math.radians((latitude + latitude_before) / 2))
    return math.hypot(latitude - latitude_before, east) * METRES_PER_DEGREE


@compiled
def _unusual_interval(own: Any, interval_s: float) -> float:
    """How unusual an interval is for this vehicle: distance from its mean log interval in its own spread."""
    if not interval_s > 0.0 or own[_EVENTS] < 3.0:
        return math.nan
    return float((math.log(interval_s) - own[_LOG_INTERVAL]) / (0.15 + 2.0 * own[_INTERVAL_SPREAD]))


@compiled
def _ahead(own: Any, lag_s: float) -> float:
    """By how much an event's time has run ahead of the log's, beyond what its lag was heading for.

    An event cannot arrive before it happened, so a lag far below the usual one is a clock set forward. In a replay at
    a higher pace the lag falls by nearly an interval with every event: that is its trend.
    """
    if lag_s != lag_s or own[_LAG] != own[_LAG] or own[_EVENTS] < 3.0:
        return 0.0
    allowance_s = 1.0 + 4.0 * math.exp(own[_LOG_INTERVAL])
    return float(max(own[_LAG] + own[_LAG_TREND] - lag_s - allowance_s, 0.0))


@compiled
def _remember_time(own: Any, time_s: float, interval_s: float, unusual: float, lag_s: float) -> None:
    own[_LATEST_S] = time_s
    own[_LATE_RUN] = 0.0
    own[_EVENTS] += 1.0
    if interval_s > 0.0:
        weight = max(1.0 / (own[_EVENTS] - 1.0), 1.0 / 120.0)
        off = math.log(interval_s) - own[_LOG_INTERVAL]
        if own[_EVENTS] < 3.0:
            own[_LOG_INTERVAL] = math.log(interval_s)
        else:
            own[_LOG_INTERVAL] += weight * min(max(off, -1.0), 1.0)  # an outlier moves it no more than a factor e
            own[_INTERVAL_SPREAD] += weight * (min(abs(off), 1.0) - own[_INTERVAL_SPREAD])
    if unusual == unusual:
        own[_INTERVAL_MEAN] += (min(max(unusual, -20.0), 20.0) - own[_INTERVAL_MEAN]) / 5.0
    if lag_s == lag_s:
        if own[_LAG] != own[_LAG]:
            own[_LAG], own[_LAG_TREND] = lag_s, 0.0
        else:
            off_s = lag_s - own[_LAG] - own[_LAG_TREND]
            own[_LAG] += own[_LAG_TREND] + off_s / (120.0 if off_s < 0.0 else 30.0)
            bound_s = math.exp(own[_LOG_INTERVAL])
            own[_LAG_TREND] += max(1.0 / own[_EVENTS], 1.0 / 240.0) * min(max(off_s, -bound_s), bound_s)


@compiled
def _remember(past: Any, value: float, resolution: float, interval_s: float) -> None:
    """Let one channel's value (or its absence) enter its memory.

    A step that no noise explains starts the means anew: what came before it says nothing about what comes after, and
    the step itself is remembered. So does a slower shift, once it is over.
    """
    if value != value:
        if past[_ABSENT] == 0.0 and past[_KNOWN] > 0.0:
            past[_ABSENT] = 1.0
        elif past[_ABSENT] > 0.0:
            past[_ABSENT] += 1.0
        return
    if past[_ABSENT] > 0.0:
        past[_SEEN_RATE] = _rate_after(past[_SEEN_RATE], past[_KNOWN], past[_ABSENT])
        past[_ABSENT] = 0.0
    elif past[_KNOWN] > 0.0:
        past[_SEEN_RATE] = _rate_after(past[_SEEN_RATE], past[_KNOWN], 0.0)
    past[_KNOWN] += 1.0
    known = past[_KNOWN]
    if known == 1.0:
        past[_MEAN5], past[_MEAN30], past[_MEAN120], past[_MEAN480] = value, value, value, value
        past[_SEEN_RATE], past[_CHANGE_RATE] = 0.5, 0.5
        past[_STEPPED], past[_PEAK], past[_STEP], past[_SETTLED] = 0.0, value, 0.0, 0.0
    else:
        step = value - past[_PREVIOUS]
        is_step = interval_s <= LONGEST_MOTION_INTERVAL_S
        past[_STEPPED] = max(past[_STEPPED] * FADING, abs(step) if is_step else 0.0)
        past[_PEAK] = max(past[_PEAK] * FADING, value)
        rough2, turn = past[_STEP2], step - past[_STEP]
        past[_STEP2] += max(1.0 / (known - 1.0), 1.0 / 30.0) * (turn * turn - past[_STEP2])
        past[_STEP] = step
        if step == 0.0:
            past[_RUN] += 1.0
        else:
            past[_CHANGE_RATE] = _rate_after(past[_CHANGE_RATE], known, past[_RUN])
            past[_RUN] = 0.0
        if is_step and resolution > 0.0 and abs(step) > LARGE_STEP * max(math.sqrt(rough2), resolution):
            past[_KNOWN] = known = 1.0
    past[_PREVIOUS] = value
    past[_MEAN5] += max(1.0 / known, 1.0 / 5.0) * (value - past[_MEAN5])
    past[_MEAN30] += max(1.0 / known, 1.0 / 30.0) * (value - past[_MEAN30])
    past[_MEAN120] += max(1.0 / known, 1.0 / 120.0) * (value - past[_MEAN120])
    past[_MEAN480] += max(1.0 / known, 1.0 / 480.0) * (value - past[_MEAN480])
    if resolution > 0.0:
        shift = abs(past[_MEAN30] - past[_MEAN120])
        stays = abs(past[_MEAN5] - past[_MEAN30]) < SETTLED_SHARE * shift
        is_large = shift > SMALLEST_SHIFT * max(math.sqrt(past[_STEP2]), resolution)
        past[_SETTLED] = past[_SETTLED] + 1.0 if stays and is_large else 0.0
        if past[_SETTLED] >= SETTLED_EVENTS:
            past[_MEAN120], past[_MEAN480] = past[_MEAN30], past[_MEAN30]
            past[_KNOWN], past[_SETTLED] = min(known, 30.0), 0.0


@compiled
def _rate_after(rate: float, events: float, run: float) -> float:
    """Return the share of events at which something happens, after `run` without it and one with it."""
    memory = min(events, LONGEST_MEMORY)
    return (rate * memory + 1.0) / (memory + run + 1.0)


@compiled
def _of_channel(kind: int, value: float, past: Any, pace_s: float) -> float:
    if kind == _LOST:
        return _surprise(past[_ABSENT], past[_SEEN_RATE], past[_KNOWN]) if past[_KNOWN] > 0.0 else math.nan
    if value != value:
        return math.nan
    if kind == _LEVEL:
        return value
    if kind == _PEAK_KIND:
        return float(past[_PEAK])
    if kind == _STEPPED_KIND:
        return float(past[_STEPPED])
    if kind == _FROZEN:
        return float(_surprise(past[_RUN], past[_CHANGE_RATE], past[_KNOWN]))
    # A difference of means says nothing before the longer one has seen a part of what it spans.
    if past[_KNOWN] < 3.0 or (kind >= _MEDIUM and past[_KNOWN] < 10.0):
        return math.nan
    if (kind == _DRIFT and past[_KNOWN] < 160.0) or (kind != _MEDIUM and kind > _FAST and past[_KNOWN] < 30.0):
        return math.nan
    if kind == _FAST:
        # From the mean before this event: the mean of 5 has moved a part of the way already.
        weight = max(1.0 / past[_KNOWN], 1.0 / 5.0)
        return float((value - past[_MEAN5]) / (1.0 - weight))
    if kind == _MEDIUM:
        return float((past[_MEAN5] - past[_MEAN30]) / pace_s)
    if kind == _SLOW:
        return float((past[_MEAN30] - past[_MEAN120]) / pace_s)
    if kind == _DRIFT:
        return float((past[_MEAN120] - past[_MEAN480]) / pace_s)
    if kind == _M5:
        return float(past[_MEAN5])
    if kind == _M30:
        return float(past[_MEAN30])
    return math.sqrt(past[_STEP2])


@compiled
def _surprise(run: float, rate: float, events: float) -> float:
    """How surprising a run is in which nothing happened that usually does: log(1 - log P(run))."""
    if run == 0.0:
        return 0.0
    trusted = rate * min(1.0, events / TRUSTED_EVENTS)
    return math.log1p(-run * math.log1p(-min(trusted, HIGHEST_RATE)))


@compiled
def _of_time(
    kind: int,
    channel: int,
    own: Any,
    values: Any,
    code: float,
    interval_s: float,
    unusual: float,
    ahead_s: float,
    behind_s: float,
) -> float:
    if kind == _INTERVAL:
        return unusual
    if kind == _INTERVAL_MEAN_KIND:
        return float(own[_INTERVAL_MEAN])
    if kind == _AHEAD:
        return math.log1p(ahead_s)
    if kind == _BEHIND:
        return math.log1p(behind_s)
    if kind == _IS_CODE:
        return (1.0 if values[channel] == code else 0.0) if values[channel] == values[channel] else math.nan
    if kind == _LOG_INTERVAL_KIND:
        return math.log(interval_s) if interval_s > 0.0 else math.nan
    return math.log1p(own[_EVENTS])
