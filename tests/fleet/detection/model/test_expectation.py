"""What is said of the features that weigh most in an alarm."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fleet.detection.features import FeaturePlan
from fleet.detection.model.expectation import expected_values, possible_values
from fleet.events.channels import VEHICLE_DATA, Channel, ChannelSpec

PLAN = FeaturePlan.of(
    ChannelSpec(
        "three",
        (
            Channel("heat", range=(-40, 130), features=("level", "slow", "rough", "frozen", "lost")),
            Channel("place", limits=(0, 90), features=("level", "stepped")),
            Channel("load", features=("level", "mean30", "peak")),
        ),
    )
)
NAMES = PLAN.names
JUDGED = len(PLAN.aspect_of)
POSSIBLE = possible_values(PLAN)
SAID = {"heat_level", "heat_slow", "place_level", "load_level", "load_mean30"}
ALL_THREE = np.ones((1, 3), np.float32)


def said(low: float, expected: float, high: float, *features: str) -> dict[str, tuple[float, float, float]]:
    """What is said of up to three features, of each of which the same was expected."""
    expectations = np.repeat(np.array([[low, expected, high]], np.float32)[:, :, None], JUDGED, axis=2)
    largest = np.array([[*map(NAMES.index, features), *[0] * (3 - len(features))]], np.int16)
    share = (np.arange(3) < len(features)).astype(np.float32)[None]
    [by_feature] = expected_values(expectations, largest, share, POSSIBLE, NAMES)
    return by_feature


def test_values_and_changes_are_expected_and_signs_of_what_should_not_be_are_not():
    assert {name for name, least in zip(NAMES, POSSIBLE[0], strict=False) if not np.isnan(least)} == SAID
    built_in = FeaturePlan.of(VEHICLE_DATA)
    of_it = [name for name, least in zip(built_in.names, possible_values(built_in)[0], strict=False) if least == least]
    assert "speed_change_level" in of_it
    assert "speed_over_limit_level" not in of_it


def test_what_is_expected_is_said_of_what_weighs_in_the_error():
    assert said(1, 2, 3, "load_level", "heat_level") == {"load_level": (1, 2, 3), "heat_level": (1, 2, 3)}
    assert said(1, 2, 3, "heat_lost", "place_stepped", "load_peak") == {}


def test_what_is_impossible_is_not_promised():
    assert said(-300, -60, 200, "heat_level", "place_level") == {
        "heat_level": (-40, -40, 130),
        "place_level": (0, 0, 90),
    }
    assert said(-300, -60, 200, "heat_slow", "load_level") == {
        "heat_slow": (-300, -60, 200),
        "load_level": (-300, -60, 200),
    }


def test_numbers_have_the_digits_that_their_distance_makes_sensible():
    assert said(84.23456, 90.51234, 97.14567, "load_level") == {"load_level": (84.2, 90.5, 97.1)}
    assert said(1000.4, 1500.5, 2000.6, "load_level") == {"load_level": (1000, 1500, 2001)}
    assert said(0.012345, 0.023456, 0.034567, "load_level") == {"load_level": (0.0123, 0.0235, 0.0346)}


@given(arrays.arrays(np.float32, (5, 3, JUDGED), elements=st.floats(-(2.0**100), 2.0**100, width=32)), st.data())
def test_bounds_stay_in_order_whatever_the_network_says(expectations, data):
    expectations.sort(axis=1)
    largest = data.draw(arrays.arrays(np.int16, (5, 3), elements=st.integers(0, JUDGED - 1)))
    for by_feature in expected_values(expectations, largest, np.repeat(ALL_THREE, 5, axis=0), POSSIBLE, NAMES):
        assert set(by_feature) <= SAID
        for low, expected, high in by_feature.values():
            assert low <= expected <= high
            assert np.isfinite([low, high]).all()


def test_no_alarm_says_nothing():
    nothing = np.zeros((0, 3, JUDGED), np.float32), np.zeros((0, 3), np.int16), np.zeros((0, 3), np.float32)
    assert expected_values(*nothing, POSSIBLE, NAMES) == []
