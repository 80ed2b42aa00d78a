"""A bundle from simulated vehicles: what training writes, and what the small one makes of well-known messages."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.train import make_fleet
from fleet.detection.model.bundle import read_bundle
from fleet.detection.verdicts import judge
from fleet.events.channels import VEHICLE_DATA
from tests.small_detector import PLAN, LoadedDetector
from training.dataset import plan_drives
from training.fitting import FitSettings, TrainingError
from training.train import TrainingPlan, train_bundle

TINY = TrainingPlan(
    habits={"every_10_s": 0.1},
    training_cities=(1,),
    calibration_cities=(5,),
    vehicle_hours=6.0,
    calibration_vehicle_hours=6.0,
    fit=FitSettings(epochs=1, least_steps=1),
)
ORIGIN = (
    b'{"vehicleId":"8K0TIH","timestamp":1764533865.5503478,"latitude":-31.413947457841243,'
    b'"longitude":-64.1875766703414,"speed":30.76833372095486,"previousSpeed":39.896813877021906,'
    b'"acceleration":-9.128480156067045,"temperature":77.64902713313586,"battery":79.83259027687475,'
    b'"fuelLevel":99.51234711683932,"weather":"rain","roadType":"urban","speedLimit":60.0,"night":true,'
    b'"trafficLevel":3,"anomaly":false,"anomalyType":null}'
)


def silent(_line: str) -> None:
    pass


def verdict(detector: LoadedDetector, record: bytes) -> tuple[bool, str | None]:
    verdicts = detector.verdicts([record])
    return bool(verdicts.is_anomaly[0]), verdicts.causes[0]


def test_training_writes_a_bundle_that_reads_back_and_says_how_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = functools.partial(plan_drives, duration_s=600.0)
    monkeypatch.setattr("training.train.plan_drives", brief)
    lines: list[str] = []
    bundle = train_bundle(make_fleet, tmp_path, TINY, lines.append)
    assert read_bundle(tmp_path).version == bundle.version
    assert bundle.plan == PLAN
    assert bundle.threshold > 1
    assert (bundle.metrics["seed"], bundle.metrics["false_alarm_rate"]) == (7, TINY.fit.false_alarm_rate)
    assert bundle.metrics["training_events"] > 1_000
    assert bundle.metrics["calibration_events"] > 1_000
    assert any("threshold" in line for line in lines)
    assert lines[-1] == f"Wrote model {bundle.version}"


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (TrainingPlan(fit=FitSettings(false_alarm_rate=0.0)), "must be above 0"),
        (TrainingPlan(fit=FitSettings(false_alarm_rate=0.5)), "at most 0.05"),
        (TrainingPlan(vehicle_hours=0.0), "more than 0 vehicle-hours"),
        (TrainingPlan(calibration_vehicle_hours=-1.0), "more than 0 vehicle-hours"),
    ],
)
def test_training_refuses_plans_that_cannot_give_a_model(tmp_path: Path, plan: TrainingPlan, sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        train_bundle(make_fleet, tmp_path, plan, silent)
    assert list(tmp_path.iterdir()) == []


# The small bundle of the session -------------------------------------------------------------------------------------


def test_the_origin_systems_message_is_ordinary(detector: LoadedDetector) -> None:
    assert verdict(detector, ORIGIN) == (False, None)


@pytest.mark.parametrize(
    ("ordinary", "faulty", "cause"),
    [
        (b'"speed":30.76833372095486', b'"speed":130.0', "overspeed"),
        (b'"temperature":77.64902713313586', b'"temperature":160.0', "engine_overheat"),
        (b'"temperature":77.64902713313586', b'"temperature":900', "engine_overheat"),
        (b'"battery":79.83259027687475', b'"battery":2.0', "battery_low"),
    ],
)
def test_the_same_message_with_a_fault_is_found_and_named(
    detector: LoadedDetector, ordinary: bytes, faulty: bytes, cause: str
) -> None:
    assert verdict(detector, ORIGIN.replace(ordinary, faulty)) == (True, cause)


@pytest.mark.parametrize(
    "record",
    [
        b'{"vehicleId":"a","timestamp":1,"speed":50}',
        b'{"vehicleId":"a","timestamp":1,"latitude":48.1,"longitude":11.5}',
        b'{"vehicleId":"a","timestamp":1,"temperature":88}',
        b'{"vehicleId":"a","timestamp":1,"battery":70}',
        b'{"vehicleId":"a","timestamp":1,"speed":0,"temperature":20,"night":true}',
    ],
)
def test_an_event_with_few_signals_is_scored_on_what_it_has(detector: LoadedDetector, record: bytes) -> None:
    """Unknown is not zero: what is missing, or null, has no part in the error."""
    features = detector.features([record])
    scores = detector.scores(features)
    assert np.isfinite(scores.error).all()
    assert judge(scores, detector.bundle).causes == [None], "to lack signals is no anomaly"
    heaviest = [k for k, share in zip(scores.largest[0], scores.share[0], strict=True) if share > 0]
    assert not np.isnan(features[0, heaviest]).any()
    nulls = json.dumps({**dict.fromkeys(VEHICLE_DATA.field_names), **json.loads(record)}).encode()
    np.testing.assert_array_equal(detector.features([nulls]), features)


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (b'{"vehicleId":"a","timestamp":1,"temperature":400}', "engine_overheat"),
        (b'{"vehicleId":"a","timestamp":1,"battery":-300}', "battery_low"),
    ],
)
def test_a_single_signal_can_be_an_anomaly(detector: LoadedDetector, record: bytes, cause: str) -> None:
    assert verdict(detector, record) == (True, cause)


def drive(**truth: Any) -> list[bytes]:
    """Five minutes of three vehicles, one of which overheats."""
    rng = np.random.default_rng(6)
    values = []
    for second in range(300):
        for vehicle in range(3):
            heat = 88 + 0.2 * second * (vehicle == 1) + rng.normal(0, 0.3)
            fields = {"speed": 50 + rng.normal(0, 2), "temperature": heat, "battery": 80.0, "fuelLevel": 50.0}
            event = {"vehicleId": f"v{vehicle}", "timestamp": 1764533865 + second, **fields, "speedLimit": 60.0}
            values.append(json.dumps({**event, **truth}).encode())
    return values


def test_the_truth_changes_no_score(detector: LoadedDetector) -> None:
    """`anomaly` and `anomalyType` travel in the same JSON, and reach neither a feature nor an error."""
    versions = [
        drive(),
        drive(anomaly=False, anomalyType=None),
        drive(anomaly=True, anomalyType="engine_overheat"),
        [value.replace(b'{"', b'{"anomaly":true,"anomalyType":"x","', 1) for value in drive()],
    ]
    features = [detector.features(values) for values in versions]
    scores = [detector.scores(block) for block in features]
    assert (scores[0].error > detector.bundle.threshold).any(), "there is something to find"
    for other, score in zip(features[1:], scores[1:], strict=True):
        np.testing.assert_array_equal(other, features[0])
        for name in ("error", "aspect", "explained", "largest", "share"):
            np.testing.assert_array_equal(getattr(score, name), getattr(scores[0], name))
