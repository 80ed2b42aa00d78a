"""What holds for every event: repeats, signals that are not there, blindness to places, bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.past.answer import FEATURE_LIMIT
from fleet.detection.past.kernel import FILLINGS, FILLINGS_IN_A_REQUEST
from fleet.detection.past.records import RECENT
from fleet.detection.windows import VehicleWindows
from tests.fleet.detection.windows_harness import (
    BUILT_IN,
    NAN,
    ONE,
    START_S,
    built_in,
    changed,
    driven,
    of_one,
    push,
    usual_drive,
)

# Repeats -------------------------------------------------------------------------------------------------------------


def test_events_that_are_sent_again_are_repeats_though_others_came_between():
    time_s, signals = usual_drive(400)
    order = np.r_[0:300, 270:300, 300:400]
    sent = {name: values[order] for name, values in signals.items()}
    block = of_one(BUILT_IN, time_s[order], START_S + np.arange(430.0) + 0.2, **sent)
    again = slice(300, 330)
    assert block.repeat.nonzero()[0].tolist() == [*range(again.start, again.stop)]
    without = of_one(BUILT_IN, time_s, None, **signals)
    for name in ("temperature_slow", "temperature_frozen", "interval"):
        np.testing.assert_array_equal(built_in(block, name)[again.stop :], built_in(without, name)[again.start :])


def test_so_many_events_are_known_again_and_older_ones_are_late():
    time_s, signals = usual_drive(400)
    order = np.r_[0:400, 399 - RECENT + 1, 399 - RECENT - 1]
    block = of_one(BUILT_IN, time_s[order], None, **{name: values[order] for name, values in signals.items()})
    assert block.repeat[400:].tolist() == [True, False]
    assert block.warming_up[401]


@pytest.mark.parametrize("number", [0, 30])
def test_an_event_that_stayed_outside_of_the_history_and_is_sent_again_is_a_repeat(number):
    time_s = START_S + np.arange(60.0)
    time_s[number] += 86_400.0
    order = np.insert(np.arange(60), number + 1, number)
    block = of_one(ONE, time_s[order], START_S + np.arange(61.0), x=50 + np.sin(order))
    assert block.repeat.nonzero()[0].tolist() == [number + 1]


@pytest.mark.parametrize("name", ["temperature", "speed", "fuelLevel"])
def test_an_event_that_says_something_else_at_the_same_time_is_no_repeat(name):
    time_s, signals = usual_drive(50)
    order = np.r_[0:50, 49]
    sent = {field: values[order] for field, values in signals.items()}
    sent[name] = np.append(signals[name], signals[name][49] + 0.1)
    block = of_one(BUILT_IN, time_s[order], None, **sent)
    assert not block.repeat.any()
    assert block.warming_up[50], "it has no place in the history"


# Signals that a vehicle does not have --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -40.0), ("temperature", 130.0), ("fuelLevel", 0.0), *(("temperature", v) for v in FILLINGS[1:])],
)
def test_a_signal_that_was_only_ever_the_firmwares_filling_is_not_there(name, value):
    lacking, absent = driven(**{name: np.full(900, value)}), driven(**{name: np.full(900, NAN)})
    np.testing.assert_array_equal(lacking.features, absent.features)


def test_a_signal_that_has_been_anything_else_is_there_as_a_filling_too():
    temperature = usual_drive(900)[1]["temperature"]
    broken = driven(temperature=np.where(np.arange(900) < 500, temperature, -40.0))
    assert built_in(broken, "temperature_level")[600] == -40.0


def test_a_signal_beyond_its_range_is_there():
    assert built_in(driven(temperature=np.full(900, 150.0)), "temperature_level")[0] == 150.0


def test_a_request_without_a_log_may_say_a_filling_a_few_times():
    block = of_one(BUILT_IN, START_S + np.arange(10.0), fuelLevel=0.0, battery=0.0, temperature=-40.0)
    told = np.isfinite(built_in(block, "temperature_level"))
    assert told.tolist() == [True] * FILLINGS_IN_A_REQUEST + [False] * (10 - FILLINGS_IN_A_REQUEST)


def test_a_vehicle_whose_speed_is_zero_has_one():
    assert (built_in(driven(speed=np.zeros(900)), "speed_level") == 0).all()


# Gaps and states -----------------------------------------------------------------------------------------------------


def test_a_gap_begins_levels_anew():
    time_s, signals = usual_drive(400)
    gone = np.where(np.arange(400) < 200, 0.0, 3600.0)
    block = of_one(BUILT_IN, time_s + gone, None, **signals)
    assert block.warming_up.nonzero()[0].tolist() == [0, 200]
    assert np.isnan(built_in(block, "temperature_medium")[200:205]).all()
    assert np.expm1(built_in(block, "history")[200]) == pytest.approx(1)


def test_a_device_that_slept_catches_up_without_a_jump():
    signals = usual_drive(900)[1]
    asleep = slice(400, 600)
    for values in signals.values():
        values[asleep] = values[asleep.start]
    signals["latitude"][asleep.stop :] -= signals["latitude"][asleep.stop] - signals["latitude"][asleep.start]
    signals["speed"][asleep] = 0.0
    signals["temperature"][asleep.stop :] -= 40.0
    woken = driven(**signals)
    assert not woken.is_doubtful[asleep.stop :].any()
    assert np.nanmax(built_in(woken, "temperature_stepped")[asleep.stop :]) < 2


# Blindness -----------------------------------------------------------------------------------------------------------


def test_features_are_blind_to_the_senders_claims_and_to_where_on_earth_it_is():
    def event(latitude: float, longitude: float, claim: float) -> dict[str, float]:
        place = {"latitude": latitude, "longitude": longitude}
        return {**place, "speed": 50.0, "previousSpeed": claim, "acceleration": -claim, "temperature": 80.0}

    here, there = ("v", event(-31.0, -64.0, 10.0)), ("w", event(48.0, 2.0, 90.0))
    windows = VehicleWindows(BUILT_IN)
    for second in range(5):
        block = push(windows, *((vehicle, float(second), signals) for vehicle, signals in (here, there)))
        np.testing.assert_array_equal(block.features[0], block.features[1])


# Bounds --------------------------------------------------------------------------------------------------------------

ABSURD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e300, -1e300, 1.8e308 / 1.1, -1.7e308, 5e-324, 0.0, -0.0]),
    st.just(NAN),
)
WIDTH = len(BUILT_IN.spec.fields)


@given(
    st.lists(st.lists(ABSURD, min_size=WIDTH, max_size=WIDTH), min_size=2, max_size=8),
    st.lists(st.floats(-1e12, 1e12), min_size=8, max_size=8),
    st.booleans(),
)
def test_no_feature_is_infinite_however_absurd_signals_and_times_are(rows, times, is_regular):
    count = len(rows)
    event_s = START_S + np.arange(count) if is_regular else np.array(times[:count])
    block = VehicleWindows(BUILT_IN).push(["v"] * count, event_s, np.array(rows), np.array(times[::-1][:count]))
    assert not np.isinf(block.features).any()
    assert not (np.abs(block.features) > FEATURE_LIMIT).any()
    assert np.isfinite(block.usual_interval_s).all()


@given(st.lists(ABSURD, min_size=WIDTH, max_size=WIDTH))
def test_a_vehicle_comes_back_from_an_absurd_event(row):
    time_s, signals = usual_drive(300)
    rows = np.stack([signals.get(name, np.full(300, NAN)) for name in BUILT_IN.spec.field_names], axis=1)
    usual = VehicleWindows(BUILT_IN).push(["v"] * 300, time_s, rows)
    rows[200] = row
    odd = VehicleWindows(BUILT_IN).push(["v"] * 300, time_s, rows)
    for name in ("temperature_medium", "temperature_slow", "battery_slow", "fuelLevel_slow"):
        difference = np.abs(built_in(odd, name)[210:] - built_in(usual, name)[210:])
        assert not (difference > 0.2).any(), name


def test_an_event_that_is_doubted_says_so_once():
    block = driven(**changed("temperature", 600, -40.0))
    assert block.is_doubtful.sum() == 1
    assert math.isclose(built_in(block, "temperature_level")[600], -40.0)
