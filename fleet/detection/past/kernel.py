"""The loop over events: what an event's time says, its values, its features; then the past with the event."""

import math
from typing import Any, Final

import numpy as np

from fleet.detection.compiled import compiled
from fleet.detection.past import answer, clock, lateness, memory, values
from fleet.detection.past.records import FITTED, MOVES, RECENT, STANDS, Answers, Events, KernelPlan, Vehicles

# That a value has not changed, or not come, counts where this share of what usually does has.
SHARE_THAT_CHANGED: Final = 0.5
SHARE_THAT_CAME: Final = 0.2
# A vehicle that stood for so many events while at most a drifting position or a charge changed was asleep.
ASLEEP_AFTER: Final = 10.0
# What firmware sends where there is no sensor, beside the ends of a signal's range.
FILLINGS: Final = (-40.0, 215.0, 255.0, 65_535.0)
FILLINGS_IN_A_REQUEST: Final = 3
# Together with the time they tell events apart; any irrational factors would do.
_TIME_FACTOR: Final = 1.618033988749895
_SIGNAL_FACTOR: Final = 0.7548776662466927


def advance(plan: KernelPlan, events: Events, vehicles: Vehicles, answers: Answers) -> None:
    """Take N events one after the other."""
    # numba asks Python for the type of a named tuple at every call; that of a plain one it knows.
    _advance_plain(tuple(plan), tuple(events), tuple(vehicles), tuple(answers))


@compiled
def _advance_plain(plan: Any, events: Any, vehicles: Any, answers: Any) -> None:
    _advance(KernelPlan(*plan), Events(*events), Vehicles(*vehicles), Answers(*answers))


@compiled
def _advance(plan: Any, events: Any, vehicles: Any, answers: Any) -> None:
    found, now = np.empty(len(plan.channels)), np.empty(len(plan.fields))
    for i in range(len(events.rows)):
        row, time_s, appended_s = events.rows[i], events.time_s[i], events.appended_s[i]
        vehicle = vehicles.clocks[row]
        if vehicle.received == 0.0:
            _begin(vehicle)
        _read_fitted(plan.fields, events.signals[i], appended_s == appended_s, vehicles.fillings[row], now)
        is_repeat = _was_sent_before(vehicle, vehicles.fingerprints[row], time_s, now)
        past = lateness.row_to_go_on_from(vehicles, row, time_s, appended_s, plan.late_horizon_s)
        own, rhythms, memories = vehicles.clocks[past], vehicles.rhythms[past], vehicles.memories[past]
        before, state = vehicles.signals[past], _state(plan, own, now)
        if is_repeat:
            moment = clock.Moment(math.nan, math.nan, math.nan, 0.0, 0.0, True, False)
        else:
            stood = own.state == STANDS and state == STANDS
            moment = clock.place(own, rhythms, time_s, appended_s, plan.gap_s, stood)
        _count(vehicle, time_s, moment, is_repeat)
        if lateness.is_long(moment.passed_s, clock.usual_interval_s(rhythms[int(own.state)])) and past == row:
            lateness.keep(vehicles, events.free_rows, answers.rows_taken, row, time_s)
        if moment.is_gap:
            _begin_levels(own, memories)
        answers.repeats[i] = is_repeat
        values.read(plan.channels, own, now, before, moment.interval_s, found)
        if (moment.is_outside or past != row) and not is_repeat:
            clock.remember_late(vehicle, moment)
        if not moment.is_outside:
            clock.remember(own, rhythms, time_s, appended_s, moment)
            _remember(plan, own, memories, found, state, moment.interval_s)
            own.state = state
            before[:] = now
        _answer(plan, own, rhythms[int(own.state)], memories, found, moment, i, answers)


@compiled
def _answer(plan: Any, own: Any, rhythm: Any, memories: Any, found: Any, moment: Any, i: int, answers: Any) -> None:
    usual_s = clock.usual_interval_s(rhythm)
    answers.warming_up[i] = moment.interval_s != moment.interval_s
    answers.usual_interval_s[i] = usual_s
    answers.stands[i] = own.state == STANDS
    answers.is_doubtful[i] = _is_doubtful(own, memories, moment)
    known_s = usual_s if rhythm.intervals >= clock.FEWEST_INTERVALS else 1.0
    answer.answer(plan, own, known_s, memories, found, moment, answers.features[i])


@compiled
def _begin(own: Any) -> None:
    own.lag_s, own.right_lag_s = math.nan, math.nan


@compiled
def _count(vehicle: Any, time_s: float, moment: Any, is_repeat: bool) -> None:
    """Count what a vehicle sends, and what of it was sent before or comes late."""
    vehicle.received += 1.0
    if is_repeat:
        vehicle.repeats += 1.0
    elif vehicle.events > 0.0 and time_s < vehicle.latest_s and moment.ahead_s == 0.0 and moment.behind_s == 0.0:
        vehicle.late += 1.0


