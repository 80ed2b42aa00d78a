"""Figures: medians, spreads, windows and percentiles, against numpy and against doing it by hand."""

import math
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import WINDOWS, Figure, in_windows, percentiles

_values = st.floats(-1e9, 1e9)


def test_a_figure_is_the_median_and_the_spread() -> None:
    assert Figure.of([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert all(math.isnan(part) for part in Figure.of([]))


@given(st.lists(_values, min_size=1, max_size=30))
def test_a_figure_is_numpys_median_least_and_largest_in_any_order(values: list[float]) -> None:
    assert Figure.of(values) == pytest.approx((np.median(values), min(values), max(values)))
    assert Figure.of(reversed(values)) == Figure.of(iter(values))


def test_a_ratio_pairs_the_repeats() -> None:
    assert Figure.ratio([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == (2.0, 1.0, 3.0)


def test_a_ratio_of_unequal_numbers_of_repeats_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        Figure.ratio([1.0], [1.0, 2.0])


def test_a_figure_is_written_with_its_spread() -> None:
    assert Figure(0.81, 0.78, 0.83).text() == "0.81 (0.78–0.83)"
    assert Figure(12_345.6, 9_999.5, 20_000.0).text(",.0f") == "12,346 (10,000–20,000)"


_samples = st.lists(st.tuples(st.floats(-2.0, 12.0), _values), max_size=60)


@given(_samples)
def test_windows_hold_what_was_due_in_them_and_nothing_outside(samples: list[tuple[float, float]]) -> None:
    at_s, values = (np.array([sample[part] for sample in samples], np.float64) for part in (0, 1))
    windows = in_windows(values, at_s, 1.0, 9.0)
    assert len(windows) == WINDOWS == 3
    for number, window in enumerate(windows):
        begin_s = 1.0 + 3.0 * number
        assert window.tolist() == [value for at, value in samples if begin_s <= at < begin_s + 3.0]


@given(st.lists(st.lists(_values, max_size=20), min_size=1, max_size=4))
def test_percentiles_are_numpys_over_the_windows_that_hold_something(windows: list[list[float]]) -> None:
    found = percentiles([np.array(window) for window in windows], (50, 95, 99))
    assert list(found) == [50, 95, 99]
    for percentile, figure in found.items():
        each = [float(np.percentile(window, percentile)) for window in windows if window]
        if each:
            assert figure == pytest.approx((median(each), min(each), max(each)))
        else:
            assert math.isnan(figure.median)


def test_a_window_begins_at_its_edge_and_ends_before_the_next_one() -> None:
    at_s = np.array([1.0, 4.0, 7.0, 10.0])
    assert [window.tolist() for window in in_windows(at_s, at_s, 1.0, 9.0)] == [[1.0], [4.0], [7.0]]


def test_percentiles_of_known_samples() -> None:
    hundred = np.arange(1.0, 101.0)
    assert percentiles([hundred], (50, 99)) == {50: Figure(50.5, 50.5, 50.5), 99: Figure(*[pytest.approx(99.01)] * 3)}


def test_one_slow_window_shows_in_the_spread_and_not_in_the_median() -> None:
    found = percentiles([np.full(9, 10.0), np.full(9, 900.0), np.full(9, 12.0)], (99,))[99]
    assert found == (12.0, 10.0, 900.0)
