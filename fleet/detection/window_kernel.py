"""The compiled loop over events: features from a vehicle's past, then the past with the event.

`fleet.detection.windows` keeps the past and calls `advance`. All of the loop stands in this one module: what the
compiler keeps on disk follows changes of a function's own file alone, and not of what it calls elsewhere.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fleet.detection.compiled import compiled
from fleet.detection.features import FORMULAS, KINDS, FeaturePlan

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
# What a clock that was set back keeps of that from event to event, and below which it counts as right again.
SET_BACK_FADING: Final = FADING**1.5
SHORTEST_SET_BACK_S: Final = 1.0

# The fields of the two records are the columns of a state's snapshot: changing them changes `records.state.FORMAT`.
CLOCK: Final = np.dtype(
    [
        ("latest_s", "f8"),  # time of the latest event that entered the history; 0 where there was none
        ("events", "f8"),  # of the history
        ("log_interval", "f8"),  # mean log of the seconds from event to event
        ("interval_spread", "f8"),  # mean distance from it
        ("interval_mean", "f8"),  # how unusual the latest intervals were
        ("lag_s", "f8"),  # how long after its own time an event is appended; NaN = unknown
        ("lag_trend_s", "f8"),  # by how much that changes from event to event
        ("late_run", "f8"),  # late events in a row, in order among themselves
        ("late_s", "f8"),  # time of the last of them
        ("set_back_s", "f8"),  # by how much the clock was set back, fading
    ],
    align=True,
)
"""What is remembered of a vehicle's times."""
MEMORY: Final = np.dtype(
    [
        ("known", "f8"),  # values of the history, or since the last step
        ("previous", "f8"),
        ("mean5", "f8"),  # exponential means over so many events
        ("mean30", "f8"),
        ("mean120", "f8"),
        ("mean480", "f8"),
        ("turn2", "f8"),  # mean square of the change from step to step
        ("change_rate", "f8"),  # share of events at which the value changes
        ("run", "f8"),  # events in a row at which it did not
        ("absent", "f8"),  # events in a row without a value
        ("seen_rate", "f8"),  # share of events that have one
        ("stepped", "f8"),  # the largest step, fading
        ("peak", "f8"),  # the largest value, fading
        ("step", "f8"),  # from the value before to this one
        ("settled", "f8"),  # events in a row at which a shifted level stayed
    ],
    align=True,
)
"""What is remembered of one channel of a vehicle."""
_NOTHING: Final = np.zeros(1, MEMORY)[0]

CHANNEL: Final = np.dtype(
    [
        ("formula", "i8"),  # index into FORMULAS
        ("first", "i8"),  # columns of the signals that it is made of
        ("second", "i8"),
        ("third", "i8"),
        ("memory", "i8"),  # index into a vehicle's memories; -1 where nothing is remembered
        ("metres_per_second", "f8"),  # one unit of its formula's speed
        ("resolution", "f8"),  # the smallest difference that means something; 0 where none was given
    ],
    align=True,
)
FEATURE: Final = np.dtype(
    [
        ("kind", "i8"),  # index into KINDS
        ("channel", "i8"),  # -1 for the event's time
        ("memory", "i8"),  # its channel's
        ("code", "f8"),  # the word that it tells
        ("least_known", "f8"),  # values that the channel must have had
    ],
    align=True,
)
# A difference of means says nothing before the longer one has seen a part of what it spans.
_LEAST_KNOWN: Final = {
    "fast": 3.0, "medium": 10.0, "slow": 30.0, "drift": 160.0, "mean5": 30.0, "mean30": 30.0, "rough": 30.0
}  # fmt: skip

_LEVEL, _FAST, _MEDIUM, _SLOW, _DRIFT, _MEAN5, _MEAN30, _ROUGH, _FROZEN, _LOST, _STEPPED, _PEAK = range(12)
_INTERVAL, _INTERVAL_MEAN, _AHEAD, _BEHIND, _IS_CODE, _LOG_INTERVAL, _HISTORY = range(12, 19)
assert KINDS[_PEAK] == "peak"
assert KINDS[_HISTORY] == "history"
_EXCESS_RATIO, _RATE, _TRAVELLED, _TRAVEL_ERROR, _STEP_EXCESS = (FORMULAS.index(name) for name in FORMULAS[1:])


