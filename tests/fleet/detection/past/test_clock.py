"""Late is not wrong, and a clock that is wrong is said once; how often a vehicle reports is its own affair."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from fleet.detection.past.clock import (
    ASTRAY_RUN,
    FEWEST_INTERVALS,
    QUARTER_S,
    SAID_EVENTS,
    SAID_EVENTS_OF_A_ZONE,
    WEEKS_ROLLED_OVER_S,
)
from fleet.detection.windows import WindowedBlock
from tests.fleet.detection.windows_harness import ONE, START_S, column, of_one

COUNT, CHANGE = 400, 100
RIGHT_S = START_S + np.arange(float(COUNT))
LAG_S = 0.2
FEW = int(ASTRAY_RUN)
ZONE_EVENTS, SHIFT_EVENTS = int(SAID_EVENTS_OF_A_ZONE), int(SAID_EVENTS)


class Heard(NamedTuple):
    """What events' times said."""

    block: WindowedBlock
    ahead_s: Any
    behind_s: Any
    unusual: Any
    history: Any

    @property
    def wrong(self) -> list[int]:
        """Events at which the clock was said to be wrong."""
        return np.flatnonzero((self.ahead_s > 0) | (self.behind_s > 0)).tolist()


def heard(time_s: Any, appended_s: Any = None) -> Heard:
    """Push events with a signal that is never the same twice."""
    time_s = np.asarray(time_s)
    block = of_one(ONE, time_s, appended_s, x=50 + np.sin(np.arange(len(time_s))))
    ahead, behind, unusual, history = (column(block, name, ONE) for name in ("ahead", "behind", "interval", "history"))
    return Heard(block, np.expm1(ahead), np.expm1(behind), unusual, np.round(np.expm1(history)))


def skewed(by_s: float, begin: int = CHANGE, end: int = COUNT) -> Any:
    """Return the times of a sender whose clock is wrong from one event to another."""
    numbers = np.arange(COUNT)
    return RIGHT_S + np.where((numbers >= begin) & (numbers < end), by_s, 0.0)


# A clock that is wrong -----------------------------------------------------------------------------------------------


def test_a_clock_that_is_right_says_nothing():
    usual = heard(RIGHT_S, RIGHT_S + LAG_S)
    assert usual.wrong == []
    assert usual.block.warming_up.tolist() == [True] + [False] * (COUNT - 1)
    assert not usual.block.is_doubtful.any()


def test_a_clock_that_starts_in_1970_is_wrong_until_it_is_set_and_not_after():
    times = RIGHT_S.copy()
    times[:FEW] = np.arange(float(FEW))
    begun = heard(times, RIGHT_S + LAG_S)
    assert begun.wrong == [*range(FEW)]
    assert begun.block.warming_up[FEW]
    assert not begun.block.warming_up[FEW + 1 :].any()


@pytest.mark.parametrize(
    ("by_s", "said"),
    [(-3600.0, ZONE_EVENTS), (-2 * QUARTER_S, ZONE_EVENTS), (-47.0, SHIFT_EVENTS)],
    ids=["the hour of autumn", "half an hour", "47 s"],
)
def test_a_clock_that_is_set_back_is_said_for_a_while_and_is_then_the_vehicles(by_s, said):
    set_back = heard(skewed(by_s), RIGHT_S + LAG_S)
    known = CHANGE + FEW - 1  # a few events might just be late
    assert set_back.wrong == [*range(known, known + said)]
    assert set_back.behind_s[known:].max() == pytest.approx(-by_s, abs=0.5)
    assert set_back.block.warming_up.nonzero()[0].tolist() == [0, *range(CHANGE, known + 1)]
    assert (set_back.ahead_s == 0).all()


@pytest.mark.parametrize(
    ("by_s", "said"), [(3600.0, ZONE_EVENTS), (47.0, SHIFT_EVENTS)], ids=["the hour of spring", "47 s"]
)
def test_a_clock_that_is_set_forward_is_ahead_of_the_log_at_once(by_s, said):
    set_forward = heard(skewed(by_s), RIGHT_S + LAG_S)
    assert set_forward.wrong == [*range(CHANGE, CHANGE + FEW - 1 + said)]
    assert set_forward.ahead_s[CHANGE:].max() == pytest.approx(by_s, abs=0.5)
    assert (set_forward.behind_s == 0).all()


@pytest.mark.parametrize("by_s", [-3600.0, -47.0, 47.0, 3600.0])
def test_a_clock_that_is_right_again_says_nothing_more(by_s):
    end = CHANGE + 200
    again = heard(skewed(by_s, end=end), RIGHT_S + LAG_S)
    assert again.wrong[-1] < end
    assert again.block.warming_up[end], "the time from a wrong event to a right one is no interval"
    assert not again.block.warming_up[end + 1 :].any()
    assert np.nanmax(again.unusual) < 1.0


@pytest.mark.parametrize("by_s", [-10_000.0, 10_000.0, -1.69e9, 4e9, -WEEKS_ROLLED_OVER_S])
def test_one_wrong_time_costs_one_event(by_s):
    once = heard(skewed(by_s, end=CHANGE + 1), RIGHT_S + LAG_S)
    assert set(once.wrong) <= {CHANGE}
    assert once.block.warming_up.nonzero()[0].tolist() == [0, CHANGE]
    assert once.block.is_doubtful[CHANGE]
    assert once.history[-1] == COUNT - 1