@compiled
def _begin_levels(own: Any, memories: Any) -> None:
    own.events, own.interval_mean, own.jump_events = 0.0, 0.0, 0.0
    for m in range(len(memories)):
        memory.begin_level(memories[m])


@compiled
def _read_fitted(fields: Any, signals: Any, is_live: bool, fillings: Any, now: Any) -> None:
    """Copy an event's signals; one that has only ever been the firmware's filling is not there.

    Live, at once; without a log, as in a request, some events have to say so.
    """
    for s in range(len(fields)):
        now[s] = signals[s]
        if fillings[s] == FITTED or signals[s] != signals[s]:
            continue
        if not _is_filling(fields[s], signals[s]):
            fillings[s] = FITTED
            continue
        fillings[s] = min(fillings[s] + 1, FITTED - 1)
        if is_live or fillings[s] > FILLINGS_IN_A_REQUEST:
            now[s] = math.nan


@compiled
def _is_filling(field: Any, value: float) -> bool:
    if field.lowest != field.lowest:
        return False
    return bool(value == field.lowest or value == field.highest or value in FILLINGS)


@compiled
def _fingerprint(time_s: float, now: Any) -> Any:
    mark = time_s * _TIME_FACTOR
    for s in range(len(now)):
        mark += now[s] * _SIGNAL_FACTOR * (s + 1.0) if now[s] == now[s] else 0.5 * s
    return np.float32(mark - math.floor(mark))


@compiled
def _may_repeat(own: Any, time_s: float) -> bool:
    """Say whether an event can have come before: it is late, or one like it has stayed outside of the history."""
    return bool((own.events > 0.0 and time_s <= own.latest_s) or time_s == own.astray_s)


@compiled
def _was_sent_before(own: Any, fingerprints: Any, time_s: float, now: Any) -> bool:
    """Say whether an event is one of the latest again, and remember it if not."""
    mark = _fingerprint(time_s, now)
    if _may_repeat(own, time_s):
        for f in range(RECENT):
            if fingerprints[f] == mark:
                return True
    place = int(own.recent)
    fingerprints[place] = mark
    own.recent = (place + 1.0) % RECENT
    return False


@compiled
def _is_doubtful(own: Any, memories: Any, moment: Any) -> bool:
    if moment.is_outside or moment.unusual > clock.DOUBTFULLY_UNUSUAL or own.jump_events == values.JUMP_EVENTS:
        return True
    for m in range(len(memories)):  # noqa: SIM110 - numba compiles no generator
        if memories[m].doubts > 0.0:
            return True
    return False


@compiled
def _state(plan: Any, own: Any, now: Any) -> int:
    """Say whether the vehicle stands; what is not said is as before."""
    speed = now[plan.motion] if plan.motion >= 0 else math.nan
    if speed != speed:
        return int(own.state)
    return STANDS if abs(speed) < plan.standstill else MOVES


@compiled
def _remember(plan: Any, own: Any, memories: Any, found: Any, state: int, interval_s: float) -> None:
    channels = plan.channels
    changed, usually_changed, came, usually_came, counted = _in_common(channels, memories, found, state)
    was_asleep = own.asleep >= ASLEEP_AFTER
    own.asleep = own.asleep + 1.0 if state == STANDS and changed <= 1.0 and counted > 2.0 else 0.0
    for c in range(len(channels)):
        channel = channels[c]
        if channel.memory < 0:
            continue
        past, value = memories[channel.memory], found[c]
        if value != value:
            rest = usually_came - past.seen_rate[state] * (channel.formula == 0)
            memory.miss(past, state, interval_s, counted <= 1.0 or (came > 0.0 and came >= SHARE_THAT_CAME * rest))
            continue
        has_changed = value != past.previous
        rest = usually_changed - past.change_rate[state] * (channel.formula == 0)
        others = changed - 1.0 if has_changed and channel.formula == 0 else changed
        counts = counted <= 1.0 or (others > 0.0 and others >= SHARE_THAT_CHANGED * rest)
        if state == STANDS and channel.formula == 0 and channel.first == plan.motion:
            counts = False  # a vehicle may stand for as long as it likes; that it moves all the same its positions say
        memory.take(past, value, channel, state, interval_s, counts, was_asleep)


@compiled
def _in_common(channels: Any, memories: Any, found: Any, state: int) -> Any:
    """Count the fields that have changed and come, and how many usually do."""
    changed, usually_changed, came, usually_came, counted = 0.0, 0.0, 0.0, 0.0, 0.0
    for c in range(len(channels)):
        if channels[c].memory < 0 or channels[c].formula != 0:
            continue
        past, value = memories[channels[c].memory], found[c]
        if past.known == 0.0:
            continue
        counted += 1.0
        usually_came += past.seen_rate[state]
        if value == value:
            came += 1.0
            usually_changed += past.change_rate[state]
            changed += 1.0 if value != past.previous else 0.0
    return changed, usually_changed, came, usually_came, counted