class KernelPlan(NamedTuple):
    """What is to be computed: CHANNEL[C] and FEATURE[K]; after a silence of `gap_s` a new history begins."""

    gap_s: float
    channels: Any
    features: Any

    @classmethod
    def of(cls, plan: FeaturePlan) -> "KernelPlan":
        """Lay a feature plan out as records."""
        memory_of = np.full(len(plan.spec.channels) + 1, -1, np.int64)  # the last one is that of no channel
        memory_of[plan.remembered] = np.arange(len(plan.remembered))
        channels = np.zeros(len(plan.spec.channels), CHANNEL)
        for name, column in zip(("formula", "first", "second", "third"), plan.sources.T, strict=True):
            channels[name] = column
        channels["memory"] = memory_of[:-1]
        channels["metres_per_second"], channels["resolution"] = plan.metres_per_second, plan.resolutions
        features = np.zeros(len(plan.features), FEATURE)
        features["kind"], features["channel"] = plan.columns.T
        features["memory"], features["code"] = memory_of[plan.columns[:, 1]], plan.parameters
        features["least_known"] = [_LEAST_KNOWN.get(feature.kind, 0.0) for feature in plan.features]
        return cls(plan.spec.gap_s, channels, features)


class Events(NamedTuple):
    """N events of V vehicles in log order, with S signals each."""

    rows: npt.NDArray[np.intp]
    """intp[N]: whose event it is."""
    time_s: npt.NDArray[np.float64]
    appended_s: npt.NDArray[np.float64]
    """float64[N]: the log's time; NaN = unknown."""
    signals: npt.NDArray[np.float64]
    """float64[N, S], finite or NaN = unknown."""


class Vehicles(NamedTuple):
    """What is remembered of V vehicles; `advance` changes it."""

    clocks: Any
    """CLOCK[V]."""
    signals: npt.NDArray[np.float64]
    """float64[V, S]: those of the latest event of the history."""
    memories: Any
    """MEMORY[V, M]."""


class Answers(NamedTuple):
    """What `advance` fills in for N events."""

    features: npt.NDArray[np.float32]
    """float32[N, K]."""
    warming_up: npt.NDArray[np.bool_]
    repeats: npt.NDArray[np.bool_]


class _Moment(NamedTuple):
    """What an event's time says."""

    interval_s: float  # since the vehicle's latest event; NaN where the history begins, or the event is late
    unusual: float
    ahead_s: float
    behind_s: float


def advance(plan: KernelPlan, events: Events, vehicles: Vehicles, answers: Answers) -> None:
    """Take N events one after the other."""
    # numba asks Python for the type of a named tuple at every call; that of a plain one it knows.
    _advance_plain(tuple(plan), tuple(events), tuple(vehicles), tuple(answers))


@compiled
def _advance_plain(plan: Any, events: Any, vehicles: Any, answers: Any) -> None:
    _advance(KernelPlan(*plan), Events(*events), Vehicles(*vehicles), Answers(*answers))


@compiled
def _advance(plan: Any, events: Any, vehicles: Any, answers: Any) -> None:
    values = np.empty(len(plan.channels))
    for i in range(len(events.rows)):
        row = events.rows[i]
        clock, memories = vehicles.clocks[row], vehicles.memories[row]
        now, before = events.signals[i], vehicles.signals[row]
        time_s, lag_s = events.time_s[i], events.appended_s[i] - events.time_s[i]

        interval_s = time_s - clock.latest_s if clock.events > 0.0 else math.nan
        is_repeat, is_late = interval_s == 0.0 and _same(now, before), interval_s <= 0.0
        behind_s = _behind(clock, interval_s)
        if is_late and not is_repeat and _clock_was_set_back(clock, time_s):
            is_late, interval_s, clock.lag_s = False, math.nan, math.nan
        if not is_late and not interval_s <= plan.gap_s:
            interval_s = math.nan
            _begin_history(clock, memories)
        if is_late:
            interval_s = math.nan
        answers.warming_up[i], answers.repeats[i] = interval_s != interval_s, is_repeat

        _read(plan.channels, now, before, interval_s, values)
        moment = _Moment(interval_s, _unusual_interval(clock, interval_s), _ahead(clock, lag_s), behind_s)
        if not is_late:
            _remember_values(plan.channels, values, interval_s, memories)
            _remember_time(clock, time_s, moment, lag_s)
            before[:] = now
        _answer(plan.features, clock, memories, values, moment, is_late, answers.features[i])


# --- Time ---------------------------------------------------------------------------------------------------------


