"""One channel's past: how it takes a value, and how it takes that there is none.

Nothing that is far from what was before is believed at once. A value that the next ones do not confirm leaves no trace.
A level that has shifted for good is the new past, and one that is back where it usually is has its old past again.
"""

import math
from typing import Any, Final

import numpy as np

from fleet.detection.compiled import compiled
from fleet.detection.past.records import FEWEST_SPANNED, SPANS_S
from fleet.detection.past.values import FASTEST_CHANGE_MPS2, LONGEST_MOTION_INTERVAL_S

# What happens comes in bursts: so many events tell as much of a rate as one that stands for itself.
VALUES_ALIKE: Final = 10.0
COARSE_VALUES_ALIKE: Final = 20.0
EVENTS_ALIKE: Final = 5.0
LONGEST_MEMORY: Final = 480.0
# In units of the usual step from event to event, or of the channel's resolution.
LARGE_STEP: Final = 6.0
# So many values near each other, far from those before, are a new level; of seldom ones so many.
DOUBTS: Final = 5.0
DOUBTS_OF_SELDOM: Final = 2.0
# Values of the formulas stray no further from their mean than so many resolutions when they enter it.
FARTHEST: Final = 12.0
# A level that has shifted has a new past when its means have drawn together for so many events.
SETTLED_EVENTS: Final = 15.0
SMALLEST_SHIFT: Final = 3.0  # in the units of LARGE_STEP
# Where a level was for so long is where it usually is.
USUAL_AFTER_S: Final = 300.0
# So many values in a row at their usual level mean that it is back.
BACK_EVENTS: Final = 10.0
# What a step or a peak keeps of its height in a second.
FADING_PER_S: Final = 1.0 / 30.0
# All values of a sender may be multiples of one of these.
GRIDS: Final = (25.0, 12.5, 10.0, 5.0, 2.5, 2.0, 1.0, 0.5, 0.25, 0.2, 0.1, 0.05, 0.0)
GRID_TOLERANCE: Final = 2e-3
# Where this share of the values changes, means tell more than single steps.
OFTEN: Final = 0.25
# So small a share of repeats is chance.
CHANCE_REPEATS: Final = 0.03
# So many changes tell a sender's smallest step; by a fiftieth it may grow with each.
CHANGES_TO_TRUST: Final = 8.0
STEP_GROWTH: Final = 1.02


@compiled
def begin_level(past: Any) -> None:
    """Begin the level anew after a gap; what its sender usually does is still known."""
    past.known, past.doubts, past.away_s, past.back, past.settled = 0.0, 0.0, 0.0, 0.0, 0.0
    past.run[0], past.run[1], past.absent[0], past.absent[1] = 0.0, 0.0, 0.0, 0.0
    past.frozen, past.lost, past.stepped = 0.0, 0.0, 0.0


@compiled
def resolution_of(past: Any) -> float:
    """Return the smallest difference that a sender's values show; 0 where they show all."""
    grid = GRIDS[int(past.grid)]
    return max(grid, float(past.least_step)) if past.changes >= CHANGES_TO_TRUST else grid


@compiled
def is_coarse(past: Any) -> bool:
    """Say whether all of a sender's values are multiples of a step."""
    return bool(GRIDS[int(past.grid)] > 0.0)


@compiled
def rare_step(past: Any) -> float:
    """Return the step of a coarse signal that hardly ever moves: one of its own means nothing."""
    rate = min(past.change_rate[0], past.change_rate[1])
    return float(resolution_of(past) * max(0.0, 1.0 - rate / OFTEN))


@compiled
def unit_of(past: Any, resolution: float) -> float:
    """Return the usual step from event to event, or what differences mean nothing below."""
    return max(math.sqrt(past.turn2), resolution, resolution_of(past))


@compiled
def miss(past: Any, state: int, interval_s: float, counts: bool) -> None:
    """Take that an event has no value. It `counts` where most of what usually comes has come."""
    if past.known == 0.0:
        return
    past.silent_s += interval_s if interval_s > 0.0 else 0.0
    if counts and not _is_sent_on_change(past):
        past.lost += _surprise(past.seen_rate[state], past.events[state] / EVENTS_ALIKE, past.absent[state])
    past.absent[state] += 1.0


@compiled
def _is_sent_on_change(past: Any) -> bool:
    """Say whether a coarse value has hardly ever come unchanged: that it does not come tells that it is the same."""
    return bool(is_coarse(past) and past.changes >= 3.0 and past.repeats < past.changes * CHANCE_REPEATS)


