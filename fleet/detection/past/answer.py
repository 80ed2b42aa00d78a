"""The features of an event, from its values, its time and its vehicle's past."""

import math
from typing import Any, Final

from fleet.detection.compiled import compiled
from fleet.detection.features import KINDS
from fleet.detection.past.memory import (
    SMALLEST_SHIFT,
    rare_step,
    unit_of,
    weight,
)

# Features beyond this say no more than this, and their squares still fit a float32.
FEATURE_LIMIT: Final = 1e9
# What is left of a difference that leads back to where a level usually is.
RECOVERING: Final = 0.25

_LEVEL, _FAST, _MEDIUM, _SLOW, _DRIFT, _MEAN5, _MEAN30, _ROUGH, _FROZEN, _LOST, _STEPPED, _PEAK, _OUTSIDE = range(13)
_INTERVAL, _INTERVAL_MEAN, _AHEAD, _BEHIND, _IS_CODE, _LOG_INTERVAL, _HISTORY = range(13, 20)
assert KINDS[_OUTSIDE] == "outside"
assert KINDS[_HISTORY] == "history"


@compiled
def answer(plan: Any, clock: Any, usual_s: float, memories: Any, values: Any, moment: Any, found: Any) -> None:
    """Fill in one event's features; its vehicle reports every `usual_s` seconds."""
    for k in range(len(plan.features)):
        feature = plan.features[k]
        value = values[feature.channel]
        if feature.kind >= _INTERVAL:
            own = _of_time(feature, clock, value, moment)
        elif feature.kind == _OUTSIDE:
            own = _outside(feature, value)
        elif moment.is_outside:
            own = value if feature.kind == _LEVEL else math.nan
        elif feature.memory >= 0:
            past = memories[feature.memory]
            own = _of_channel(feature, value, past, usual_s, plan.channels[feature.channel].resolution)
        else:
            own = value
        found[k] = min(max(own, -FEATURE_LIMIT), FEATURE_LIMIT) if own == own else math.nan


@compiled
def _outside(feature: Any, value: float) -> float:
    beyond = max(feature.lowest - value, value - feature.highest, 0.0) if value == value else math.nan
    return float(beyond / (feature.highest - feature.lowest))


@compiled
def _of_channel(feature: Any, value: float, past: Any, usual_s: float, resolution: float) -> float:
    kind = feature.kind
    if kind == _LOST:
        return float(math.log1p(past.lost)) if past.known > 0.0 else math.nan
    if value != value or past.known < _least_known(feature, usual_s):
        return math.nan
    if kind == _LEVEL:
        return value
    if kind == _PEAK:
        return float(past.peak)
    if kind == _STEPPED:
        doubted = past.leap if past.doubts > 0.0 else 0.0
        return float(max(past.stepped, doubted))
    if kind == _FROZEN:
        return float(math.log1p(past.frozen))
    if kind == _FAST:
        return _fast(value, past, usual_s)
    if kind == _MEAN5:
        return float(past.mean5)
    if kind == _MEAN30:
        return float(past.mean30)
    if kind == _ROUGH:
        return math.sqrt(past.turn2)
    # Means over events span more time for a vehicle that reports seldom: what they differ by is taken per second.
    pace_s = max(usual_s, 1.0)
    if kind == _MEDIUM:
        return _difference(past.mean5, past.mean30, past, resolution) / pace_s
    if kind == _SLOW:
        return _difference(past.mean30, past.mean120, past, resolution) / pace_s
    return _difference(past.mean120, past.mean480, past, resolution) / pace_s


@compiled
def _least_known(feature: Any, usual_s: float) -> float:
    """Return the values that a mean must have seen: fewer of seldom ones, more of frequent ones."""
    if feature.least_known_s == 0.0:
        return 0.0
    spanned = max(feature.span_s / usual_s, feature.fewest)
    return float(max(min(3.0, feature.least_known_s), feature.least_known_s * spanned / feature.span_s))


@compiled
def _fast(value: float, past: Any, usual_s: float) -> float:
    if past.doubts > 0.0:
        return float(value - past.mean5)
    # From the mean before this event: the mean of 5 has moved a part of the way already.
    own = weight(past.known, usual_s, 0)
    return float((value - past.mean5) / (1.0 - own)) if own < 1.0 else 0.0


@compiled
def _difference(shorter: float, longer: float, past: Any, resolution: float) -> float:
    """Return what two means differ by, beyond one rare step of a coarse signal; little of it on the way back."""
    apart = shorter - longer
    apart = math.copysign(max(abs(apart) - rare_step(past), 0.0), apart)
    home = past.usual - longer
    if resolution > 0.0 and apart * home > 0.0 and abs(home) > SMALLEST_SHIFT * unit_of(past, resolution):
        return apart * RECOVERING
    return apart


@compiled
def _of_time(feature: Any, clock: Any, value: float, moment: Any) -> float:
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
        return (1.0 if value == feature.code else 0.0) if value == value else math.nan
    if kind == _LOG_INTERVAL:
        return math.log(moment.interval_s) if moment.interval_s > 0.0 else math.nan
    return math.log1p(clock.events)