def test_a_receiver_whose_weeks_have_rolled_over_is_behind():
    rolled = heard(RIGHT_S - WEEKS_ROLLED_OVER_S, RIGHT_S + LAG_S)
    assert rolled.wrong[0] == 0
    assert len(rolled.wrong) < 2 * SHIFT_EVENTS
    assert not rolled.block.warming_up[FEW:].any()


def test_a_recordings_own_times_are_what_they_are():
    recorded = heard(np.arange(float(COUNT)))
    assert recorded.wrong == []
    assert not recorded.block.warming_up[1:].any()


# Late events ---------------------------------------------------------------------------------------------------------

BUFFERED = slice(CHANGE, CHANGE + 60)


def arrived(order: Any, at_s: Any) -> Heard:
    """Push events in the order of their arrival."""
    return heard(RIGHT_S[np.asarray(order)], np.asarray(at_s))


def test_a_stretch_that_was_buffered_and_comes_in_order_is_as_good_as_any():
    at_s = RIGHT_S + LAG_S
    at_s[BUFFERED] = at_s[BUFFERED.stop] + 0.001 * np.arange(60)
    buffered = arrived(np.arange(COUNT), at_s)
    assert buffered.wrong == []
    assert not buffered.block.warming_up[1:].any()


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_stretch_that_comes_after_later_events_is_no_wrong_clock(newest_first):
    late = np.arange(COUNT)[BUFFERED][:: -1 if newest_first else 1]
    before, live = np.arange(BUFFERED.start), np.arange(BUFFERED.stop, COUNT)
    meanwhile = 40
    order = np.concatenate([before, live[:meanwhile], late, live[meanwhile:]])
    at_s = RIGHT_S[order] + LAG_S
    burst = np.isin(order, late)
    at_s[burst] = RIGHT_S[live[meanwhile - 1]] + 0.3 + 0.001 * np.arange(60)
    found = arrived(order, at_s)
    assert found.wrong == []
    without_past = burst.nonzero()[0].tolist() if newest_first else []
    assert found.block.warming_up.nonzero()[0].tolist() == [0, *without_past]
    assert found.history[-1] == COUNT - 60


def test_late_events_between_live_ones_are_no_wrong_clock():
    late, live = np.arange(COUNT)[BUFFERED], np.arange(BUFFERED.stop, COUNT)
    mixed = np.stack([live[:60], late], axis=1).ravel()
    order = np.concatenate([np.arange(BUFFERED.start), mixed, live[60:]])
    at_s = RIGHT_S[order] + LAG_S
    at_s[np.isin(order, late)] = RIGHT_S[live[:60]] + 0.5
    found = arrived(order, at_s)
    assert found.wrong == []
    assert not found.block.warming_up[1:].any()


@pytest.mark.parametrize("pace", [1, 5, 60])
@pytest.mark.parametrize("interval_s", [1.0, 10.0])
def test_a_replay_at_a_higher_pace_is_no_clock_set_forward(pace, interval_s):
    rng = np.random.default_rng(pace)
    drive_s = interval_s * np.arange(400.0)
    replayed = heard(1.6e9 + drive_s, START_S + drive_s / pace + rng.uniform(0.02, 0.3, 400))
    assert replayed.wrong == []


# Rhythm --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval_s", [0.02, 1.0, 60.0, 300.0, 900.0])
def test_whoever_reports_regularly_has_a_history(interval_s):
    regular = heard(START_S + interval_s * np.arange(60.0), START_S + interval_s * np.arange(60.0) + LAG_S)
    assert not regular.block.warming_up[int(FEWEST_INTERVALS) + 1 :].any()
    assert regular.block.usual_interval_s[-1] == pytest.approx(interval_s, rel=0.01)
    assert np.nanmax(np.abs(regular.unusual)) < 0.1


def test_an_interval_is_unknown_before_there_is_one():
    assert heard([START_S]).block.usual_interval_s.tolist() == [0.0]


def test_a_silence_is_a_gap_by_the_senders_own_rhythm():
    often = heard(START_S + np.array([*range(60), 59.0 + 200.0]))
    assert often.block.warming_up[-1]
    seldom = heard(START_S + np.array([*(300.0 * np.arange(60)), 300.0 * 59 + 600.0]))
    assert not seldom.block.warming_up[-1]


def test_lost_messages_are_an_unusual_interval():
    lossy = heard(START_S + np.array([*range(60), 70, 71, 72, 73, 74]))
    assert np.nanmax(np.abs(lossy.unusual[:60])) < 0.1
    assert lossy.unusual[60] > 5
    assert lossy.block.is_doubtful.nonzero()[0].tolist() == [60], "what is missing may still come"
    assert column(lossy.block, "interval_mean", ONE)[61] > 1
    assert column(lossy.block, "interval_mean", ONE)[64] > 0.5, "what comes in time fills no gap"


def test_what_comes_late_fills_the_gap_that_it_left():
    order = np.array([*range(60), 90, *range(89, 59, -1), 91])
    filled = column(heard(START_S + order, START_S + 100.0 + np.arange(len(order))).block, "interval_mean", ONE)
    lost = column(heard(START_S + np.array([*range(60), 90, 91])).block, "interval_mean", ONE)
    assert lost[-1] > 1
    assert abs(filled[-1]) < 0.1


def test_a_rhythm_that_jitters_is_not_unusual():
    rng = np.random.default_rng(3)
    jittered = heard(START_S + np.cumsum(rng.uniform(0.5, 2.0, COUNT)))
    assert np.nanmax(jittered.unusual[20:]) < 3


def test_the_time_since_the_event_before_is_told():
    block = heard(START_S + np.array([0.0, 2.0])).block
    assert column(block, "log_interval", ONE)[1] == pytest.approx(math.log(2.0))
