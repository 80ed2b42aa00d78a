"""Rows for training: complete, repeatable, blind to the truth, and the same as what serving computes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fleet.detection.windows import VehicleWindows
from fleet.events.channels import VEHICLE_DATA
from fleet.events.telemetry import TelemetryDecoder
from simulator.city import City
from simulator.publisher import FIELDS, encode_rows
from simulator.senders import HABITS, HabitMix, ReportingFleet, Senders
from simulator.vehicles import SimulatedFleet
from tests.small_detector import PLAN
from training import dataset
from training.dataset import (
    CALIBRATION,
    EVALUATION,
    SENDERS,
    TRAINING,
    Drive,
    FleetRequest,
    Rows,
    collect,
    hide,
    plan_drives,
    run_drive,
)

CITY = City.generate()
START_S = 1_764_533_865.0
MIXED = {"every_5_s": 0.5, "only_changed": 0.3, "out_of_order": 0.3}


def honest(request: FleetRequest) -> ReportingFleet:
    mix = HabitMix() if request.habits is None else HabitMix(request.habits)
    senders = Senders(request.seed, request.first, request.count, mix, (0.02, 0.3))
    fleet = SimulatedFleet(request.seed, request.first, request.count, CITY, request.fault_rate, START_S)
    return ReportingFleet(fleet, senders, request.first)


class LyingFleet:
    """A real fleet whose truth, and whose claims about its past, are made up."""

    def __init__(self, request: FleetRequest) -> None:
        self._fleet = honest(request)

    def step(self, dt_s: float) -> Mapping[str, Any]:
        arrived = self._fleet.step(dt_s)
        count = len(arrived["vehicle"])
        claims = {"acceleration": np.full(count, 9.9), "previousSpeed": np.full(count, 180.0)}
        return {**arrived, **claims, "anomalyType": np.full(count, "invented", object)}


def rows(make_fleet: Any = honest, fault_rate: float = 0.2) -> Rows:
    drives = plan_drives(3, EVALUATION, 3.3334, (0,), fault_rate, habits=MIXED, duration_s=400.0)
    return collect(PLAN, make_fleet, drives, lambda _line: None, "test")


@pytest.fixture(scope="module")
def usual() -> Rows:
    return rows()


def test_rows_of_a_plan_are_complete_and_repeatable(usual):
    assert usual.features.shape[1] == len(PLAN.features)
    assert len(usual.truth) == len(usual.vehicle) == len(usual.timestamp_s) == len(usual.features)
    assert len(np.unique(usual.vehicle)) == 30
    by_vehicle = np.bincount(usual.vehicle)
    assert ((by_vehicle <= 80) | (by_vehicle > 160)).all(), "every second, or every fifth one"
    assert (by_vehicle <= 80).any()
    assert (by_vehicle > 380).any(), "but for the messages that get lost"
    assert set(usual.vehicle[usual.warming_up]) == set(range(30))
    again = rows()
    np.testing.assert_array_equal(usual.features, again.features)
    np.testing.assert_array_equal(usual.truth, again.truth)


def test_rows_carry_truth_beside_features_and_never_in_them(usual):
    lying = rows(LyingFleet)
    assert usual.faulty.any()
    assert not usual.faulty.all()
    assert lying.faults == ("invented",)
    assert lying.faulty.all()
    np.testing.assert_array_equal(usual.features, lying.features)


def test_rows_name_their_faults(usual):
    named = {usual.faults[code] for code in usual.truth[usual.faulty]}
    assert named == set(usual.faults)
    assert len(usual.faults) > 3


def test_rows_of_clean_fleets_have_no_faults():
    clean = rows(fault_rate=0.0)
    assert not clean.faulty.any()
    assert clean.faults == ()


def test_fewer_rows_are_kept_of_the_same_histories(usual):
    drives = plan_drives(3, EVALUATION, 3.3334, (0,), 0.2, keep=0.25, habits=MIXED, duration_s=400.0)
    kept = collect(PLAN, honest, drives, lambda _line: None, "test")
    assert 0.2 < len(kept.truth) / len(usual.truth) < 0.3
    history = PLAN.names.index("history")
    assert kept.features[:, history].max() > np.log(200), "all events enter the windows"


def test_rows_are_timed_when_they_were_measured_and_come_as_they_arrived(usual):
    for vehicle in np.unique(usual.vehicle):
        times_s = usual.timestamp_s[usual.vehicle == vehicle]
        assert len(np.unique(times_s)) == len(times_s)
    steps_s = np.concatenate([np.diff(usual.timestamp_s[usual.vehicle == v]) for v in np.unique(usual.vehicle)])
    assert (steps_s > 0).mean() > 0.9
    assert (steps_s < 0).any(), "some were overtaken"


def test_plans_spread_the_vehicle_hours_over_cities():
    drives = plan_drives(7, TRAINING, 240.0, (1, 2, 3), 0.0)
    hours = sum(drive.request.count * drive.duration_s / 3600 for drive in drives)
    assert hours == pytest.approx(240, rel=0.05)
    assert {drive.request.city for drive in drives} == {1, 2, 3}
    firsts = [drive.request.first for drive in drives]
    counts = [drive.request.count for drive in drives]
    assert firsts == [sum(counts[:i]) for i in range(len(counts))], "no vehicle is in two drives"
    assert len({drive.request.start_hour for drive in drives}) == 3


def test_plans_for_different_purposes_share_no_vehicle():
    def fleets(seed: int, purpose: int) -> set[int]:
        return {drive.request.seed for drive in plan_drives(seed, purpose, 50.0, (0, 1), 0.0)}

    trained = set().union(*(fleets(seed, TRAINING) for seed in range(20)))
    for purpose in (CALIBRATION, EVALUATION):
        assert all(trained.isdisjoint(fleets(seed, purpose)) for seed in range(40))


def test_hide_removes_what_needs_the_hidden_fields_and_nothing_else():
    features = np.ones((4, len(PLAN.features)), np.float32)
    known = {
        name: {PLAN.names[k] for k in np.flatnonzero(~np.isnan(hide(PLAN, features, lacking)[0]))}
        for name, lacking in SENDERS.items()
    }
    assert known["all signals"] == set(PLAN.names)
    for name, lacking in SENDERS.items():
        for feature in PLAN.features:
            channel = VEHICLE_DATA.channels[feature.channel]
            needs = set(channel.of or (channel.name,)) if feature.channel >= 0 else set()
            assert (feature.name in known[name]) == (not needs & lacking)
    assert "speed_over_limit_level" not in known["no limit, no road, no traffic"]
    assert "speed_level" in known["no limit, no road, no traffic"]


def test_every_sender_lacks_fields_of_the_specification():
    assert set().union(*SENDERS.values()) <= set(VEHICLE_DATA.field_names)


class Recording(VehicleWindows):
    """Windows that remember what was pushed, and what they made of it."""

    pushed: list[Any]

    def push(self, vehicle_ids: Any, timestamp_s: Any, signals: Any, appended_at_s: Any = None) -> Any:
        block = super().push(vehicle_ids, timestamp_s, signals, appended_at_s)
        self.pushed.append((vehicle_ids, timestamp_s, appended_at_s, block))
        return block


class Told:
    """A fleet that writes down what it said."""

    def __init__(self, fleet: ReportingFleet) -> None:
        self._fleet, self.said = fleet, []

    def step(self, dt_s: float) -> Any:
        arrived = self._fleet.step(dt_s)
        self.said.append({name: np.copy(column) for name, column in arrived.items()})
        return arrived


def encoded(arrived: Mapping[str, Any]) -> list[bytes]:
    """What arrived in a step, as the publisher's JSON."""
    columns = {name: arrived[name].tolist() for name in FIELDS if name in arrived}
    columns["vehicleId"] = [str(place) for place in arrived["vehicle"].tolist()]
    columns["anomaly"] = [fault is not None for fault in columns["anomalyType"]]
    columns["trafficLevel"] = [None if level != level else int(level) for level in columns["trafficLevel"]]
    columns["night"] = [None if night != night else bool(night) for night in columns["night"]]
    return encode_rows([columns[name] for name in FIELDS])


