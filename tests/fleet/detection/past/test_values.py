"""Channels of an event: what is computed from this event and the one before, in the sender's own units."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.features import FeaturePlan
from fleet.detection.past.values import (
    LONGEST_MOTION_INTERVAL_S,
    METRES_PER_DEGREE,
    RATIO_STEPS,
    SAID_JUMP_EVENTS,
    SMALLEST_JUMP_MPS,
)
from fleet.events.channels import Channel, ChannelSpec
from tests.fleet.detection.windows_harness import (
    BUILT_IN,
    DRIVE,
    START_S,
    at,
    built_in,
    column,
    drive,
    driven,
    feature,
    of_one,
    usual_drive,
)

# Formulas ------------------------------------------------------------------------------------------------------------


def test_a_distance_is_told_per_second():
    block = drive(("v", 0.0, at(36.0)), ("v", 1.0, at(36.0, -31.0 + 10 / METRES_PER_DEGREE)))
    assert feature(block, "travelled_level")[1] == pytest.approx(10, rel=1e-4)
    assert feature(block, "step_level")[1] == 0.0


def test_a_step_across_the_date_line_is_short():
    block = drive(("v", 0.0, at(36.0, 0.0, 179.99995)), ("v", 1.0, at(36.0, 0.0, -179.99995)))
    assert feature(block, "travelled_level")[1] == pytest.approx(11.1, abs=0.1)


def test_distance_is_not_compared_with_speed_over_long_intervals():
    too_long_s = LONGEST_MOTION_INTERVAL_S + 1
    block = drive(("v", 0.0, at(60.0)), ("v", too_long_s, at(60.0, -31.1)))
    for name in ("travelled_level", "error_level", "step_level", "change_level"):
        assert math.isnan(feature(block, name)[1])


def test_a_change_is_told_per_second_and_never_over_an_instant():
    block = drive(("v", 0.0, at(50.0)), ("v", 2.0, at(40.0)), ("v", 2.001, at(41.0)))
    assert feature(block, "change_level")[1:] == [-5.0, 2.0]


def test_a_reading_that_was_held_has_changed_meanwhile():
    events = [("v", float(second), at(30.0 + 3 * (second // 3))) for second in range(10)]
    assert feature(drive(*events), "change_level")[1:] == [0, 0, 1, 0, 0, 1, 0, 0, 1]


def test_a_change_that_no_vehicle_can_make_is_none():
    block = drive(("v", 0.0, at(50.0)), ("v", 1.0, at(250.0)), ("v", 2.0, at(250.0)))
    assert math.isnan(feature(block, "change_level")[1])


@pytest.mark.parametrize(("speed", "limit", "excess"), [(90, 60, 0.5), (30, 60, 0), (10, 0, 1), (10, -50, 1)])
def test_a_limit_that_is_broken_is_not_believed(speed, limit, excess):
    assert feature(drive(("v", 0.0, at(speed, limit=limit))), "over_level") == [excess]


def test_words_and_flags_are_told_as_numbers():
    block = drive(("v", 0.0, at(1.0, road=2.0, night=1.0)), ("v", 1.0, at(1.0)))
    assert [feature(block, name)[0] for name in ("road_urban", "road_rural", "night")] == [0, 1, 1]
    assert all(math.isnan(feature(block, name)[1]) for name in ("road_urban", "road_rural", "night"))


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_what_needs_an_unknown_signal_is_unknown(known):
    names = DRIVE.spec.field_names
    has = dict(zip(names, known, strict=True))
    row = {name: float(number) for number, name in enumerate(names, 1) if has[name]}
    block = drive(("v", 0.0, row), ("v", 1.0, row))
    is_placed = has["latitude"] and has["longitude"]
    expected = {
        "speed_level": has["speed"],
        "speed_frozen": has["speed"],
        "over_level": has["speed"] and has["limit"],
        "change_level": has["speed"],
        "travelled_level": is_placed,
        "step_level": is_placed and has["speed"],
        "limit": has["limit"],
        "road_urban": has["road"],
        "night": has["night"],
    }
    for name, is_known in expected.items():
        assert np.isfinite(feature(block, name)[1]) == is_known, name


# A position that jumps -----------------------------------------------------------------------------------------------

HALF_A_DEGREE = 0.05


def positions(shift: np.ndarray) -> np.ndarray:
    return usual_drive(900)[1]["latitude"] + shift


def jump(begin: int, end: int) -> np.ndarray:
    numbers = np.arange(900)
    return np.where((numbers >= begin) & (numbers < end), HALF_A_DEGREE, 0.0)


def test_a_position_that_jumps_is_elsewhere_until_it_comes_back():
    excess = built_in(driven(latitude=positions(jump(300, 320))), "step_excess_level")
    assert excess[300] > 1000
    assert (excess[301:320] == SMALLEST_JUMP_MPS).all()
    assert not excess[320:].any(), "the way back is no jump"


def test_a_position_that_stays_elsewhere_is_there_after_a_while():
    excess = built_in(driven(latitude=positions(jump(300, 900))), "step_excess_level")
    said = int(SAID_JUMP_EVENTS)
    assert (excess[300 : 300 + said] > 0).all()
    assert not excess[300 + said + 1 :].any()


def test_one_fix_that_is_wrong_costs_that_event():
    block = driven(latitude=positions(jump(300, 301)))
    excess = built_in(block, "step_excess_level")
    assert (excess > 0).nonzero()[0].tolist() == [300]
    assert block.is_doubtful[300]


# Units and resolution ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kmh_per_unit", [1.852, 1.609344, 3.6], ids=["knots", "mph", "m/s"])
def test_a_speed_in_another_unit_is_a_ratio_and_no_error(kmh_per_unit):
    time_s, signals = usual_drive(900)
    signals["speed"] = signals["speed"] / kmh_per_unit
    found, usual = (
        built_in(of_one(BUILT_IN, time_s, time_s, **sent), "travel_error_mean30")
        for sent in (signals, usual_drive(900)[1])
    )
    assert np.nanmax(np.abs(found)) < np.nanmax(np.abs(usual)) + 0.1
    assert np.isfinite(found[100:]).all()


def test_the_error_of_positions_is_unknown_until_the_speeds_unit_is_known():
    error = built_in(driven(), "travel_error_mean30")
    assert np.isnan(error[: int(RATIO_STEPS)]).all()
    assert np.isfinite(error[100:]).all()


def test_positions_that_drift_off_later_are_an_error():
    spoofed = positions(np.clip(np.arange(900) - 300, 0, None) * 20 / METRES_PER_DEGREE)
    assert built_in(driven(latitude=spoofed), "travel_error_mean30")[360] > 5


@pytest.mark.parametrize("digits", [3, 4, 5])
def test_positions_that_are_rounded_are_no_error(digits):
    block = driven(latitude=np.round(usual_drive(900)[1]["latitude"], digits))
    error = built_in(block, "travel_error_mean30")
    assert not (np.abs(error) > 1.0).any()
    assert np.isfinite(error[100:]).all() == (digits > 3), "a second's way is shorter than their rounding"
    assert np.nanmax(built_in(block, "step_excess_level")) == 0


@pytest.mark.parametrize("kmh", [12.0, 20.0])
def test_rounded_positions_of_a_slow_start_are_no_other_unit(kmh):
    """The steps that a slow vehicle seems to make are longer than its own."""
    speed_kmh = np.where(np.arange(900) < 300, kmh, 72.0)
    latitude = -31.0 + np.cumsum(speed_kmh / 3.6) / METRES_PER_DEGREE
    error = built_in(driven(speed=speed_kmh, latitude=np.round(latitude, 4)), "travel_error_mean30")
    assert np.isnan(error[:300]).all()
    assert np.nanmax(np.abs(error)) < 1.0


def test_what_lies_outside_of_its_range_is_told_in_widths_of_the_range():
    channel = Channel("x", range=(-10.0, 30.0), features=("outside",))
    plan = FeaturePlan.of(ChannelSpec("one", (channel,), timing=False))
    block = of_one(plan, START_S + np.arange(5.0), x=np.array([0.0, 30.0, 50.0, -110.0, np.nan]))
    np.testing.assert_allclose(column(block, "x_outside", plan), [0.0, 0.0, 0.5, 2.5, np.nan])
