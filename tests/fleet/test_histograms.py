"""Values are counted below bounds as Prometheus does: a bucket holds what is at most its bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.histograms import Histogram

BOUNDS = (0.1, 1.0, 10.0)
SECONDS = st.floats(min_value=-1.0, max_value=100.0)


@given(st.lists(SECONDS))
def test_cumulative_counts_are_those_of_counting_one_by_one(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe_all(values)
    assert histogram.cumulative() == [*(sum(value <= bound for value in values) for bound in BOUNDS), len(values)]
    assert histogram.sum == pytest.approx(sum(max(value, 0.0) for value in values))


@given(st.lists(st.tuples(SECONDS, st.integers(0, 5))))
def test_a_value_that_is_observed_several_times_counts_so_often(values: list[tuple[float, int]]) -> None:
    times, singly = Histogram(BOUNDS), Histogram(BOUNDS)
    for value, count in values:
        times.observe(value, count)
        singly.observe_all([value] * count)
    assert times.cumulative() == singly.cumulative()
    assert times.sum == pytest.approx(singly.sum)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_value_at_a_bound_is_below_it(bound: float) -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(bound)
    assert histogram.cumulative()[BOUNDS.index(bound)] == 1