@compiled
def take(past: Any, value: float, channel: Any, state: int, interval_s: float, counts: bool, was_asleep: bool) -> None:
    """Take a value. That it did not change `counts` where most of what usually changes has changed.

    A device that `was_asleep` catches up.
    """
    interval_s += past.silent_s
    past.silent_s = 0.0
    _remember_presence(past, state)
    if past.known == 0.0:
        _begin(past, value)
        return
    _remember_change(past, value, state, counts)
    if channel.formula != 0:
        reach = FARTHEST * channel.resolution
        value = min(max(value, past.mean30 - reach), past.mean30 + reach) if reach > 0.0 else value
    elif not _is_believed(past, value, channel, interval_s, was_asleep):
        return
    past.known += 1.0
    if past.known > 1.0:
        _remember_step(past, value, channel.resolution, interval_s)
    else:
        past.mean5 = past.mean30 = past.mean120 = past.mean480 = value
    past.previous, apart_before = value, abs(past.mean5 - past.mean30)
    _move_means(past, value, interval_s)
    if channel.resolution > 0.0:
        _settle(past, apart_before, channel.resolution)
        _follow_usual(past, value, channel.resolution, interval_s)


@compiled
def _begin(past: Any, value: float) -> None:
    is_new = past.events[0] + past.events[1] <= 1.0
    past.known, past.previous = 1.0, value
    past.mean5 = past.mean30 = past.mean120 = past.mean480 = past.usual = value
    past.peak, past.turn2, past.step = value, 0.0, 0.0
    if is_new:
        past.grid, past.least_step = _coarsest_grid(0, value, value), 0.0


# --- Change and presence --------------------------------------------------------------------------------------------


@compiled
def _remember_presence(past: Any, state: int) -> None:
    for s in range(2):
        happened = 1.0 if s == state else 0.0
        past.seen_rate[s] = _rate_after(past.seen_rate[s], past.events[s], past.absent[s], happened)
        past.events[s] = min(past.events[s] + past.absent[s] + happened, LONGEST_MEMORY)
        past.absent[s] = 0.0
    past.lost = 0.0


@compiled
def _remember_change(past: Any, value: float, state: int, counts: bool) -> None:
    if value == past.previous:
        if counts:
            alike = COARSE_VALUES_ALIKE if is_coarse(past) else VALUES_ALIKE
            past.frozen += _surprise(past.change_rate[state], past.values[state] / alike, past.run[state])
        past.run[state] += 1.0
        past.repeats += 1.0
        return
    for s in range(2):
        happened = 1.0 if s == state else 0.0
        past.change_rate[s] = _rate_after(past.change_rate[s], past.values[s], past.run[s], happened)
        past.values[s] = min(past.values[s] + past.run[s] + happened, LONGEST_MEMORY)
        past.run[s] = 0.0
    past.frozen = 0.0
    _remember_resolution(past, value)


@compiled
def _remember_resolution(past: Any, value: float) -> None:
    step = abs(value - past.previous)
    past.grid = _coarsest_grid(int(past.grid), value, past.previous)
    past.changes += 1.0
    if step > 1e-6 * abs(value):
        past.least_step = min(past.least_step * STEP_GROWTH, step) if past.least_step > 0.0 else step


@compiled
def _coarsest_grid(first: int, value: float, other: float) -> float:
    """Return the index of the coarsest grid, from `first` on, that holds both values."""
    for g in range(first, len(GRIDS) - 1):
        cells, others = value / GRIDS[g], other / GRIDS[g]
        if abs(cells - np.rint(cells)) < GRID_TOLERANCE and abs(others - np.rint(others)) < GRID_TOLERANCE:
            return float(g)
    return float(len(GRIDS) - 1)


@compiled
def _rate_after(rate: float, events: float, run: float, happened: float) -> float:
    """Return the share of events at which something happens, after `run` without it and perhaps one with it."""
    return (rate * events + happened) / max(events + run + happened, 1.0)


@compiled
def _surprise(rate: float, seen: float, run: float) -> float:
    """Return how surprising it is, in nats, that something does not happen, after `run` events at which it did not.

    The predictive probability of a Beta-Bernoulli model (Laplace's rule of succession): it knows how little it knows.
    """
    return float(math.log((seen + 2.0 + run) / (seen * (1.0 - rate) + 1.0 + run)))


# --- Level ----------------------------------------------------------------------------------------------------------


