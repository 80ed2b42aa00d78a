"""Clocks that are wrong, and how."""

import numpy as np
import pytest

from tests.simulator.senders.made_up_fleet import driven

ROLLOVER_S = 1024 * 7 * 86_400
IDEAL = driven("", 3600)


def errors_s(habit: str) -> list[np.ndarray]:
    """By how much each sender's clock is wrong, event by event."""
    every = zip(driven(habit, 3600), IDEAL, strict=True)
    return [np.round(own["timestamp_s"] - ideal["timestamp_s"], 3) for own, ideal in every]


def test_clocks_are_unset_for_the_first_four_to_twenty_events():
    counts = set()
    for own in driven("clock_unset_at_start", 60, count=80):
        unset = own["timestamp_s"] < 1e9
        counts.add(int(unset.sum()))
        assert not unset[unset.sum() :].any()
        assert (np.diff(own["timestamp_s"][unset]) > 0).all()
    assert counts == set(range(4, 21))


def test_clocks_are_wrong_for_single_events():
    for error_s in errors_s("clock_wrong_once"):
        wrong = np.flatnonzero(error_s)
        assert len(wrong) < 6
        assert (np.abs(error_s[wrong]) >= 60).all()
        assert (np.diff(wrong) > 1).all()


def test_clocks_are_set_back_by_an_hour_for_good():
    for error_s in errors_s("clock_hour_back"):
        assert set(error_s) == {0.0, -3600.0}
        assert (np.diff(error_s) <= 0).all()


def test_clocks_are_off_by_about_half_a_minute_for_good():
    offsets = [set(error_s) for error_s in errors_s("clock_offset")]
    assert all(len(offset) == 1 and 20 <= abs(next(iter(offset))) <= 60 for offset in offsets)
    assert {np.sign(next(iter(offset))) for offset in offsets} == {-1, 1}


def test_receivers_lose_1024_weeks_for_a_while():
    struck = [error_s == -ROLLOVER_S for error_s in errors_s("week_rollover")]
    assert all(set(error_s) <= {0.0, -ROLLOVER_S} for error_s in errors_s("week_rollover"))
    assert any(flags.any() for flags in struck)
    lengths = [length for flags in struck for length in _runs(flags)]
    assert max(lengths) <= 601
    assert max(lengths) >= 50


def _runs(flags: np.ndarray) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(int), [0]))))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize("habit", ["clock_offset", "clock_hour_back"])
def test_faults_of_the_clock_add_to_its_habit(habit):
    skewed = driven(habit, 30, count=12)[11]
    straight = driven("", 30, count=12)[11]
    assert (straight["timestamp_s"] - straight["measured_s"] == 30).all()
    if habit == "clock_offset":
        assert (skewed["timestamp_s"] != straight["timestamp_s"]).all()
