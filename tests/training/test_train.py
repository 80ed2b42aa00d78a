from pathlib import Path

import numpy as np
import pytest

from commands.train import _make_fleet
from fleet.autoencoder import Autoencoder
from fleet.features import VehicleWindows
from fleet.model_bundle import ModelBundle, read_bundle
from fleet.scoring import judge
from fleet.telemetry import decode_block
from training.evaluate import EvaluationPlan, describe, evaluate_bundle
from training.train import TrainingError, TrainingPlan, tail_threshold, train_bundle

PLAN = TrainingPlan(
    seed=7,
    training_cities=(1,),
    calibration_cities=(5,),
    vehicles=210,
    calibration_vehicles=210,
    events_per_vehicle=120,
    epochs=12,
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


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return train_bundle(_make_fleet, tmp_path_factory.mktemp("models"), PLAN, silent)


@pytest.fixture(scope="module")
def model(bundle: ModelBundle) -> Autoencoder:
    return Autoencoder.load(bundle)


def verdict(bundle: ModelBundle, model: Autoencoder, record: bytes) -> tuple[bool, str | None]:
    block, rejects = decode_block([record], 10_000)
    assert not rejects
    features = VehicleWindows().push(block.vehicle_ids, block.timestamp_s, block.signals).features
    verdicts = judge(model.errors(features), bundle)
    return bool(verdicts.is_anomaly[0]), verdicts.causes[0]


def test_training_writes_a_bundle_that_reads_back_and_says_how_it_went(bundle):
    assert read_bundle(bundle.folder.parent).version == bundle.version
    assert bundle.metrics["seed"] == 7
    assert bundle.metrics["target_false_alarm_rate"] == 0.001


def test_trained_model_finds_faults_of_unseen_vehicles_and_few_others(bundle):
    plan = EvaluationPlan(vehicles=100, events_per_vehicle=200, fault_rate=0.08)
    lines: list[str] = []
    evaluation = evaluate_bundle(bundle, _make_fleet, plan, lines.append)
    own = evaluation.results["autoencoder"]
    assert own.false_alarm_rate < 0.004
    assert own.roc_auc > 0.9
    assert own.average_precision > 0.8
    assert own.recall["engine_overheat"] > 0.7
    assert own.recall["battery_low"] > 0.7
    assert own.recall["overspeed"] > 0.5
    assert evaluation.cause_accuracy > 0.95
    assert own.average_precision > evaluation.results["PCA-6 residual"].average_precision
    assert max(evaluation.alarms_by_sender.values()) < 0.004
    text = describe(evaluation, bundle)
    assert bundle.version in text[0]
    assert any(line.startswith("largest |z|") for line in text)
    assert lines


def test_trained_model_finds_the_origin_systems_message_ordinary(bundle, model):
    assert verdict(bundle, model, ORIGIN) == (False, None)


@pytest.mark.parametrize(
    ("ordinary", "faulty", "cause"),
    [
        (b'"speed":30.76833372095486', b'"speed":130.0', "overspeed"),
        (b'"temperature":77.64902713313586', b'"temperature":121.0', "engine_overheat"),
        (b'"temperature":77.64902713313586', b'"temperature":900', "engine_overheat"),
        (b'"battery":79.83259027687475', b'"battery":6.0', "battery_low"),
        (b'"trafficLevel":3', b'"trafficLevel":77', "context"),
    ],
)
def test_trained_model_finds_the_same_message_with_a_fault_and_names_it(bundle, model, ordinary, faulty, cause):
    assert verdict(bundle, model, ORIGIN.replace(ordinary, faulty)) == (True, cause)


@pytest.mark.parametrize(
    "record",
    [
        b'{"vehicleId":"a","timestamp":1,"speed":50}',
        b'{"vehicleId":"a","timestamp":1,"latitude":48.1,"longitude":11.5}',
        b'{"vehicleId":"a","timestamp":1,"temperature":88}',
        b'{"vehicleId":"a","timestamp":1,"speed":0,"temperature":20,"night":true}',
    ],
)
def test_trained_model_finds_an_event_with_few_signals_ordinary(bundle, model, record):
    assert verdict(bundle, model, record) == (False, None)


def test_training_with_the_same_seed_gives_the_same_threshold(bundle, tmp_path):
    again = train_bundle(_make_fleet, tmp_path, PLAN, silent)
    np.testing.assert_array_equal(again.mean, bundle.mean)
    assert again.threshold == pytest.approx(bundle.threshold, rel=0.05)


def test_tail_threshold_holds_on_vehicles_that_were_not_drawn():
    rng = np.random.default_rng(0)

    def errors() -> tuple[np.ndarray, np.ndarray]:
        scale = rng.lognormal(0, 0.5, 200)  # some vehicles are rougher than others
        return (rng.exponential(1, (200, 500)) * scale[:, None]).ravel(), np.repeat(np.arange(200), 500)

    exceeded = [(errors()[0] > tail_threshold(*errors(), 0.001, rng)).mean() for _ in range(10)]
    assert np.median(exceeded) < 0.0011
    assert np.median(exceeded) > 0.0002


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (TrainingPlan(false_alarm_rate=0.0), "must be above 0"),
        (TrainingPlan(false_alarm_rate=0.5), "at most 0.05"),
        (TrainingPlan(calibration_vehicles=10, events_per_vehicle=20), "take more vehicles"),
    ],
)
def test_training_refuses_plans_that_cannot_give_a_model(tmp_path: Path, plan, sentence):
    with pytest.raises(TrainingError, match=sentence):
        train_bundle(_make_fleet, tmp_path, plan, silent)
    assert list(tmp_path.iterdir()) == []
