"""What comes late of a silence is judged by what was known then."""

import numpy as np
import pytest

from fleet.detection.windows import VehicleWindows
from tests.fleet.detection.windows_harness import BUILT_IN, NAN, usual_drive

COUNT, FROM, TO = 600, 300, 360
LATE = np.arange(FROM, TO)
LIVE = np.arange(TO, COUNT)
LAG_S = 0.3
TIME_S, SIGNALS = usual_drive(COUNT)
ROWS = np.stack([SIGNALS.get(name, np.full(COUNT, NAN)) for name in BUILT_IN.spec.field_names], axis=1)
# What an event's own time says of its delivery is another matter.
OF_TIME = [name for name in BUILT_IN.names if name.startswith(("interval", "log_interval", "lag", "ahead", "behind"))]
OF_VALUES = [number for number, name in enumerate(BUILT_IN.names) if name not in OF_TIME and name != "history"]

BETWEEN = np.concatenate([np.arange(FROM), np.stack([LIVE[:60], LATE], axis=1).ravel(), LIVE[60:]])
AFTERWARDS = np.concatenate([np.arange(FROM), LIVE, LATE])


def pushed(order, windows=None, horizon_s=3600.0):
    """Push the drive in the order of its arrival; returns features by event, not by arrival."""
    windows = windows or VehicleWindows(BUILT_IN, late_horizon_s=horizon_s)
    arrived_s = np.maximum.accumulate(TIME_S[order]) + 0.001 * np.arange(len(order)) + LAG_S
    block = windows.push(["v"] * len(order), TIME_S[order], ROWS[order], arrived_s)
    features = np.full((COUNT, block.features.shape[1]), NAN, np.float32)
    features[order] = block.features
    return features


@pytest.mark.parametrize("order", [BETWEEN, AFTERWARDS], ids=["between live events", "after them"])
def test_a_stretch_that_comes_late_has_the_features_that_it_would_have_had_in_time(order):
    in_time = pushed(np.arange(COUNT))
    np.testing.assert_array_equal(pushed(order)[LATE][:, OF_VALUES], in_time[LATE][:, OF_VALUES])


def test_what_is_older_than_the_horizon_is_scored_by_its_levels_alone():
    levels = [number for number, name in enumerate(BUILT_IN.names) if name.endswith("_medium")]
    assert not np.isnan(pushed(AFTERWARDS)[LATE][:, levels]).all()
    assert np.isnan(pushed(AFTERWARDS, horizon_s=100.0)[LATE][:, levels]).all()


def test_live_events_do_not_notice_what_comes_late_between_them():
    silent = pushed(np.concatenate([np.arange(FROM), LIVE]))
    np.testing.assert_array_equal(pushed(BETWEEN)[LIVE][:, OF_VALUES], silent[LIVE][:, OF_VALUES])


def test_a_past_before_a_silence_goes_on_in_restored_windows():
    order, cut = BETWEEN, FROM + 31
    windows = VehicleWindows(BUILT_IN)
    pushed(order[:cut], windows)
    restored = VehicleWindows(BUILT_IN)
    restored.restore(windows.snapshot())
    np.testing.assert_array_equal(pushed(order[cut:], restored), pushed(order[cut:], windows))
    assert not np.isnan(pushed(order[cut:], restored)).all()


def test_pasts_before_silences_are_let_go_after_the_horizon_and_take_no_vehicles_place():
    windows = VehicleWindows(BUILT_IN, idle_s=1e6, max_vehicles=8, late_horizon_s=1000.0)
    nothing = np.full((1, ROWS.shape[1]), NAN)

    def hear(vehicle_id, at_s):
        windows.push([vehicle_id], np.array([at_s]), nothing, np.array([at_s]))

    for vehicle_id in "abcd":
        for at_s in (*range(10), 60):
            hear(vehicle_id, TIME_S[0] + at_s)
    assert len(windows.snapshot()["seen_s"]) == 8
    for vehicle_id in "efgh":
        hear(vehicle_id, TIME_S[0] + 61)
    assert set("efgh") <= set(windows.snapshot()["vehicle_ids"])
    hear("h", TIME_S[0] + 1e5)
    assert len(windows.snapshot()["seen_s"]) == len(windows)
