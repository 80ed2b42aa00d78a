"""Channels of an event: the fields themselves, and what is computed from this event's and the last one's.

A speed in another unit than its field says contradicts the positions from the first drive on, by one ratio throughout.
"""

import math
from typing import Any, Final

import numpy as np

from fleet.detection.compiled import compiled
from fleet.detection.features import FORMULAS

METRES_PER_DEGREE: Final = 111_195.0  # of latitude, mean Earth radius 6,371,009 m
# No road vehicle accelerates or brakes harder (about 1 g): what a step may exceed speed times time by.
HARDEST_ACCELERATION_MPS2: Final = 10.0
# Speed changes fast enough to be taken over short intervals.
SHORTEST_MOTION_INTERVAL_S: Final = 0.5
# Beyond this interval a road bends and a speed varies too much for distance/time to be compared with speed.
LONGEST_MOTION_INTERVAL_S: Final = 10.0
# Nothing that drives changes its speed faster (1.5 g): it was read wrongly.
FASTEST_CHANGE_MPS2: Final = 15.0
# A road's bends make the way between two positions longer than their distance, the more the rarer they are.
BENDS_PER_S: Final = 0.03
# Positions may be rounded to one of these, in degrees.
POSITION_GRIDS: Final = (1e-3, 1e-4, 1e-5, 0.0)
# Makes one number of two coordinates that stays the same where both do; any irrational factor would do.
LONGITUDE_FACTOR: Final = 0.7548776662466927
# A limit of 0, or less, is a broken map: it must not make every speed infinitely too fast.
LOWEST_DIVISOR: Final = 5.0
# What a speed's unit is judged by: so many steps that are long enough, of the first ones of a history.
RATIO_STEPS: Final = 20.0
LAST_RATIO_STEP: Final = 60.0
SHORTEST_RATIO_STEP_M: Final = 4.0
SMALLEST_RATIO_LOG: Final = 0.3
LARGEST_RATIO_SPREAD: Final = 0.2
# A position that has jumped is elsewhere until it comes back, which is known for so many events, and said for fewer.
JUMP_EVENTS: Final = 120.0
SAID_JUMP_EVENTS: Final = 30.0
SMALLEST_JUMP_MPS: Final = 15.0

EXCESS_RATIO, RATE, PLACE, TRAVELLED, TRAVEL_ERROR, STEP_EXCESS = (FORMULAS.index(name) for name in FORMULAS[1:])


@compiled
def read(channels: Any, clock: Any, now: Any, before: Any, interval_s: float, values: Any) -> None:
    """Fill in the value of each channel."""
    north_m, east_m, measured = math.nan, math.nan, -1
    for c in range(len(channels)):
        channel = channels[c]
        # Several channels are computed from the same step.
        if channel.formula >= TRAVELLED and channel.first != measured and interval_s <= LONGEST_MOTION_INTERVAL_S:
            north_m, east_m = _step_m(channel, now, before)
            measured = channel.first
            _learn_grid(clock, now[channel.first], now[channel.second])
        values[c] = _value(channel, clock, now, before, interval_s, math.hypot(north_m, east_m))
        if channel.formula == TRAVEL_ERROR:
            _learn_ratio(channel, clock, now, before, interval_s, math.hypot(north_m, east_m))
        elif channel.formula == STEP_EXCESS:
            values[c] = _follow_jump(clock, north_m, east_m, values[c])


@compiled
def _value(channel: Any, clock: Any, now: Any, before: Any, interval_s: float, step_m: float) -> float:
    """Return a channel's value: the field itself, or its formula. NaN where an input or the past is unknown."""
    formula, value = channel.formula, now[channel.first]
    if formula == 0:
        return float(value)
    if formula == EXCESS_RATIO:
        # 0 below the limit: how slow a vehicle is says nothing about how much too fast it is.
        return float(max(value / max(now[channel.second], LOWEST_DIVISOR) - 1.0, 0.0)) if value == value else math.nan
    if formula == PLACE:
        return float(value + now[channel.second] * LONGITUDE_FACTOR)
    if not interval_s <= LONGEST_MOTION_INTERVAL_S:
        return math.nan
    if formula == RATE:
        return _rate(channel, clock, value, before[channel.first], interval_s)
    if formula == TRAVELLED:
        return float(step_m / max(interval_s, 1.0))
    speed_mps = _speed_mps(channel, now, before) * (clock.speed_ratio if clock.speed_ratio > 0.0 else 1.0)
    if formula == TRAVEL_ERROR:
        return _travel_error(clock, step_m, speed_mps, interval_s)
    # Twice as far as it can drive: after a fix that was sent twice, the next step is that of both.
    farthest_m = max(2.0 * speed_mps + HARDEST_ACCELERATION_MPS2 * interval_s / 4, 0.0) * interval_s
    excess_mps = (step_m - farthest_m - _rounding_m(clock)) / max(interval_s, 1.0)
    return max(excess_mps, 0.0) if excess_mps == excess_mps else math.nan


