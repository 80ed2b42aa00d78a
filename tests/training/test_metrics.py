import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import (
    ORDINARY,
    Stretches,
    average_precision,
    detection_delays,
    event_recall,
    excused,
    false_alarm_rate,
    false_episodes_per_hour,
    find_stretches,
    median_delay_s,
    ordinary_hours,
    precision_recall_curve,
    recall_at_rate,
    roc_auc,
    roc_curve,
    rows_to_ignore,
    share_after,
    vus_pr,
    wilson_interval,
)

SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({positive for _, positive in pairs}) == 2
)


def _columns(pairs):
    return np.array([float(s) for s, _ in pairs]), np.array([p for _, p in pairs])


@given(SCORED)
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    score, positive = _columns(pairs)
    apart = score[positive][:, None] - score[~positive][None, :]
    assert roc_auc(score, positive) == pytest.approx(((apart > 0) + 0.5 * (apart == 0)).mean())


@given(SCORED)
def test_roc_auc_is_the_area_under_its_curve(pairs):
    score, positive = _columns(pairs)
    false, true = roc_curve(score, positive)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc(score, positive))


@given(SCORED)
def test_average_precision_sums_precision_over_gained_recall(pairs):
    score, positive = _columns(pairs)
    expected, before = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        alarm = score >= threshold
        recall = positive[alarm].sum() / positive.sum()
        expected += (recall - before) * positive[alarm].mean()
        before = recall
    assert average_precision(score, positive) == pytest.approx(expected)


@given(SCORED, st.integers(0, 100).map(lambda percent: percent / 100))
def test_recall_at_rate_is_the_best_that_any_threshold_reaches_within_the_rate(pairs, rate):
    score, positive = _columns(pairs)
    best = 0.0
    for threshold in [*sorted(set(score.tolist())), np.inf]:
        alarm = score >= threshold
        if alarm[~positive].mean() <= rate + 1e-9:
            best = max(best, alarm[positive].mean())
    assert recall_at_rate(score, positive, rate) == pytest.approx(best)


@given(SCORED, st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=10))
def test_measures_of_rows_leave_out_ignored_ones(pairs, ignored):
    score, positive = _columns(pairs)
    more, more_positive = _columns([*pairs, *ignored])
    ignore = np.arange(len(more)) >= len(score)
    for measure in (roc_auc, average_precision, lambda s, p, i: recall_at_rate(s, p, 0.1, i)):
        assert measure(more, more_positive, ignore) == measure(score, positive, None)
    assert false_alarm_rate(more > 3, more_positive, ignore) == false_alarm_rate(score > 3, positive)


def test_measures_without_positives_are_unknown():
    score, positive = np.arange(3.0), np.zeros(3, bool)
    assert np.isnan([roc_auc(score, positive), average_precision(score, positive), vus_pr(score, positive)]).all()
    assert np.isnan(
        [recall_at_rate(score, positive, 0.1), event_recall(np.empty(0)), median_delay_s(np.empty(0))]
    ).all()
    assert [len(curve) for curve in (*roc_curve(score, positive), *precision_recall_curve(score, positive))] == [0] * 4


@pytest.mark.parametrize("measure", [roc_auc, average_precision, vus_pr])
def test_measures_refuse_unknown_scores(measure):
    with pytest.raises(ValueError, match="NaN"):
        measure(np.array([1.0, np.nan]), np.array([True, False]))


def test_vus_pr_refuses_a_single_threshold():
    with pytest.raises(ValueError, match="two thresholds"):
        vus_pr(np.array([1.0, 2.0]), np.array([True, False]), thresholds=1)


