"""What windows make of an event and its past: against a reference in plain Python, and rule by rule."""

import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.features import KINDS
from fleet.detection.window_kernel import LATE_RUN, MEMORY
from fleet.detection.windows import VehicleWindows, WindowedBlock
from fleet.events.channels import FeatureKind
from tests.fleet.detection.windows_harness import BUILT_IN, DRIVE, GAP_S, NAN, ONE, START_S, at, drive, feature, push
from tests.fleet.detection.windows_reference import Reference

# Against a reference -------------------------------------------------------------------------------------------------

# A difference of means may be withheld while they have seen little; it is never a wrong one.
WITHHELD_WHILE_YOUNG = {"fast", "medium", "slow", "drift", "mean5", "mean30", "peak"}
REFERRED = {*get_args(FeatureKind), *KINDS[KINDS.index("interval") :]} - {"rough", "stepped", "is_code"}
STEPS_S = st.sampled_from([1.0, 1.0, 1.0, 0.5, 2.0, 7.0, 0.0, -3.0, GAP_S, GAP_S + 0.5, -150.0])
VALUES = st.one_of(st.sampled_from([1.0, 1.0, 2.5, NAN, -80.0]), st.floats(-1e3, 1e3))
STREAMS = st.lists(st.tuples(STEPS_S, VALUES), min_size=1, max_size=80)


def assert_follows_the_reference(times: Any, values: Any) -> Reference:
    windows, reference = VehicleWindows(ONE, idle_s=1e9), Reference()
    block = windows.push(["v"] * len(times), np.array(times), np.array(values)[:, None])
    kinds = [f.kind for f in ONE.features]
    for i, (time_s, value) in enumerate(zip(times, values, strict=True)):
        expected, warming_up, repeat = reference.push(time_s, value)
        assert (block.warming_up[i], block.repeat[i]) == (warming_up, repeat)
        found = dict(zip(kinds, block.features[i].tolist(), strict=True))
        is_young = len(reference.past.values) < 200
        withheld = {kind for kind in WITHHELD_WHILE_YOUNG if is_young and math.isnan(found[kind])}
        for kind in REFERRED - withheld:
            assert found[kind] == pytest.approx(expected[kind], rel=3e-7, abs=1e-9, nan_ok=True), (i, kind)
    if reference.past.values:
        memory = windows.snapshot()["memory"].view(MEMORY)[0, 0, 0]
        means = [memory[f"mean{span}"] for span in reference.past.means]
        np.testing.assert_allclose(means, list(reference.past.means.values()), 1e-9, 1e-9)
    return reference


@given(STREAMS)
def test_windows_compute_what_the_reference_does(stream):
    assert_follows_the_reference(START_S + np.cumsum([step for step, _ in stream]), [value for _, value in stream])


@pytest.mark.parametrize("seed", range(4))
def test_windows_compute_what_the_reference_does_over_a_long_drive(seed):
    rng = np.random.default_rng(seed)
    count = 1500
    values = np.round(np.cumsum(rng.normal(0, 0.3, count)), rng.integers(0, 3))
    values[rng.random(count) < 0.05] = NAN
    values[700:760] = values[699]
    times = START_S + np.cumsum(rng.choice([1.0, 1.0, 1.1, 0.9, 4.0], count))
    reference = assert_follows_the_reference(times, values)
    assert len(reference.past.values) > 1200


def test_a_shift_that_is_over_is_forgotten_and_one_that_goes_on_is_not():
    rng = np.random.default_rng(3)
    seconds = np.arange(900)
    signals = np.full((2, len(seconds), len(BUILT_IN.spec.fields)), NAN)
    fuel = BUILT_IN.spec.field_names.index("fuelLevel")
    signals[0, :, fuel] = 80 - np.clip((seconds - 400) * 0.5, 0, 25) + rng.normal(0, 0.2, 900)  # 25 % in 50 s
    signals[1, :, fuel] = 80 - 0.05 * seconds + rng.normal(0, 0.2, 900)  # a leak
    for vehicle, is_over in zip(signals, (True, False), strict=True):
        block = VehicleWindows(BUILT_IN).push(["v"] * 900, START_S + seconds, vehicle)
        slow = np.array(feature(block, "fuelLevel_slow", BUILT_IN))
        during = slow[460] if is_over else slow[400]
        assert during < -4
        assert (slow[650:] > -1).all() if is_over else (slow[650:] < -4).all()