@compiled
def _same(now: Any, before: Any) -> bool:
    for s in range(len(now)):  # noqa: SIM110 - numba compiles no generator
        if now[s] != before[s] and (now[s] == now[s] or before[s] == before[s]):
            return False
    return True


@compiled
def _behind(clock: Any, interval_s: float) -> float:
    """Remember for a while that a clock was set back: nothing is odd about its events after the first."""
    late_s = -interval_s if interval_s <= 0.0 else 0.0
    behind_s = max(late_s, clock.set_back_s * SET_BACK_FADING)
    clock.set_back_s = behind_s if behind_s >= SHORTEST_SET_BACK_S else 0.0
    return float(clock.set_back_s)


@compiled
def _clock_was_set_back(clock: Any, time_s: float) -> bool:
    """Count late events that follow each other; the last of `LATE_RUN` starts a new history."""
    in_order = clock.late_run > 0 and time_s > clock.late_s
    clock.late_run = clock.late_run + 1.0 if in_order else 1.0
    clock.late_s = time_s
    return bool(clock.late_run >= LATE_RUN)


@compiled
def _begin_history(clock: Any, memories: Any) -> None:
    for m in range(len(memories)):
        memories[m] = _NOTHING
    clock.events, clock.interval_spread, clock.interval_mean = 0.0, 0.0, 0.0
    if clock.latest_s == 0.0:
        clock.lag_s = math.nan


@compiled
def _unusual_interval(clock: Any, interval_s: float) -> float:
    """How unusual an interval is for this vehicle: distance from its mean log interval in its own spread."""
    if not interval_s > 0.0 or clock.events < 3.0:
        return math.nan
    return float((math.log(interval_s) - clock.log_interval) / (0.15 + 2.0 * clock.interval_spread))


@compiled
def _ahead(clock: Any, lag_s: float) -> float:
    """By how much an event's time has run ahead of the log's, beyond what its lag was heading for.

    An event cannot arrive before it happened, so a lag far below the usual one is a clock set forward. In a replay at
    a higher pace the lag falls by nearly an interval with every event: that is its trend.
    """
    if lag_s != lag_s or clock.lag_s != clock.lag_s or clock.events < 3.0:
        return 0.0
    allowance_s = 1.0 + 4.0 * math.exp(clock.log_interval)
    return float(max(clock.lag_s + clock.lag_trend_s - lag_s - allowance_s, 0.0))


@compiled
def _remember_time(clock: Any, time_s: float, moment: Any, lag_s: float) -> None:
    clock.latest_s, clock.late_run = time_s, 0.0
    clock.events += 1.0
    if moment.interval_s > 0.0:
        _remember_interval(clock, moment.interval_s)
    if moment.unusual == moment.unusual:
        clock.interval_mean += (min(max(moment.unusual, -20.0), 20.0) - clock.interval_mean) / 5.0
    if lag_s == lag_s:
        _remember_lag(clock, lag_s)


@compiled
def _remember_interval(clock: Any, interval_s: float) -> None:
    weight = max(1.0 / (clock.events - 1.0), 1.0 / 120.0)
    off = math.log(interval_s) - clock.log_interval
    if clock.events < 3.0:
        clock.log_interval = math.log(interval_s)
    else:
        clock.log_interval += weight * min(max(off, -1.0), 1.0)  # an outlier moves it no more than a factor e
        clock.interval_spread += weight * (min(abs(off), 1.0) - clock.interval_spread)


@compiled
def _remember_lag(clock: Any, lag_s: float) -> None:
    if clock.lag_s != clock.lag_s:
        clock.lag_s, clock.lag_trend_s = lag_s, 0.0
        return
    off_s = lag_s - clock.lag_s - clock.lag_trend_s
    clock.lag_s += clock.lag_trend_s + off_s / (120.0 if off_s < 0.0 else 30.0)
    bound_s = math.exp(clock.log_interval)
    clock.lag_trend_s += max(1.0 / clock.events, 1.0 / 240.0) * min(max(off_s, -bound_s), bound_s)


# --- Channels -----------------------------------------------------------------------------------------------------


@compiled
def _read(channels: Any, now: Any, before: Any, interval_s: float, values: Any) -> None:
    """Fill in the value of each channel."""
    step_m, measured = math.nan, -1
    for c in range(len(channels)):
        channel = channels[c]
        # Several channels are computed from the same step.
        if channel.formula >= _TRAVELLED and channel.first != measured and interval_s <= LONGEST_MOTION_INTERVAL_S:
            step_m, measured = _step_m(channel, now, before), channel.first
        values[c] = _value(channel, now, before, interval_s, step_m)


