"""What an event's time says: in its place, late, or by a wrong clock; and how often a vehicle reports.

Late is not wrong: an event that was measured earlier and arrives now has the lag that it has. A clock is wrong when it
is ahead of the log, when it is impossible, or when events go on at an earlier time at the log's own pace.
"""

import math
from typing import Any, Final, NamedTuple

from fleet.detection.compiled import compiled

# No clock that is right is further ahead of the log: what clocks of different machines differ by.
ALLOWANCE_S: Final = 5.0
# Before the year 2000, or ten years before the log, no vehicle has measured anything.
EARLIEST_S: Final = 946_684_800.0
LONGEST_LAG_S: Final = 10 * 365.25 * 86_400.0
# Receivers that count weeks in ten bits are this far behind when they have begun anew.
WEEKS_ROLLED_OVER_S: Final = 1024 * 7 * 86_400.0
# So many events in a row, at another time than the history's, mean that the clock was set.
ASTRAY_RUN: Final = 4
# A clock that was set is said for so many events; by whole quarters of an hour, as the hour of autumn, for so many.
SAID_EVENTS: Final = 60.0
SAID_EVENTS_OF_A_ZONE: Final = 10.0
QUARTER_S: Final = 900.0
# After so many it is the right one.
ACCEPTED_EVENTS: Final = 600.0
# However long a silence was: beyond this ratio to the usual interval it is a gap.
GAP_INTERVALS: Final = 4.0
FEWEST_INTERVALS: Final = 3.0
RHYTHM_INTERVALS: Final = 120.0
# How unusual intervals are is meant over so many.
INTERVALS_MEANT: Final = 5.0
# One gap is not many.
MOST_UNUSUAL: Final = 10.0
# What is missing after one gap may come later.
DOUBTFULLY_UNUSUAL: Final = 3.0


class Moment(NamedTuple):
    """What an event's time says."""

    interval_s: float  # since the vehicle's latest event; NaN where levels begin anew, or the event is outside
    passed_s: float  # the same, also after a gap
    unusual: float  # how unusual that is for the vehicle
    ahead_s: float
    behind_s: float
    is_outside: bool  # it does not enter the history
    is_gap: bool  # levels begin anew


@compiled
def place(clock: Any, rhythms: Any, time_s: float, appended_s: float, gap_s: float, stood: bool) -> Any:
    """Say where an event stands, and follow the vehicle's clock.

    How often a vehicle reports that `stood` all the time is its own affair: many are parked with less.
    """
    lag_s, step_s = appended_s - time_s, time_s - clock.latest_s if clock.events > 0.0 else math.nan
    ahead_s, is_impossible = -lag_s - clock.ahead_s, _is_impossible(time_s, lag_s)
    if abs(lag_s - clock.lag_s) <= ALLOWANCE_S:
        is_impossible = False  # it has been the vehicle's clock for some events
    elif clock.off_s != 0.0 and _is_right(clock, lag_s, is_impossible):
        _set_right(clock, lag_s)
        return Moment(math.nan, math.nan, math.nan, 0.0, 0.0, False, False)
    if ahead_s > ALLOWANCE_S or is_impossible or step_s <= 0.0:
        if not _goes_on(clock, time_s, appended_s):
            is_ahead = ahead_s > ALLOWANCE_S
            behind_s = abs(lag_s) if is_impossible and not is_ahead else 0.0
            return Moment(math.nan, math.nan, math.nan, ahead_s if is_ahead else 0.0, behind_s, True, False)
        _set_wrong(clock, lag_s, step_s)
        return Moment(math.nan, math.nan, math.nan, max(-clock.off_s, 0.0), max(clock.off_s, 0.0), False, False)
    clock.astray_run = 0.0
    rhythm = rhythms[int(clock.state)]
    off_s = _still_said(clock)
    is_gap = step_s > max(gap_s, usual_gap_s(rhythm))
    unusual, interval_s = (math.nan, math.nan) if is_gap else (math.nan if stood else _unusual(rhythm, step_s), step_s)
    return Moment(interval_s, step_s, unusual, max(-off_s, 0.0), max(off_s, 0.0), False, is_gap)


@compiled
def usual_interval_s(rhythm: Any) -> float:
    """Return how often a sender reports; 0 while that is not known."""
    return math.exp(rhythm.log_interval) if rhythm.intervals > 0.0 else 0.0


@compiled
def usual_gap_s(rhythm: Any) -> float:
    """Return the silence that a sender's own rhythm still allows; 0 while that is not known."""
    if rhythm.intervals < FEWEST_INTERVALS:
        return 0.0
    return GAP_INTERVALS * math.exp(rhythm.log_interval + 2.0 * rhythm.spread)


@compiled
def _is_impossible(time_s: float, lag_s: float) -> bool:
    """Say whether nothing can have been measured then, as the log knows; a recording's own times are what they are."""
    if lag_s != lag_s:
        return False
    is_rolled_over = abs(abs(lag_s) - WEEKS_ROLLED_OVER_S) < 86_400.0
    return bool(time_s < EARLIEST_S or abs(lag_s) > LONGEST_LAG_S or is_rolled_over)


