import math

from benchmarks.figures import Figure


def test_a_figure_is_the_median_and_the_spread() -> None:
    assert Figure.of([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert math.isnan(Figure.of([]).median)


def test_a_ratio_pairs_the_repeats() -> None:
    assert Figure.ratio([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == (2.0, 1.0, 3.0)


def test_a_figure_is_written_with_its_spread() -> None:
    assert Figure(0.81, 0.78, 0.83).text() == "0.81 (0.78–0.83)"
