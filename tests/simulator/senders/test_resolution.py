"""Units and steps."""

import numpy as np
import pytest

from tests.simulator.senders.made_up_fleet import driven

IDEAL = driven("", 200)


@pytest.mark.parametrize(
    ("habit", "signals", "steps"),
    [
        ("coarse_temperature", ["temperature"], {1.0}),
        ("coarse_fuel", ["fuelLevel"], {1.0, 2.0, 5.0}),
        ("whole_speed", ["speed"], {1.0}),
        ("coarse_battery", ["battery"], {1.0}),
        ("obd_steps", ["battery", "fuelLevel"], {100 / 255}),
        ("coarse_position", ["latitude", "longitude"], {1e-4, 1e-5}),
        ("whole_numbers", ["speed", "temperature", "battery", "fuelLevel"], {1.0}),
    ],
)
def test_values_are_the_nearest_steps(habit, signals, steps):
    for own, ideal in zip(driven(habit, 200), IDEAL, strict=True):
        for name in signals:
            fits = [step for step in steps if np.allclose(own[name] / step, np.round(own[name] / step), atol=1e-6)]
            assert fits, name
            assert np.abs(own[name] - ideal[name]).max() <= max(fits) / 2 + 1e-9
        for name in set(own) - {*signals, "fault", "previousSpeed", "acceleration"} - {"speed", "temperature"}:
            np.testing.assert_array_equal(own[name], ideal[name])


@pytest.mark.parametrize(
    ("habit", "ratio"), [("speed_in_knots", 1 / 1.852), ("speed_in_mph", 0.621371), ("speed_in_mps", 1 / 3.6)]
)
def test_speed_is_said_in_another_unit_and_the_limit_is_not(habit, ratio):
    for own, ideal in zip(driven(habit, 50), IDEAL, strict=True):
        np.testing.assert_allclose(own["speed"], ideal["speed"][: len(own["speed"])] * ratio, rtol=1e-4)
        assert (own["speedLimit"] == 80).all()


@pytest.mark.parametrize("habit", ["whole_speed", "speed_in_mph", "held_readings"])
def test_claims_of_the_past_follow_from_what_was_said(habit):
    for own in driven(habit, 50):
        np.testing.assert_array_equal(own["previousSpeed"][1:], own["speed"][:-1])
        np.testing.assert_array_equal(own["acceleration"], own["speed"] - own["previousSpeed"])