@compiled
def _value(channel: Any, now: Any, before: Any, interval_s: float, step_m: float) -> float:
    """Return a channel's value: the field itself, or its formula. NaN where an input or the past is unknown."""
    formula, value = channel.formula, now[channel.first]
    if formula == 0:
        return float(value)
    if formula == _EXCESS_RATIO:
        # 0 below the limit: how slow a vehicle is says nothing about how much too fast it is.
        return float(max(value / max(now[channel.second], LOWEST_DIVISOR) - 1.0, 0.0)) if value == value else math.nan
    if not interval_s <= LONGEST_MOTION_INTERVAL_S:
        return math.nan
    if formula == _RATE:
        return float((value - before[channel.first]) / max(interval_s, SHORTEST_MOTION_INTERVAL_S))
    if formula == _TRAVELLED:
        return float(step_m / max(interval_s, 1.0))
    speed_mps = (now[channel.third] + before[channel.third]) / 2 * channel.metres_per_second
    if formula == _TRAVEL_ERROR:
        return float((step_m - speed_mps * interval_s) / max(interval_s, 1.0))
    # Twice as far as it can drive: after a fix that was sent twice, the next step is that of both.
    farthest_m = max(2.0 * speed_mps + HARDEST_ACCELERATION_MPS2 * interval_s / 4, 0.0) * interval_s
    excess_mps = (step_m - farthest_m) / max(interval_s, 1.0)
    return max(excess_mps, 0.0) if excess_mps == excess_mps else math.nan


@compiled
def _step_m(channel: Any, now: Any, before: Any) -> float:
    """Distance of two positions in the plane that touches the Earth there (equirectangular).

    Good to 0.1 % up to tens of kilometres, which is farther than a vehicle gets in `LONGEST_MOTION_INTERVAL_S`.
    """
    latitude, latitude_before = now[channel.first], before[channel.first]
    east = (now[channel.second] - before[channel.second] + 180.0) % 360.0 - 180.0  # across the date line
    east *= math.cos(math.radians((latitude + latitude_before) / 2))
    return math.hypot(latitude - latitude_before, east) * METRES_PER_DEGREE


@compiled
def _remember_values(channels: Any, values: Any, interval_s: float, memories: Any) -> None:
    for c in range(len(channels)):
        if channels[c].memory >= 0:
            _remember(memories[channels[c].memory], values[c], channels[c].resolution, interval_s)


@compiled
def _remember(past: Any, value: float, resolution: float, interval_s: float) -> None:
    """Let one channel's value (or its absence) enter its memory.

    A step that no noise explains starts the means anew: what came before it says nothing about what comes after, and
    the step itself is remembered. So does a slower shift, once it is over.
    """
    if value != value:
        if past.known > 0.0 or past.absent > 0.0:
            past.absent += 1.0
        return
    if past.known > 0.0 or past.absent > 0.0:
        past.seen_rate = _rate_after(past.seen_rate, past.known, past.absent)
        past.absent = 0.0
    past.known += 1.0
    if past.known == 1.0:
        past.mean5, past.mean30, past.mean120, past.mean480 = value, value, value, value
        past.seen_rate, past.change_rate = 0.5, 0.5
        past.stepped, past.peak, past.step, past.settled = 0.0, value, 0.0, 0.0
    else:
        _remember_step(past, value, resolution, interval_s)
    past.previous = value
    past.mean5 += max(1.0 / past.known, 1.0 / 5.0) * (value - past.mean5)
    past.mean30 += max(1.0 / past.known, 1.0 / 30.0) * (value - past.mean30)
    past.mean120 += max(1.0 / past.known, 1.0 / 120.0) * (value - past.mean120)
    past.mean480 += max(1.0 / past.known, 1.0 / 480.0) * (value - past.mean480)
    if resolution > 0.0:
        _settle(past, resolution)


@compiled
def _remember_step(past: Any, value: float, resolution: float, interval_s: float) -> None:
    step, is_step = value - past.previous, interval_s <= LONGEST_MOTION_INTERVAL_S
    past.stepped = max(past.stepped * FADING, abs(step) if is_step else 0.0)
    past.peak = max(past.peak * FADING, value)
    usual2, turn = past.turn2, step - past.step
    past.turn2 += max(1.0 / (past.known - 1.0), 1.0 / 30.0) * (turn * turn - past.turn2)
    past.step = step
    if step == 0.0:
        past.run += 1.0
    else:
        past.change_rate = _rate_after(past.change_rate, past.known, past.run)
        past.run = 0.0
    if is_step and resolution > 0.0 and abs(step) > LARGE_STEP * max(math.sqrt(usual2), resolution):
        past.known = 1.0