def test_rough_and_stepped_are_nothing_while_nothing_moves_and_grow_with_what_does():
    rng = np.random.default_rng(2)
    noise = np.where(np.arange(300) < 100, 0.0, rng.normal(0, 1, 300))
    values = 20 + noise * np.where(np.arange(300) < 200, 1, 4)
    block = VehicleWindows(ONE).push(["v"] * 300, START_S + np.arange(300.0), values[:, None])
    for name in ("x_rough", "x_stepped"):
        found = feature(block, name, ONE)
        assert set(found[90:100]) == {0.0}
        assert 0.5 < found[199] < 8
        assert found[299] > 1.8 * found[199]


# Rules of time -------------------------------------------------------------------------------------------------------


def ahead_and_behind(times: Any, appended: Any) -> tuple[Any, Any, WindowedBlock]:
    block = VehicleWindows(ONE).push(["v"] * len(times), times, np.ones((len(times), 1)), appended)
    return np.array(feature(block, "ahead", ONE)), np.array(feature(block, "behind", ONE)), block


@pytest.mark.parametrize("pace", [1, 5, 60])
@pytest.mark.parametrize("interval_s", [1.0, 10.0])
def test_a_replay_at_a_higher_pace_is_no_clock_set_forward(pace, interval_s):
    rng = np.random.default_rng(pace)
    drive_s = interval_s * np.arange(400.0)
    appended = START_S + drive_s / pace + rng.uniform(0.02, 0.3, 400)
    ahead, behind, _ = ahead_and_behind(1.6e9 + drive_s, appended)
    assert (ahead == 0).all()
    assert (behind == 0).all()


def test_a_clock_set_forward_is_ahead_of_the_log():
    times = START_S + np.arange(200.0)
    skewed = times + np.where(np.arange(200) >= 100, 30.0, 0.0)
    ahead, behind, _ = ahead_and_behind(skewed, times + 0.1)
    assert (ahead[:100] == 0).all()
    assert ahead[100] > math.log1p(20)
    assert (ahead[100:105] > 1).all()
    assert (behind == 0).all()


def test_a_clock_set_back_is_behind_and_begins_a_new_history_after_a_few_events():
    times = START_S + np.arange(200.0)
    skewed = times - np.where(np.arange(200) >= 100, 50.0, 0.0)
    ahead, behind, block = ahead_and_behind(skewed, times + 0.1)
    late = slice(100, 100 + LATE_RUN - 1)
    assert (behind[:100] == 0).all()
    assert (behind[100 : 100 + LATE_RUN] > math.log1p(40)).all()
    assert (np.diff(behind[100:]) <= 0).all(), "it fades"
    assert behind[-1] == 0
    assert block.warming_up[late].all()
    assert block.warming_up[late.stop], "the new history begins"
    assert not block.warming_up[late.stop + 1 :].any()
    assert feature(block, "history", ONE)[late.stop + 1] == pytest.approx(math.log1p(2))
    assert (ahead[late.stop :] == 0).all(), "its lag is the new usual one"


def test_late_events_that_do_not_follow_each_other_leave_the_history_alone():
    events = [("v", float(second), {"x": 1.0}) for second in range(50)]
    strays = [("v", float(second), {"x": 1.0}) for second in (40, 30, 20, 10, 5, 3, 2)]
    block = push(VehicleWindows(ONE), *events, *strays, ("v", 50.0, {"x": 1.0}))
    assert block.warming_up[50:57].all()
    assert not block.warming_up[57]
    assert feature(block, "history", ONE)[57] == pytest.approx(math.log1p(51))


def test_lost_messages_are_an_unusual_interval():
    times = START_S + np.array([*range(60), 70, 71])
    block = VehicleWindows(ONE).push(["v"] * 62, times, np.ones((62, 1)))
    interval = feature(block, "interval", ONE)
    assert max(abs(value) for value in interval[4:60]) < 0.1
    assert interval[60] > 5
    assert feature(block, "interval_mean", ONE)[61] > 1


# Formulas ------------------------------------------------------------------------------------------------------------


