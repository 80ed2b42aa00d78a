"""Which senders have which habits."""

import itertools

import numpy as np
import pytest

from simulator.randomness import VehicleRandomness
from simulator.senders.catalogue import CATALOGUE, HABITS, HabitMix

MANY = VehicleRandomness(7, 0, 100_000)


def test_usual_shares_are_those_of_the_catalogue():
    has = HabitMix().drawn(MANY)
    for habit in itertools.chain(*CATALOGUE.values()):
        assert has[habit.name].mean() == pytest.approx(habit.share, abs=0.004), habit.name


def test_a_sender_has_one_habit_of_a_family_at_most():
    has = HabitMix().drawn(MANY)
    for family, habits in CATALOGUE.items():
        own = np.stack([has[habit.name] for habit in habits])
        assert own.sum(axis=0).max() == (0 if family == "key" else 1)


def test_usual_fleets_round_and_report_slowly_as_real_ones_do():
    shares = HabitMix().shares
    assert 0.3 < sum(shares[habit.name] for habit in CATALOGUE["resolution"]) < 0.4
    assert 0.15 < sum(shares[f"every_{seconds}_s"] for seconds in (30, 60, 300, 600, 900)) < 0.25
    for_good = ("clock_offset", "speed_in_knots", "speed_in_mph", "speed_in_mps")
    assert 0.01 < sum(shares[name] for name in for_good) < 0.03


def test_names_are_said_once():
    assert len(set(HABITS)) == len(HABITS)


@pytest.mark.parametrize("habit", HABITS)
def test_only_one_habit_is_only_that(habit):
    has = HabitMix.only(habit).drawn(VehicleRandomness(1, 0, 50))
    assert {name for name, who in has.items() if who.any()} == {habit}
    assert has[habit].all()
    assert not any(who.any() for who in HabitMix.none().drawn(VehicleRandomness(1, 0, 50)).values())


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ({"lateness": 0.1}, "lateness is no habit; choose from coarse_temperature"),
        ({"every_5_s": 0.7, "every_10_s": 0.4}, "Shares of rhythm habits must be 0 or more and at most 1"),
        ({"every_5_s": -0.1}, "Shares of rhythm habits must be 0 or more"),
    ],
)
def test_mixes_that_cannot_be_are_refused(shares, sentence):
    with pytest.raises(ValueError, match=sentence):
        HabitMix(shares)
