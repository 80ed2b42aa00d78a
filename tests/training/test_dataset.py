from collections.abc import Mapping
from typing import Any

import numpy as np

from fleet.features import FEATURES
from simulator.city import City
from simulator.vehicles import SimulatedFleet
from training.dataset import (
    CALIBRATION,
    EVALUATION,
    SENDERS,
    SOURCES,
    TRAINING,
    FleetRequest,
    Rows,
    collect,
    hide,
    hide_at_random,
    plan_fleets,
)

CITY = City.generate()


def silent(_line: str) -> None:
    pass


class LyingFleet:
    """A real fleet whose truth, and whose claims about its past, are made up."""

    def __init__(self, request: FleetRequest) -> None:
        self._fleet = SimulatedFleet(request.seed, request.first, request.count, CITY, request.fault_rate)

    def step(self, dt_s: float) -> Mapping[str, Any]:
        state = self._fleet.step(dt_s)
        count = len(state["vehicleId"])
        return {**state, "anomaly": np.ones(count, bool), "anomalyType": ["invented"] * count, "acceleration": 9.9}


def honest(request: FleetRequest) -> SimulatedFleet:
    return SimulatedFleet(request.seed, request.first, request.count, CITY, request.fault_rate)


def rows(make_fleet: Any = honest, fault_rate: float = 0.2) -> Rows:
    return collect(make_fleet, plan_fleets(3, 0, 30, (0,), fault_rate, (1.0, 5.0)), 60, silent, "test")


def test_rows_of_a_plan_are_complete_and_repeatable():
    data = rows()
    assert data.features.shape == (2 * 15 * 60, len(FEATURES))
    assert len(data.truth) == len(data.vehicle) == len(data.timestamp_s) == len(data.features)
    assert len(np.unique(data.vehicle)) == 30
    assert data.warming_up.sum() == 30
    np.testing.assert_array_equal(data.features, rows().features)


def test_rows_carry_truth_beside_features_and_never_in_them():
    honest_rows, lying_rows = rows(), rows(LyingFleet)
    assert set(honest_rows.truth) > {None}
    assert set(lying_rows.truth) == {"invented"}
    np.testing.assert_array_equal(honest_rows.features, lying_rows.features)


def test_rows_of_clean_fleets_have_no_faults():
    assert not rows(fault_rate=0.0).faulty.any()


def test_plans_for_different_purposes_share_no_vehicle():
    def vehicles(seed: int, purpose: int) -> set[tuple[int, int]]:
        plan = plan_fleets(seed, purpose, 50, (0, 1), 0.0)
        return {(request.seed, request.first + i) for request, _ in plan for i in range(request.count)}

    trained = set().union(*(vehicles(seed, TRAINING) for seed in range(20)))
    for purpose in (CALIBRATION, EVALUATION):
        assert all(trained.isdisjoint(vehicles(seed, purpose)) for seed in range(40))


def test_hide_removes_what_needs_the_hidden_sources_and_nothing_else():
    features = np.ones((4, len(FEATURES)), np.float32)
    known = {
        name: {FEATURES[k] for k in np.flatnonzero(~np.isnan(hide(features, hidden)[0]))}
        for name, hidden in SENDERS.items()
    }
    assert known["all signals"] == set(FEATURES)
    assert known["first event"] == {name for name in FEATURES if "slope" not in name} - {
        "acceleration_kmh_s",
        "position_speed_error_kmh",
        "step_excess_m",
    }
    assert known["speed and temperature alone"] == {
        "speed_kmh",
        "acceleration_kmh_s",
        "temperature_c",
        "temperature_slope_c_s",
    }
    assert "speed_over_limit" not in known["no limit, no road, no traffic"]


def test_hide_at_random_leaves_half_of_the_rows_whole_and_changes_no_value():
    features = np.arange(5000 * len(FEATURES), dtype=np.float32).reshape(5000, -1)
    hidden = hide_at_random(features, np.random.default_rng(0))
    lacking = np.isnan(hidden)
    assert 0.45 < (~lacking.any(axis=1)).mean() < 0.65
    assert lacking.any(axis=0).all()
    np.testing.assert_array_equal(hidden[~lacking], features[~lacking])


def test_every_sender_lacks_known_sources():
    assert set().union(*SENDERS.values()) <= set(SOURCES)
