"""What must not matter to windows: cuts, snapshots, order; and the bounds they keep.

What they make of an event: `past`, one file per module of that room.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.windows import VehicleWindows, WindowedBlock
from tests.fleet.detection.windows_harness import BUILT_IN, DRIVE, GAP_S, NAN, ONE, START_S, at, drive, push

# What must not matter ------------------------------------------------------------------------------------------------

# A stream of three vehicles in any order; time may stand still, run back, or leave a gap.
EVENT = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([-130.0, -1.0, 0.0, 0.0, 0.2, 1.0, 1.0, 7.0, 120.0, 120.5]),
    st.tuples(st.sampled_from([0.0, 50.0, NAN]), st.sampled_from([80.0, 90.5, NAN]), st.sampled_from([-31.4, -31.5])),
)
FLEETS = st.lists(EVENT, min_size=1, max_size=40)


def columns(stream: list[Any]) -> tuple[list[str], Any, Any, Any]:
    times = START_S + np.cumsum([step for _, step, _ in stream])
    names = BUILT_IN.spec.field_names
    rows = np.full((len(stream), len(names)), NAN)
    for column, place in (("speed", 0), ("temperature", 1), ("latitude", 2)):
        rows[:, names.index(column)] = [signals[place] for _, _, signals in stream]
    rows[:, names.index("longitude")] = -64.0
    return [vehicle for vehicle, _, _ in stream], times, rows, START_S + np.arange(len(stream))


def assert_same(found: list[WindowedBlock], whole: WindowedBlock) -> None:
    for name in ("features", "warming_up", "repeat", "is_doubtful", "usual_interval_s"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in found]), getattr(whole, name))


@given(FLEETS, st.lists(st.integers(0, 40), max_size=6))
def test_windows_give_the_same_however_the_stream_is_cut(stream, cuts):
    ids, times, rows, appended = columns(stream)
    whole = VehicleWindows(BUILT_IN, idle_s=1e9).push(ids, times, rows, appended)
    windows = VehicleWindows(BUILT_IN, idle_s=1e9)
    bounds = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    assert_same([windows.push(ids[a:b], times[a:b], rows[a:b], appended[a:b]) for a, b in pairwise(bounds)], whole)


@given(FLEETS, st.integers(0, 40), st.sampled_from([8, 9, 2000]), st.sampled_from([8, 1024, 3000]))
def test_windows_restored_from_a_snapshot_go_on_bit_for_bit(stream, cut, before, after):
    ids, times, rows, appended = columns(stream)
    windows = VehicleWindows(BUILT_IN, idle_s=1e9, max_vehicles=before)
    first = windows.push(ids[:cut], times[:cut], rows[:cut], appended[:cut])
    snapshot = windows.snapshot()
    whole = [first, windows.push(ids[cut:], times[cut:], rows[cut:], appended[cut:])]
    restored = VehicleWindows(BUILT_IN, idle_s=1e9, max_vehicles=after)
    restored.push(["other", "a"], np.array([5.0, 6.0]), rows[[0, 0]])  # is forgotten
    restored.restore(snapshot)
    again = restored.push(ids[cut:], times[cut:], rows[cut:], appended[cut:])
    assert again.features.tobytes() == whole[1].features.tobytes()
    assert_same([again], whole[1])
    assert len(restored) == len(windows)


def test_a_clock_that_is_a_day_ahead_makes_nobody_else_forgotten():
    windows = VehicleWindows(ONE, idle_s=600.0)
    row = np.ones((1, len(ONE.spec.fields)))
    windows.push(["a"], np.array([START_S]), row, np.array([START_S + 0.5]))
    windows.push(["b"], np.array([START_S + 86_400]), row, np.array([START_S + 1.5]))
    assert windows.push(["a"], np.array([START_S]), row, np.array([START_S + 2.5])).repeat.tolist() == [True]


def test_windows_restored_forget_the_idle_at_the_same_event():
    windows = VehicleWindows(ONE, idle_s=600.0)
    push(windows, ("a", 0.0, {"x": 1.0}), ("b", 0.0, {"x": 2.0}))
    push(windows, ("a", 300.0, {"x": 1.0}))
    restored = VehicleWindows(ONE, idle_s=600.0)
    restored.restore(windows.snapshot())
    for own in (windows, restored):
        push(own, ("c", 650.0, {"x": 1.0}))
        assert len(own) == 2, "b has been idle for too long, a has not"


def test_a_snapshot_is_not_changed_by_what_comes_after_it():
    windows = VehicleWindows(ONE)
    push(windows, ("a", 0.0, {"x": 1.0}))
    snapshot = windows.snapshot()
    kept = {name: np.copy(value) for name, value in snapshot.items()}
    push(windows, ("a", 1.0, {"x": 9.0}), ("b", 1.0, {"x": 9.0}))
    for name, value in kept.items():
        np.testing.assert_array_equal(snapshot[name], value)


def test_windows_refuse_a_snapshot_that_does_not_fit():
    windows = VehicleWindows(ONE)
    push(windows, ("a", 0.0, {"x": 1.0}), ("b", 0.0, {"x": 1.0}))
    for other in (VehicleWindows(BUILT_IN), VehicleWindows(ONE, max_vehicles=1)):
        with pytest.raises(ValueError, match="2 vehicles does not fit these windows"):
            other.restore(windows.snapshot())


def test_ten_vehicles_give_the_same_one_after_the_other_as_interleaved():
    rng = np.random.default_rng(4)
    count, vehicles = 300, 10
    ids = [f"v{number % vehicles}" for number in range(count * vehicles)]
    times = START_S + np.repeat(np.arange(count), vehicles) + rng.uniform(0, 0.2, count * vehicles)
    rows = rng.normal(50, 20, (count * vehicles, len(BUILT_IN.spec.fields)))
    rows[rng.random(rows.shape) < 0.1] = NAN
    interleaved = VehicleWindows(BUILT_IN, idle_s=1e9).push(ids, times, rows, times + 0.1)
    order = np.argsort([number % vehicles for number in range(len(ids))], kind="stable")
    by_vehicle = VehicleWindows(BUILT_IN, idle_s=1e9).push(
        [ids[i] for i in order], times[order], rows[order], times[order] + 0.1
    )
    np.testing.assert_array_equal(by_vehicle.features, interleaved.features[order])


# Bounds --------------------------------------------------------------------------------------------------------------


def test_a_vehicle_takes_less_than_two_kilobytes():
    assert VehicleWindows(BUILT_IN).bytes_per_vehicle < 2048


@pytest.mark.parametrize("vehicles", [7, 64, 1500])
def test_windows_keep_at_most_their_maximum_of_vehicles_and_count_evictions(vehicles):
    windows = VehicleWindows(ONE, max_vehicles=64)
    block = push(windows, *((str(i), i * 1e-3, {"x": 1.0}) for i in range(vehicles)))
    assert len(windows) == min(vehicles, 64)
    assert windows.evictions == max(0, vehicles - 64)
    assert block.warming_up.all()


def test_windows_grow_without_touching_what_they_hold():
    windows, small = VehicleWindows(ONE), VehicleWindows(ONE)
    for own in (windows, small):
        push(own, ("a", 0.0, {"x": 1.0}), ("a", 1.0, {"x": 3.0}))
    push(windows, *((f"n{i}", 1.0, {"x": 1.0}) for i in range(5000)))
    blocks = [push(own, ("a", 2.0, {"x": 5.0})) for own in (windows, small)]
    np.testing.assert_array_equal(blocks[0].features, blocks[1].features)


def test_windows_evict_those_seen_longest_ago():
    windows = VehicleWindows(ONE, max_vehicles=3)
    for second, vehicle in enumerate("abca"):
        push(windows, (vehicle, float(second), {"x": 1.0}))
    push(windows, ("d", 4.0, {"x": 1.0}))  # b is the longest unseen
    assert push(windows, *((v, 5.0, {"x": 1.0}) for v in "acd")).warming_up.tolist() == [False] * 3
    assert push(windows, ("b", 6.0, {"x": 1.0})).warming_up.tolist() == [True]


def test_windows_forget_idle_vehicles_and_reuse_their_rows_without_their_history():
    windows = VehicleWindows(DRIVE, idle_s=600.0, max_vehicles=2)
    push(windows, ("a", 0.0, at(100.0)), ("b", 0.0, at(90.0)))
    block = push(windows, ("c", 700.0, at(1.0)))
    assert windows.evictions == 2
    assert len(windows) == 1
    assert block.warming_up.tolist() == [True]
    fresh = drive(("c", 700.0, at(1.0)))
    np.testing.assert_array_equal(block.features, fresh.features)


def test_windows_forgive_a_clock_that_once_ran_ahead():
    windows = VehicleWindows(ONE, idle_s=600.0)
    push(windows, ("a", 9e9, {"x": 1.0}), *((other, 0.0, {"x": 1.0}) for other in "bcd"))
    for second in range(100, 1500, 100):
        push(windows, *((vehicle, float(second), {"x": 1.0}) for vehicle in "abcd"))
    assert push(windows, ("a", 1450.0, {"x": 1.0})).warming_up.tolist() == [False]


def test_windows_take_an_empty_block():
    empty = VehicleWindows(ONE).push([], np.empty(0), np.empty((0, 1)))
    assert empty.features.shape == (0, len(ONE.features))


def test_windows_keep_histories_for_as_long_as_a_gap_may_be_and_refuse_bounds_without_meaning():
    assert VehicleWindows(ONE, idle_s=GAP_S / 2).idle_s == GAP_S
    for bounds in ({"idle_s": 0.0}, {"idle_s": NAN}, {"max_vehicles": 0}):
        with pytest.raises(ValueError, match="idle_s must be above 0 and max_vehicles at least 1"):
            VehicleWindows(ONE, **bounds)
