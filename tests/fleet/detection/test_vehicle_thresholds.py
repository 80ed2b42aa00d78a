"""A vehicle that complains is believed less, one that is calm a little more, and a fault is one, however long."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.vehicle_thresholds import CALM_S, HIGHEST, LOWEST, STEP, WANTED_PER_HOUR, VehicleThresholds
from fleet.detection.verdicts import severity
from fleet.records.scored import Verdicts

SHARED = 3.0
HOUR_S = 3600.0


def verdicts_on(errors) -> Verdicts:
    """Return what `judge` says: a cause wherever the lowest threshold would alarm."""
    error = np.asarray(errors, np.float64)
    is_anomaly = error > SHARED
    causes = ["overspeed" if one > SHARED + LOWEST else None for one in error.tolist()]
    return Verdicts(
        error,
        is_anomaly,
        severity(error, SHARED),
        causes,
        [{}] * len(error),
        np.full(len(error), SHARED),
        [None] * len(error),
    )


def judged(thresholds: VehicleThresholds, errors, now_s, ids=None, counted=None) -> Verdicts:
    count = len(errors)
    counts = np.ones(count, bool) if counted is None else np.asarray(counted)
    return thresholds.corrected(verdicts_on(errors), SHARED, ids or ["v"] * count, np.asarray(now_s, float), counts)


def test_an_ordinary_block_is_left_as_it_is():
    block = verdicts_on([0.0, 1.0, 2.0])
    assert VehicleThresholds().corrected(block, SHARED, ["v"] * 3, np.zeros(3), np.ones(3, bool)) is block


def test_a_vehicle_that_complains_every_hour_quietens():
    thresholds = VehicleThresholds()
    alarms = judged(thresholds, [3.3] * 24, np.arange(24) * HOUR_S)
    assert alarms.is_anomaly[:2].all()
    assert alarms.is_anomaly[2:].mean() < 0.2
    quiet = np.flatnonzero(~alarms.is_anomaly)
    assert [alarms.causes[row] for row in quiet] == [None] * len(quiet)
    assert (alarms.severity[quiet] <= 0.5).all()
    assert (alarms.threshold[quiet] >= 3.3).all()


def test_what_is_far_beyond_alarms_however_often():
    alarms = judged(VehicleThresholds(), [SHARED + HIGHEST + 0.1] * 100, np.arange(100) * HOUR_S)
    assert alarms.is_anomaly.all()


def test_a_slow_fault_is_not_learnt_away():
    seconds = np.arange(0.0, 4 * HOUR_S, 10.0)
    alarms = judged(VehicleThresholds(), np.full(len(seconds), SHARED + 0.05), seconds)
    assert alarms.is_anomaly.all(), "one alarm after calm, whatever its length"


def test_a_calm_vehicle_sharpens_and_no_further_than_to_the_bound():
    thresholds = VehicleThresholds()
    judged(thresholds, [5.0], [0.0])
    quiet_s = (STEP - LOWEST) / (STEP * WANTED_PER_HOUR) * HOUR_S
    later = judged(thresholds, [SHARED + LOWEST + 0.01, SHARED + LOWEST - 0.01], [quiet_s, 10 * quiet_s])
    assert later.is_anomaly.tolist() == [True, False]
    assert later.causes == ["overspeed", None]


def test_what_tells_nothing_is_judged_and_changes_nothing():
    thresholds = VehicleThresholds()
    repeats = judged(thresholds, [5.0, 5.0], [0.0, HOUR_S], counted=[False, False])
    assert repeats.is_anomaly.all()
    assert len(thresholds) == 0


def test_those_that_alarmed_longest_ago_are_forgotten():
    thresholds = VehicleThresholds(max_vehicles=2)
    judged(thresholds, [5.0] * 4, [0.0, 1.0, 2.0, 3.0], ids=["a", "b", "a", "c"])
    assert len(thresholds) == 2
    again = judged(thresholds, [3.1] * 3, [2 * CALM_S] * 3, ids=["a", "b", "c"])
    assert again.is_anomaly.tolist() == [False, True, False]


EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 6), st.floats(0, 2 * CALM_S), st.booleans()), max_size=40
)


@given(EVENTS, st.lists(st.integers(0, 40), max_size=4), st.integers(0, 40))
def test_blocks_and_restarts_change_nothing(events, cuts, restart):
    ids, errors, steps, counted = map(list, zip(*events, strict=True)) if events else ([], [], [], [])
    now_s = np.cumsum([*steps]) if steps else np.zeros(0)
    whole = judged(VehicleThresholds(), errors, now_s, ids, np.array(counted, bool))
    thresholds, parts = VehicleThresholds(), []
    edges = sorted({0, len(events), *(min(cut, len(events)) for cut in (*cuts, restart))})
    for begin, end in itertools.pairwise(edges):
        rows = slice(begin, end)
        if begin == restart:  # what came before is known from a snapshot, and from verdicts that stand
            thresholds = VehicleThresholds()
            halfway = begin // 2
            before = VehicleThresholds()
            judged(before, errors[:halfway], now_s[:halfway], ids[:halfway], np.array(counted[:halfway], bool))
            thresholds.restore(before.snapshot())
            stood = whole.is_anomaly[halfway:begin] & np.array(counted[halfway:begin], bool)
            thresholds.follow(ids[halfway:begin], now_s[halfway:begin], stood)
        parts.append(judged(thresholds, errors[rows], now_s[rows], ids[rows], np.array(counted[rows], bool)))
    for name in ("is_anomaly", "severity", "threshold"):
        found = np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0)
        np.testing.assert_array_equal(found, getattr(whole, name))