@compiled
def _is_right(clock: Any, lag_s: float, is_impossible: bool) -> bool:
    """Say whether a clock that was wrong is right again."""
    if clock.right_lag_s == clock.right_lag_s:
        return bool(abs(lag_s - clock.right_lag_s) <= ALLOWANCE_S)
    return bool(lag_s >= -ALLOWANCE_S and not is_impossible)


@compiled
def _goes_on(clock: Any, time_s: float, appended_s: float) -> bool:
    """Count events that follow each other outside of the history, at the log's pace: a buffer is sent faster."""
    step_s, passed_s = time_s - clock.astray_s, appended_s - clock.astray_appended_s
    follows = clock.astray_run > 0.0 and step_s > 0.0
    if passed_s < step_s / 2.0 or passed_s > 2.0 * step_s + 1.0:
        follows = False
    clock.astray_run = clock.astray_run + 1.0 if follows else 1.0
    clock.astray_s, clock.astray_appended_s = time_s, appended_s
    return bool(clock.astray_run >= ASTRAY_RUN)


@compiled
def _set_wrong(clock: Any, lag_s: float, step_s: float) -> None:
    """Follow a clock that was set, and remember by how much."""
    if clock.right_lag_s != clock.right_lag_s:
        clock.right_lag_s = clock.lag_s if clock.events > 0.0 else math.nan
    off_s = lag_s - clock.right_lag_s if lag_s == lag_s else -step_s
    if off_s != off_s:
        off_s = lag_s
    clock.off_s, clock.off_events, clock.astray_run = off_s, 0.0, 0.0
    clock.lag_s, clock.ahead_s = lag_s, max(-lag_s, 0.0) if lag_s == lag_s else 0.0


@compiled
def _set_right(clock: Any, lag_s: float) -> None:
    clock.right_lag_s, clock.off_s, clock.astray_run = math.nan, 0.0, 0.0
    clock.lag_s, clock.ahead_s = lag_s, max(-lag_s, 0.0)


@compiled
def _still_said(clock: Any) -> float:
    """Return by how much the clock is wrong, as far as that is still news; later it is the vehicle's clock."""
    if clock.off_s == 0.0:
        return 0.0
    clock.off_events += 1.0
    off_s = abs(clock.off_s)
    is_zone = off_s > QUARTER_S / 2 and abs(off_s - QUARTER_S * round(off_s / QUARTER_S)) < ALLOWANCE_S
    said = SAID_EVENTS_OF_A_ZONE if is_zone else SAID_EVENTS
    if clock.off_events >= ACCEPTED_EVENTS:
        clock.right_lag_s, clock.off_s = math.nan, 0.0
    return float(clock.off_s) if clock.off_events < said else 0.0


@compiled
def _unusual(rhythm: Any, interval_s: float) -> float:
    """How unusual an interval is for this vehicle: distance from its mean log interval in its own spread."""
    if not interval_s > 0.0 or rhythm.intervals < FEWEST_INTERVALS:
        return math.nan
    return float((math.log(interval_s) - rhythm.log_interval) / (0.15 + 2.0 * rhythm.spread))


@compiled
def remember(clock: Any, rhythms: Any, time_s: float, appended_s: float, moment: Any) -> None:
    """Let an event's time enter the history."""
    clock.latest_s = time_s
    clock.events += 1.0
    if moment.passed_s > 0.0:
        _remember_interval(rhythms[int(clock.state)], moment.passed_s)
    if moment.unusual == moment.unusual:
        unusual = min(max(moment.unusual, -MOST_UNUSUAL), MOST_UNUSUAL)
        clock.interval_mean += (unusual - clock.interval_mean) / INTERVALS_MEANT
    lag_s = appended_s - time_s
    if lag_s == lag_s:
        _remember_lag(clock, lag_s)


@compiled
def remember_late(clock: Any, moment: Any) -> None:
    """Let what comes late fill a gap: nothing was lost there."""
    if moment.ahead_s == 0.0 and moment.behind_s == 0.0:
        clock.interval_mean -= max(clock.interval_mean, 0.0) / INTERVALS_MEANT


@compiled
def _remember_interval(rhythm: Any, interval_s: float) -> None:
    rhythm.intervals += 1.0
    weight = max(1.0 / rhythm.intervals, 1.0 / RHYTHM_INTERVALS)
    off = math.log(interval_s) - rhythm.log_interval
    if rhythm.intervals <= FEWEST_INTERVALS:
        rhythm.log_interval = math.log(interval_s)
        return
    rhythm.log_interval += weight * min(max(off, -1.0), 1.0)  # an outlier moves it no more than a factor e
    rhythm.spread += weight * (min(abs(off), 1.0) - rhythm.spread)


@compiled
def _remember_lag(clock: Any, lag_s: float) -> None:
    """Follow the usual lag: soon where it falls, and little where something comes late."""
    if clock.lag_s != clock.lag_s or clock.events <= 1.0:
        clock.lag_s = lag_s
        return
    off_s = lag_s - clock.lag_s
    clock.lag_s += off_s / 5.0 if off_s < 0.0 else min(off_s, ALLOWANCE_S) / 30.0
    clock.ahead_s = min(clock.ahead_s, max(-lag_s, 0.0))