def _vus_by_definition(score, positive, series, window, thresholds):
    """The definition in `vus_pr`'s docstring, row by row."""
    rows, areas = len(score), []
    chosen = np.sort(score)[::-1][np.linspace(0, rows - 1, thresholds).astype(int)]
    for buffer in range(window + 1):
        half, label, ranges = buffer // 2, np.zeros(rows), []
        for first in range(rows):
            if not positive[first] or (first and positive[first - 1] and series[first - 1] == series[first]):
                continue
            last = first
            while last + 1 < rows and positive[last + 1] and series[last + 1] == series[first]:
                last += 1
            reached = {row for row in range(first - half, last + half + 1) if 0 <= row < rows}
            reached = {row for row in reached if series[row] == series[first]}
            for row in reached:
                distance = max(first - row, row - last, 0)
                label[row] = min(label[row] + np.sqrt(1 - distance / max(buffer, 1)), 1.0)
            if ranges and ranges[-1] & reached:
                ranges[-1] |= reached
            else:
                ranges.append(reached)
        label[positive] = 1.0
        area, before = 0.0, 0.0
        for threshold in chosen:
            alarm = score >= threshold
            found = label[alarm].sum()
            met = np.mean([alarm[sorted(rows_of)].any() for rows_of in ranges])
            recall = min(found / (positive.sum() + label[alarm & ~positive].sum() / 2), 1.0) * met
            area += (recall - before) * found / alarm.sum()
            before = recall
        areas.append(area)
    return np.mean(areas)


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from([True, False, False, False])), min_size=2, max_size=40
    ).filter(lambda pairs: any(positive for _, positive in pairs)),
    st.integers(0, 12),
    st.integers(2, 12),
    st.integers(1, 3),
)
def test_vus_pr_is_what_its_definition_says(pairs, window, thresholds, count):
    score, positive = _columns(pairs)
    series = np.arange(len(score)) * count // len(score)
    expected = _vus_by_definition(score, positive, series, window, thresholds)
    assert vus_pr(score, positive, series, window, thresholds) == pytest.approx(expected)


def test_vus_pr_agrees_with_its_authors_code():
    # vus 0.0.6: get_metrics(score, label, metric="vus", slidingWindow=20, thre=50)["VUS_PR"] on these arrays.
    score = np.round(np.abs(np.sin(np.arange(400) * 0.37) + 0.6 * np.cos(np.arange(400) ** 1.3)), 2)
    positive = np.zeros(400, bool)
    for first, last in ((0, 12), (90, 97), (110, 140), (380, 399)):
        positive[first : last + 1] = True
    assert vus_pr(score, positive, window=20, thresholds=50) == pytest.approx(0.22425988777839287, abs=1e-12)


ROWS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([-1, -1, 0, 1])), min_size=1, max_size=30)


@given(ROWS, st.randoms(use_true_random=False))
def test_find_stretches_returns_runs_whatever_the_order_of_rows(rows, random):
    rows = [(vehicle, float(second), fault) for second, (vehicle, fault) in enumerate(sorted(rows, key=lambda r: r[0]))]
    expected = []
    for place, (vehicle, second, fault) in enumerate(rows):
        goes_on = place and rows[place - 1][0] == vehicle and rows[place - 1][2] == fault
        if fault != ORDINARY and goes_on:
            expected[-1][3] = second
        elif fault != ORDINARY:
            expected.append([vehicle, fault, second, second])
    random.shuffle(rows)
    vehicle, time_s, fault = (np.array(column) for column in zip(*rows, strict=True))
    found = find_stretches(fault, vehicle, time_s)
    actual = np.column_stack((found.vehicle, found.fault, found.begins_s, found.ends_s))
    assert actual.tolist() == [list(map(float, stretch)) for stretch in expected]
    assert len(found) == len(expected)


MOMENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=12)
SPANS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25), st.integers(0, 6)), max_size=5)


def _stretches(spans):
    rows = np.array(sorted((vehicle, begin, begin + length) for vehicle, begin, length in spans)).reshape(-1, 3)
    return Stretches(
        rows[:, 0].astype(np.intp), np.zeros(len(rows), np.intp), rows[:, 1].astype(float), rows[:, 2].astype(float)
    )


