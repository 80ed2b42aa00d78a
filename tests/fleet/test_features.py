import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.features import CAUSE_BY_FEATURE, CONDITIONS, FEATURES, GAP_S, VehicleWindows, WindowedBlock
from fleet.telemetry import SIGNALS

NAN = math.nan


def signals(**known: float) -> np.ndarray:
    return np.array([known.get(name, NAN) for name in SIGNALS])


def push(windows: VehicleWindows, *events: tuple[str, float, np.ndarray]) -> WindowedBlock:
    ids, times, rows = zip(*events, strict=True)
    return windows.push(list(ids), np.array(times), np.stack(rows))


def feature(block: WindowedBlock, name: str) -> list[float]:
    return block.features[:, FEATURES.index(name)].tolist()


# A stream: vehicles come in any order, and time may stand still, run back, or leave a gap.
EVENT = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([-130.0, -1.0, 0.0, 0.0, 0.2, 1.0, 1.0, 7.0, GAP_S, GAP_S + 0.5]),
    st.tuples(st.sampled_from([0.0, 50.0, NAN]), st.sampled_from([80.0, 90.5, NAN]), st.sampled_from([-31.4, -31.5])),
)
STREAM = st.lists(EVENT, min_size=1, max_size=40)


def columns(stream: list) -> tuple[list[str], np.ndarray, np.ndarray]:
    times = 1.7e9 + np.cumsum([step for _, step, _ in stream])
    rows = [signals(speed=v, temperature=t, latitude=y, longitude=-64.0) for _, _, (v, t, y) in stream]
    return [vehicle for vehicle, _, _ in stream], times, np.stack(rows)


@given(STREAM, st.lists(st.integers(0, 40), max_size=6))
def test_windows_give_the_same_however_the_stream_is_cut(stream, cuts):
    ids, times, rows = columns(stream)
    whole = VehicleWindows(idle_s=1e9).push(ids, times, rows)
    windows = VehicleWindows(idle_s=1e9)
    bounds = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    parts = [windows.push(ids[a:b], times[a:b], rows[a:b]) for a, b in pairwise(bounds)]
    np.testing.assert_array_equal(whole.features, np.concatenate([part.features for part in parts]))
    np.testing.assert_array_equal(whole.warming_up, np.concatenate([part.warming_up for part in parts]))
    np.testing.assert_array_equal(whole.repeat, np.concatenate([part.repeat for part in parts]))


@given(STREAM)
def test_windows_follow_the_rules_of_history_event_by_event(stream):
    ids, times, rows = columns(stream)
    block = VehicleWindows(idle_s=1e9).push(ids, times, rows)
    latest: dict[str, tuple[float, np.ndarray]] = {}
    for i, vehicle in enumerate(ids):
        before = latest.get(vehicle)
        dt = times[i] - before[0] if before else None
        slope = NAN
        if before and 0 < dt <= GAP_S:
            slope = (rows[i][SIGNALS.index("temperature")] - before[1][SIGNALS.index("temperature")]) / max(dt, 1.0)
        assert block.warming_up[i] == (before is None or abs(dt) > GAP_S)
        assert block.repeat[i] == (dt == 0 and np.array_equal(rows[i], before[1], equal_nan=True))
        np.testing.assert_allclose(block.features[i, FEATURES.index("temperature_slope_c_s")], slope, rtol=1e-6)
        if before is None or dt > 0:
            latest[vehicle] = (times[i], rows[i])


ABSURD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e300, -1e300, 1.8e308, -1.8e308, 5e-324, 0.0, -0.0]),
)


@given(st.lists(st.lists(ABSURD, min_size=len(SIGNALS), max_size=len(SIGNALS)), min_size=2, max_size=6))
def test_windows_give_finite_features_for_absurd_signals(rows):
    count = len(rows)
    block = VehicleWindows().push(["v"] * count, 1e9 + np.arange(count), np.array(rows))
    assert np.isfinite(block.features[1:]).all()
    assert np.isfinite(block.features[0][~np.isnan(block.features[0])]).all()


@given(st.lists(st.booleans(), min_size=len(SIGNALS), max_size=len(SIGNALS)))
def test_windows_leave_unknown_what_needs_an_unknown_signal(known):
    row = np.where(known, np.arange(1.0, len(SIGNALS) + 1), NAN)
    block = VehicleWindows().push(["v", "v"], np.array([0.0, 1.0]), np.stack([row, row]))
    has = dict(zip(SIGNALS, known, strict=True))
    expected = {
        "speed_over_limit": has["speed"] and has["speedLimit"],
        "acceleration_kmh_s": has["speed"],
        "position_speed_error_kmh": has["speed"] and has["latitude"] and has["longitude"],
        "battery_slope_pct_s": has["battery"],
        "fuel_pct": has["fuelLevel"],
        "road_rural": has["roadType"],
        "night": has["night"],
    }
    for name, is_known in expected.items():
        assert np.isfinite(feature(block, name)[1]) == is_known