def test_windows_compare_positions_with_speed():
    ten_metres = 10 / 111_195
    block = drive(
        ("v", 0.0, at(36.0)), ("v", 1.0, at(36.0, -31.0 + ten_metres)), ("v", 2.0, at(36.0, -31.01)),
        ("v", 3.0, at(36.0, -31.01)),
    )  # fmt: skip
    assert feature(block, "travelled_level")[1] == pytest.approx(10, rel=1e-4)
    assert feature(block, "error_level")[1] == pytest.approx(0.0, abs=0.01)
    assert feature(block, "step_level")[1] == 0.0
    assert feature(block, "step_level")[2] > 1000
    assert feature(block, "error_level")[3] == pytest.approx(-10.0, abs=0.01)


def test_windows_measure_a_step_across_the_date_line_as_short():
    block = drive(("v", 0.0, at(36.0, 0.0, 179.99995)), ("v", 1.0, at(36.0, 0.0, -179.99995)))
    assert feature(block, "travelled_level")[1] == pytest.approx(11.1, abs=0.1)


def test_windows_do_not_compare_distance_with_speed_over_long_intervals():
    block = drive(("v", 0.0, at(60.0)), ("v", 60.0, at(60.0, -31.1)))
    for name in ("travelled_level", "error_level", "step_level", "change_level"):
        assert math.isnan(feature(block, name)[1])


def test_windows_take_a_change_per_second_and_never_over_an_instant():
    block = drive(("v", 0.0, at(50.0)), ("v", 2.0, at(40.0)), ("v", 2.001, at(41.0)))
    assert feature(block, "change_level")[1:] == [-5.0, 2.0]


@pytest.mark.parametrize(("speed", "limit", "excess"), [(90, 60, 0.5), (30, 60, 0), (10, 0, 1), (10, -50, 1)])
def test_windows_compare_speed_with_the_limit_and_do_not_believe_a_broken_one(speed, limit, excess):
    assert feature(drive(("v", 0.0, at(speed, limit=limit))), "over_level") == [excess]


def test_windows_tell_words_and_flags_as_numbers():
    block = drive(("v", 0.0, at(1.0, road=2.0, night=1.0)), ("v", 1.0, at(1.0)))
    assert [feature(block, name)[0] for name in ("road_urban", "road_rural", "night")] == [0, 1, 1]
    assert all(math.isnan(feature(block, name)[1]) for name in ("road_urban", "road_rural", "night"))


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_windows_leave_unknown_what_needs_an_unknown_signal(known):
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
        "error_level": is_placed and has["speed"],
        "step_level": is_placed and has["speed"],
        "limit": has["limit"],
        "road_urban": has["road"],
        "night": has["night"],
    }
    for name, is_known in expected.items():
        assert np.isfinite(feature(block, name)[1]) == is_known, name


def test_features_are_blind_to_the_senders_claims_and_to_where_on_earth_it_is():
    def event(latitude: float, longitude: float, claim: float) -> dict[str, float]:
        place = {"latitude": latitude, "longitude": longitude}
        return {**place, "speed": 50.0, "previousSpeed": claim, "acceleration": -claim, "temperature": 80.0}

    here, there = ("v", event(-31.0, -64.0, 10.0)), ("w", event(48.0, 2.0, 90.0))
    windows = VehicleWindows(BUILT_IN)
    for second in range(5):
        block = push(windows, *((vehicle, float(second), signals) for vehicle, signals in (here, there)))
        np.testing.assert_array_equal(block.features[0], block.features[1])


# Absurd values -------------------------------------------------------------------------------------------------------

ABSURD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e300, -1e300, 1.8e308 / 1.1, -1.7e308, 5e-324, 0.0, -0.0]),
    st.just(NAN),
)
WIDTH = len(BUILT_IN.spec.fields)


@given(
    st.lists(st.lists(ABSURD, min_size=WIDTH, max_size=WIDTH), min_size=2, max_size=8),
    st.lists(st.floats(0, 2.5e11), min_size=8, max_size=8),
    st.booleans(),
)
def test_windows_give_no_infinite_feature_for_absurd_signals_and_times(rows, times, is_regular):
    count = len(rows)
    event_s = START_S + np.arange(count) if is_regular else np.array(times[:count])
    block = VehicleWindows(BUILT_IN).push(["v"] * count, event_s, np.array(rows), np.array(times[::-1][:count]))
    assert not np.isinf(block.features).any()
