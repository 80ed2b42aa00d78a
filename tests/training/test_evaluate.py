import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import Rows
from training.evaluate import average_precision, measure, roc_auc

SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({positive for _, positive in pairs}) == 2
)


@given(SCORED)
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    score, positive = np.array([float(s) for s, _ in pairs]), np.array([p for _, p in pairs])
    apart = score[positive][:, None] - score[~positive][None, :]
    assert roc_auc(score, positive) == pytest.approx(((apart > 0) + 0.5 * (apart == 0)).mean())


@given(SCORED)
def test_average_precision_sums_precision_over_gained_recall(pairs):
    score, positive = np.array([float(s) for s, _ in pairs]), np.array([p for _, p in pairs])
    expected, before = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        alarm = score >= threshold
        recall = positive[alarm].sum() / positive.sum()
        expected += (recall - before) * positive[alarm].mean()
        before = recall
    assert average_precision(score, positive) == pytest.approx(expected)


def test_measures_without_positives_are_unknown():
    assert np.isnan(roc_auc(np.arange(3.0), np.zeros(3, bool)))
    assert np.isnan(average_precision(np.arange(3.0), np.zeros(3, bool)))


def test_measure_counts_events_stretches_and_delays():
    truth = [None, "a", "a", "a", None, "a", None, None, "b", "b"]
    alarm = np.array([0, 0, 1, 1, 0, 0, 1, 0, 1, 0], bool)
    rows = Rows(
        np.zeros((10, 1), np.float32),
        np.zeros(10, bool),
        np.array([0] * 7 + [1] * 3),
        np.array([0.0, 2, 4, 6, 8, 10, 12, 0, 2, 4]),
        truth,
    )
    result = measure(alarm.astype(float), alarm, rows)
    assert result.false_alarm_rate == 0.25
    assert result.recall == {"a": 0.5, "b": 0.5}
    assert result.stretches_found == {"a": 0.5, "b": 1.0}
    assert result.delay_s == {"a": 2.0, "b": 0.0}