def test_windows_compare_positions_with_speed():
    ten_metres = 10 / 111_195
    here, there = (signals(speed=36.0, latitude=y, longitude=-64.0) for y in (-31.0, -31.0 + ten_metres))
    far = signals(speed=36.0, latitude=-31.01, longitude=-64.0)
    block = push(VehicleWindows(), ("v", 0.0, here), ("v", 1.0, there), ("v", 2.0, far))
    assert feature(block, "position_speed_error_kmh")[1] == pytest.approx(0.0, abs=0.01)
    assert feature(block, "step_excess_m")[1] == 0.0
    assert feature(block, "step_excess_m")[2] > 1000


def test_windows_measure_a_step_across_the_date_line_as_short():
    west, east = (signals(speed=36.0, latitude=0.0, longitude=x) for x in (179.99995, -179.99995))
    block = push(VehicleWindows(), ("v", 0.0, west), ("v", 1.0, east))
    assert abs(feature(block, "position_speed_error_kmh")[1]) < 10


def test_windows_do_not_compare_distance_with_speed_over_long_intervals():
    before, now = (signals(speed=60.0, latitude=y, longitude=-64.0) for y in (-31.0, -31.001))
    block = push(VehicleWindows(), ("v", 0.0, before), ("v", 60.0, now))
    assert math.isnan(feature(block, "position_speed_error_kmh")[1])
    assert feature(block, "step_excess_m")[1] == 0.0


def test_windows_are_blind_to_the_senders_claims_and_to_where_on_earth_it_is():
    here = signals(speed=50.0, latitude=-31.0, longitude=-64.0, previousSpeed=10.0, acceleration=40.0)
    elsewhere = signals(speed=50.0, latitude=48.0, longitude=2.0, previousSpeed=90.0, acceleration=-40.0)
    block = push(VehicleWindows(), ("v", 0.0, here), ("w", 0.0, elsewhere))
    np.testing.assert_array_equal(block.features[0], block.features[1])


def test_windows_do_not_let_a_broken_limit_make_every_speed_infinite():
    block = push(VehicleWindows(), ("v", 0.0, signals(speed=5.0, speedLimit=0.0)))
    assert feature(block, "speed_over_limit") == [0.0]


@pytest.mark.parametrize("vehicles", [7, 64, 1500])
def test_windows_keep_at_most_their_maximum_of_vehicles_and_count_evictions(vehicles):
    windows = VehicleWindows(max_vehicles=64)
    rows = np.tile(signals(speed=1.0), (vehicles, 1))
    windows.push([str(i) for i in range(vehicles)], np.arange(vehicles) * 1e-3, rows)
    assert len(windows) == min(vehicles, 64)
    assert windows.evictions == max(0, vehicles - 64)


def test_windows_evict_those_seen_longest_ago():
    windows = VehicleWindows(max_vehicles=3)
    row = signals(speed=1.0)
    for second, vehicle in enumerate("abca"):
        push(windows, (vehicle, float(second), row))
    push(windows, ("d", 4.0, row))  # b is the longest unseen
    assert push(windows, ("a", 5.0, row), ("c", 5.0, row), ("d", 5.0, row)).warming_up.tolist() == [False] * 3
    assert push(windows, ("b", 6.0, row)).warming_up.tolist() == [True]


def test_windows_forget_idle_vehicles_and_reuse_their_rows_without_their_history():
    windows = VehicleWindows(idle_s=600.0, max_vehicles=2)
    push(windows, ("a", 0.0, signals(speed=100.0)), ("b", 0.0, signals(speed=90.0)))
    block = push(windows, ("c", 700.0, signals(speed=1.0)))
    assert windows.evictions == 2
    assert len(windows) == 1
    assert block.warming_up.tolist() == [True]
    assert math.isnan(feature(block, "acceleration_kmh_s")[0])


def test_windows_forgive_a_clock_that_once_ran_ahead():
    windows = VehicleWindows(idle_s=600.0)
    row = signals(speed=50.0)
    push(windows, ("a", 9e9, row), *((other, 0.0, row) for other in "bcd"))
    for second in range(100, 1500, 100):  # all of a's are late now, and keep nothing alive
        push(windows, ("a", float(second), row), *((other, float(second), row) for other in "bcd"))
    assert push(windows, ("a", 1450.0, row)).warming_up.tolist() == [False]


def test_windows_take_an_empty_block():
    assert VehicleWindows().push([], np.empty(0), np.empty((0, len(SIGNALS)))).features.shape == (0, len(FEATURES))


def test_windows_refuse_bounds_that_would_cut_histories_short():
    with pytest.raises(ValueError, match="idle_s must be at least"):
        VehicleWindows(idle_s=GAP_S / 2)


def test_every_feature_has_a_cause_and_conditions_are_features():
    assert set(FEATURES) == set(CAUSE_BY_FEATURE)
    assert set(FEATURES) > CONDITIONS
