import numpy as np
import pytest

from recordings.summary import summary, usual_interval_s


@pytest.mark.parametrize(
    ("vehicle", "time_s", "said"),
    [
        ([0, 0, 0], [5, 6, 7], "commas; 1 vehicle, 3 rows, 1 Hz"),
        ([0, 1, 0, 1], [0, 0, 0.1, 0.1], "commas; 2 vehicles, 4 rows, 10 Hz"),
        ([0, 0], [0, 900], "commas; 1 vehicle, 2 rows, a row every 900 s"),
        ([0, 1], [0, 900], "commas; 2 vehicles, 2 rows"),
    ],
)
def test_a_summary_counts_vehicles_rows_and_rate(vehicle, time_s, said):
    assert summary("commas", np.array(vehicle), np.array(time_s, float)) == said


def test_the_usual_interval_is_that_within_vehicles_whatever_the_order_of_rows():
    assert usual_interval_s(np.array([0, 1, 0, 1, 0]), np.array([4.0, 100, 2, 102, 0])) == 2
    assert usual_interval_s(np.array([0, 1]), np.array([0.0, 1.0])) is None