@pytest.mark.parametrize("habits", [{}, None, {"split_messages": 1.0}], ids=["ideal", "usual", "partial"])
def test_training_and_serving_compute_the_same_features(monkeypatch, habits):
    """A drive with faults, through the rows of training, and through JSON, decoder and windows."""
    Recording.pushed = []
    monkeypatch.setattr(dataset, "VehicleWindows", Recording)
    request = FleetRequest(seed=11, first=40, count=12, city=0, fault_rate=0.2, start_hour=0, habits=habits)
    fleet = Told(honest(request))
    trained = run_drive(PLAN, fleet, Drive(request, 900.0))
    assert set(trained.faults) & {"drop_out", "clock_skew", "message_loss"}, "what is hard to get right is among it"

    decoder, windows, served = TelemetryDecoder(), VehicleWindows(PLAN, idle_s=1e9), []
    for arrived, (_, timestamp_s, appended_at_s, block) in zip(fleet.said, Recording.pushed, strict=True):
        # What says nothing is refused here, and never reaches the windows there.
        telemetry, _ = decoder.decode_block(encoded(arrived), 10_000)
        np.testing.assert_array_equal(telemetry.timestamp_s, timestamp_s)
        again = windows.push(telemetry.vehicle_ids, telemetry.timestamp_s, telemetry.signals, appended_at_s)
        np.testing.assert_array_equal(again.features, block.features)
        np.testing.assert_array_equal(again.repeat, block.repeat)
        served.append(again.features[~again.repeat])
    np.testing.assert_array_equal(np.concatenate(served), trained.features)


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_can_be_driven_alone(habit):
    request = FleetRequest(seed=5, first=0, count=4, city=0, fault_rate=0.0, start_hour=0, habits={habit: 1.0})
    driven = run_drive(PLAN, honest(request), Drive(request, 30.0))
    assert (driven.timestamp_s >= START_S).all()