@compiled
def _is_believed(past: Any, value: float, channel: Any, interval_s: float, was_asleep: bool) -> bool:
    """Say whether a value enters the means now; a new level, once confirmed, begins them anew."""
    step, unit = abs(value - past.previous), unit_of(past, channel.resolution)
    if was_asleep and step > unit:
        _restart(past, 0.0)
        return True
    can_move = FASTEST_CHANGE_MPS2 * interval_s  # of a speed; of anything else its unit says nothing
    if (
        unit == 0.0
        or past.known < DOUBTS
        or step <= LARGE_STEP * unit
        or 0.0 < step * channel.metres_per_second <= can_move
    ):
        past.doubts = 0.0
        return True
    was_away = abs(past.previous - past.usual) > LARGE_STEP * unit
    is_back = was_away and abs(value - past.usual) <= SMALLEST_SHIFT * unit
    if is_back:
        _restart(past, 0.0)
        return True
    goes_on = (value - past.doubt) * (past.doubt - past.previous) > 0.0
    is_near = abs(value - past.doubt) <= LARGE_STEP * unit
    past.doubts = past.doubts + 1.0 if past.doubts > 0.0 and (is_near or goes_on) else 1.0
    if past.doubts == 1.0:
        past.leap = leap_of(past, value, interval_s)
    past.doubt = value
    if interval_s <= LONGEST_MOTION_INTERVAL_S:
        if past.doubts < DOUBTS:
            return False
        if is_near:
            _restart(past, past.leap)
    elif past.doubts < DOUBTS_OF_SELDOM:
        return False
    past.doubts = 0.0
    return True


@compiled
def leap_of(past: Any, value: float, interval_s: float) -> float:
    """Return how far a value is from the one before, in what a second may explain."""
    beyond = max(abs(value - past.previous) - resolution_of(past), 0.0)
    return float(beyond / math.sqrt(max(interval_s, 1.0)))


@compiled
def _restart(past: Any, stepped: float) -> None:
    past.known, past.doubts, past.stepped, past.settled = 0.0, 0.0, stepped, 0.0


@compiled
def _remember_step(past: Any, value: float, resolution: float, interval_s: float) -> None:
    step = value - past.previous
    kept = math.exp(-min(interval_s, 60.0) * FADING_PER_S) if interval_s > 0.0 else 1.0
    is_step = interval_s <= LONGEST_MOTION_INTERVAL_S
    past.stepped = max(past.stepped * kept, leap_of(past, value, interval_s) if is_step else 0.0)
    past.peak = max(past.peak * kept, value)
    # Seldom values differ by more, as a random walk's do.
    walked = math.sqrt(max(interval_s, 1.0)) if interval_s > 0.0 else 1.0
    turn = max(abs(step - past.step) - 2.0 * rare_step(past), 0.0) / walked
    turn = min(turn, LARGE_STEP * max(math.sqrt(past.turn2), resolution)) if past.known > DOUBTS else turn
    past.turn2 += max(1.0 / (past.known - 1.0), 1.0 / 30.0) * (turn * turn - past.turn2)
    past.step = step


@compiled
def _move_means(past: Any, value: float, interval_s: float) -> None:
    past.mean5 += weight(past.known, interval_s, 0) * (value - past.mean5)
    past.mean30 += weight(past.known, interval_s, 1) * (value - past.mean30)
    past.mean120 += weight(past.known, interval_s, 2) * (value - past.mean120)
    past.mean480 += weight(past.known, interval_s, 3) * (value - past.mean480)


@compiled
def weight(known: float, interval_s: float, span: int) -> float:
    """Return what a value weighs in a mean over `SPANS_S[span]`: the plain mean until it has seen that much."""
    own = min(interval_s / SPANS_S[span], 1.0 / FEWEST_SPANNED[span]) if interval_s > 0.0 else 1.0 / SPANS_S[span]
    return max(1.0 / known, own)


@compiled
def _settle(past: Any, apart_before: float, resolution: float) -> None:
    """Take a level that has shifted for the new past, once it stays where it is: the means then draw together.

    While a level still moves steadily, they stay apart.
    """
    apart = abs(past.mean5 - past.mean30)
    shift = max(apart_before, abs(past.mean30 - past.mean120))
    if shift <= SMALLEST_SHIFT * unit_of(past, resolution):
        past.settled = 0.0
        return
    past.settled = past.settled + 1.0 if apart < apart_before or apart < resolution else max(past.settled - 2.0, 0.0)
    if past.settled >= SETTLED_EVENTS:
        past.mean30 = past.mean120 = past.mean480 = past.mean5
        past.settled = 0.0


@compiled
def _follow_usual(past: Any, value: float, resolution: float, interval_s: float) -> None:
    """Follow where the level usually is, little by what is far from it; and see when it is back."""
    passed_s = min(interval_s, 60.0) if interval_s > 0.0 else 0.0
    reach = SMALLEST_SHIFT * unit_of(past, resolution)
    past.usual += min(max(past.mean30 - past.usual, -reach), reach) * passed_s / SPANS_S[3]
    if abs(value - past.usual) > reach:
        past.back = 0.0
        past.away_s += passed_s
        if past.away_s >= USUAL_AFTER_S and abs(past.mean5 - past.mean30) <= reach / SMALLEST_SHIFT:
            past.usual, past.away_s = past.mean30, 0.0
        return
    past.back += 1.0
    if past.back >= BACK_EVENTS:
        past.away_s = 0.0
        if abs(past.mean120 - past.usual) > reach or abs(past.mean30 - past.usual) > reach:
            past.mean30 = past.mean120 = past.mean480 = past.mean5