def _moments(moments):
    columns = np.array(moments).reshape(-1, 2)
    return columns[:, 0].astype(np.intp), columns[:, 1].astype(float)


@given(SPANS, MOMENTS)
def test_detection_delays_run_to_the_first_alarm_inside(spans, moments):
    stretches = _stretches(spans)
    expected = [
        min((t - begin for v, t in moments if v == vehicle and begin <= t <= end), default=np.inf)
        for vehicle, begin, end in zip(stretches.vehicle, stretches.begins_s, stretches.ends_s, strict=True)
    ]
    delays = detection_delays(stretches, *_moments(moments))
    assert delays.tolist() == expected
    if expected:
        assert event_recall(delays) == np.isfinite(expected).mean()


@given(SPANS, MOMENTS, st.integers(0, 5))
def test_excused_moments_lie_in_a_stretch_or_its_grace(spans, moments, grace_s):
    expected = [any(v == vehicle and b <= t <= b + d + grace_s for vehicle, b, d in spans) for v, t in moments]
    assert excused(_stretches(spans), *_moments(moments), grace_s).tolist() == expected
    hourly = false_episodes_per_hour(_stretches(spans), *_moments(moments), 2.0, grace_s)
    assert hourly == (len(expected) - sum(expected)) / 2


def test_rows_to_ignore_are_the_first_of_a_fault_and_those_behind_it():
    vehicle, time_s = np.repeat([0, 1], 12), np.tile(np.arange(12.0), 2)
    fault = np.full(24, ORDINARY)
    fault[3:7] = 0
    stretches = find_stretches(fault, vehicle, time_s)
    ignored = rows_to_ignore(stretches, vehicle, time_s, onset_grace_s=2, after_end_s=3)
    assert np.flatnonzero(ignored).tolist() == [3, 4, 7, 8, 9]


def test_rows_of_a_following_fault_are_not_ignored_as_being_behind_another():
    vehicle, time_s, fault = np.zeros(8, np.intp), np.arange(8.0), np.array([-1, 0, 0, 1, 1, 1, -1, -1])
    ignored = rows_to_ignore(find_stretches(fault, vehicle, time_s), vehicle, time_s, 1, 1)
    assert np.flatnonzero(ignored).tolist() == [1, 3, 6]


def test_the_share_after_faults_is_of_the_rows_one_to_five_minutes_behind_them():
    time_s, vehicle = np.arange(0.0, 600.0, 10.0), np.zeros(60, np.intp)
    fault = np.where((time_s >= 100) & (time_s <= 150), 0, ORDINARY)
    stretches = find_stretches(fault, vehicle, time_s)
    behind = (time_s > 210) & (time_s <= 450)
    assert share_after(stretches, vehicle, time_s, behind) == 1.0
    assert share_after(stretches, vehicle, time_s, ~behind) == 0.0
    assert np.isnan(share_after(_stretches([]), vehicle, time_s, behind))


@pytest.mark.parametrize(("hits", "count", "interval"), [(10, 10, (0.7225, 1.0)), (45, 50, (0.7864, 0.9565))])
def test_wilson_s_interval_is_that_of_the_tables(hits, count, interval):
    assert wilson_interval(hits, count) == pytest.approx(interval, abs=1e-4)


def test_ordinary_hours_count_neither_faults_nor_gaps_nor_other_vehicles():
    vehicle = np.array([0, 0, 0, 0, 1, 1])
    time_s = np.array([0.0, 60, 120, 1000, 500, 560])
    faulty = np.array([False, False, True, False, False, False])
    assert ordinary_hours(vehicle, time_s, faulty) == pytest.approx(2 / 60)


def test_false_episodes_without_hours_are_unknown():
    nothing = np.empty(0, np.intp)
    assert np.isnan(false_episodes_per_hour(_stretches([]), nothing, np.empty(0), 0.0))