@compiled
def _settle(past: Any, resolution: float) -> None:
    """Forget a level that has shifted, once it stays where it is."""
    shift = abs(past.mean30 - past.mean120)
    stays = abs(past.mean5 - past.mean30) < SETTLED_SHARE * shift
    is_large = shift > SMALLEST_SHIFT * max(math.sqrt(past.turn2), resolution)
    past.settled = past.settled + 1.0 if stays and is_large else 0.0
    if past.settled >= SETTLED_EVENTS:
        past.mean120, past.mean480 = past.mean30, past.mean30
        past.known, past.settled = min(past.known, 30.0), 0.0


@compiled
def _rate_after(rate: float, events: float, run: float) -> float:
    """Return the share of events at which something happens, after `run` without it and one with it."""
    memory = min(events, LONGEST_MEMORY)
    return (rate * memory + 1.0) / (memory + run + 1.0)


# --- Features -----------------------------------------------------------------------------------------------------


@compiled
def _answer(features: Any, clock: Any, memories: Any, values: Any, moment: Any, is_late: bool, answer: Any) -> None:
    """Fill in one event's features."""
    # Means over events span more time for a vehicle that reports seldom: what they differ by is taken per second.
    pace_s = max(math.exp(clock.log_interval), 1.0) if clock.events >= 3.0 else 1.0
    for k in range(len(features)):
        feature = features[k]
        if feature.kind >= _INTERVAL:
            found = _of_time(feature, clock, values, moment)
        elif is_late:
            found = values[feature.channel] if feature.kind == _LEVEL else math.nan
        elif feature.memory >= 0:
            found = _of_channel(feature, values[feature.channel], memories[feature.memory], pace_s)
        else:
            found = values[feature.channel]
        answer[k] = min(max(found, -FEATURE_LIMIT), FEATURE_LIMIT) if found == found else math.nan


@compiled
def _of_channel(feature: Any, value: float, past: Any, pace_s: float) -> float:
    kind = feature.kind
    if kind == _LOST:
        return _surprise(past.absent, past.seen_rate, past.known) if past.known > 0.0 else math.nan
    if value != value or past.known < feature.least_known:
        return math.nan
    if kind == _LEVEL:
        return value
    if kind == _PEAK:
        return float(past.peak)
    if kind == _STEPPED:
        return float(past.stepped)
    if kind == _FROZEN:
        return float(_surprise(past.run, past.change_rate, past.known))
    if kind == _FAST:
        # From the mean before this event: the mean of 5 has moved a part of the way already.
        weight = max(1.0 / past.known, 1.0 / 5.0)
        return float((value - past.mean5) / (1.0 - weight))
    if kind == _MEDIUM:
        return float((past.mean5 - past.mean30) / pace_s)
    if kind == _SLOW:
        return float((past.mean30 - past.mean120) / pace_s)
    if kind == _DRIFT:
        return float((past.mean120 - past.mean480) / pace_s)
    if kind == _MEAN5:
        return float(past.mean5)
    if kind == _MEAN30:
        return float(past.mean30)
    return math.sqrt(past.turn2)


@compiled
def _surprise(run: float, rate: float, events: float) -> float:
    """How surprising a run is in which nothing happened that usually does: log(1 - log P(run))."""
    if run == 0.0:
        return 0.0
    trusted = rate * min(1.0, events / TRUSTED_EVENTS)
    return math.log1p(-run * math.log1p(-min(trusted, HIGHEST_RATE)))


@compiled
def _of_time(feature: Any, clock: Any, values: Any, moment: Any) -> float:
    kind = feature.kind
    if kind == _INTERVAL:
        return float(moment.unusual)
    if kind == _INTERVAL_MEAN:
        return float(clock.interval_mean)
    if kind == _AHEAD:
        return math.log1p(moment.ahead_s)
    if kind == _BEHIND:
        return math.log1p(moment.behind_s)
    if kind == _IS_CODE:
        value = values[feature.channel]
        return (1.0 if value == feature.code else 0.0) if value == value else math.nan
    if kind == _LOG_INTERVAL:
        return math.log(moment.interval_s) if moment.interval_s > 0.0 else math.nan
    return math.log1p(clock.events)