@compiled
def _rate(channel: Any, clock: Any, value: float, value_before: float, interval_s: float) -> float:
    """Return a change per second; a reading that was held has changed meanwhile."""
    change = value - value_before
    if change == 0.0:
        clock.rate_held_s = min(clock.rate_held_s + interval_s, LONGEST_MOTION_INTERVAL_S)
        return 0.0
    passed_s = max(interval_s + clock.rate_held_s, SHORTEST_MOTION_INTERVAL_S)
    clock.rate_held_s = 0.0
    is_possible = abs(change) * channel.metres_per_second <= FASTEST_CHANGE_MPS2 * passed_s
    return float(change / passed_s) if is_possible or channel.metres_per_second == 0.0 else math.nan


@compiled
def _travel_error(clock: Any, step_m: float, speed_mps: float, interval_s: float) -> float:
    """Return by how much a step is longer than speed times time, beyond what rounding and bends explain, per second.

    Unknown until it is known what the sender's speed is told in.
    """
    if clock.speed_ratio == 0.0:
        return math.nan
    error_m = step_m - speed_mps * interval_s
    rounding_m = _rounding_m(clock)
    bends_m = BENDS_PER_S * max(interval_s - 1.0, 0.0) * speed_mps * interval_s if error_m < 0.0 else 0.0
    beyond_m = max(abs(error_m) - rounding_m - bends_m, 0.0) if error_m == error_m else math.nan
    return math.copysign(beyond_m, error_m) / max(interval_s, 1.0)


@compiled
def _learn_grid(clock: Any, latitude: float, longitude: float) -> None:
    while int(clock.position_grid) < len(POSITION_GRIDS) - 1:
        grid = POSITION_GRIDS[int(clock.position_grid)]
        off = abs(latitude / grid - np.rint(latitude / grid)) + abs(longitude / grid - np.rint(longitude / grid))
        if not off > 1e-3:
            return
        clock.position_grid += 1.0


@compiled
def _rounding_m(clock: Any) -> float:
    """Return by how much the distance of two positions may be wrong because they are rounded."""
    return float(POSITION_GRIDS[int(clock.position_grid)] * METRES_PER_DEGREE)


@compiled
def _speed_mps(channel: Any, now: Any, before: Any) -> float:
    return float((now[channel.third] + before[channel.third]) / 2 * channel.metres_per_second)


@compiled
def _step_m(channel: Any, now: Any, before: Any) -> Any:
    """Distance north and east of two positions in the plane that touches the Earth there (equirectangular).

    Good to 0.1 % up to tens of kilometres, which is farther than a vehicle gets in `LONGEST_MOTION_INTERVAL_S`.
    """
    latitude, latitude_before = now[channel.first], before[channel.first]
    east = (now[channel.second] - before[channel.second] + 180.0) % 360.0 - 180.0  # across the date line
    east *= math.cos(math.radians((latitude + latitude_before) / 2))
    return (latitude - latitude_before) * METRES_PER_DEGREE, east * METRES_PER_DEGREE


@compiled
def _learn_ratio(channel: Any, clock: Any, now: Any, before: Any, interval_s: float, step_m: float) -> None:
    """Compare the first long steps with the speed: one ratio throughout is another unit, and no spoofed position."""
    said_m = _speed_mps(channel, now, before) * interval_s
    # Of steps shorter than their rounding only those are seen that are rounded up.
    shortest_m = max(SHORTEST_RATIO_STEP_M / 4.0, _rounding_m(clock))
    if clock.speed_ratio > 0.0 or not (step_m > SHORTEST_RATIO_STEP_M and said_m > shortest_m):
        return
    clock.ratio_samples += 1.0
    off = math.log(step_m / said_m) - clock.ratio_log
    clock.ratio_log += off / clock.ratio_samples
    clock.ratio_spread += (abs(off) - clock.ratio_spread) / clock.ratio_samples
    if clock.ratio_samples >= RATIO_STEPS:
        if abs(clock.ratio_log) <= SMALLEST_RATIO_LOG or clock.ratio_samples >= LAST_RATIO_STEP:
            clock.speed_ratio = 1.0
        elif clock.ratio_spread < LARGEST_RATIO_SPREAD:
            clock.speed_ratio = math.exp(clock.ratio_log)


@compiled
def _follow_jump(clock: Any, north_m: float, east_m: float, excess_mps: float) -> float:
    """Return the excess of a step, and of the jump for as long as the position is elsewhere.

    A step back to where it has jumped from ends that.
    """
    if excess_mps != excess_mps:
        return excess_mps
    if clock.jump_events > 0.0:
        clock.jump_events -= 1.0
    if excess_mps < SMALLEST_JUMP_MPS:
        return SMALLEST_JUMP_MPS if clock.jump_events > JUMP_EVENTS - SAID_JUMP_EVENTS else 0.0
    away_m = math.hypot(clock.jump_north_m, clock.jump_east_m)
    left_m = math.hypot(clock.jump_north_m + north_m, clock.jump_east_m + east_m)
    if clock.jump_events > 0.0 and left_m < away_m / 2.0:
        clock.jump_events = 0.0
        return 0.0
    clock.jump_north_m, clock.jump_east_m, clock.jump_events = north_m, east_m, JUMP_EVENTS
    return excess_mps
