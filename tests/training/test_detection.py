"""The detector from scratch, at a tenth of the size of `fleet evaluate`: floors that a working one is well above."""

from pathlib import Path

import pytest

from commands.evaluate import FINDINGS
from commands.train import make_fleet, training_plan
from fleet.detection.episodes import EpisodeRules
from simulator.senders import HabitMix
from training.evaluate import Evaluation, EvaluationPlan, evaluate_bundle
from training.train import train_bundle

FOUND_AT_ONCE = ("overspeed", "gps_jump", "drop_out", "battery_low", "engine_overheat", "fuel_theft", "message_loss")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    models: Path = tmp_path_factory.mktemp("detection")
    plan = training_plan(seed=11, hours=60, epochs=8, false_alarm_rate=0.0005)
    bundle = train_bundle(make_fleet, models, plan, lambda _: None)
    habits = HabitMix.without(*FINDINGS).shares
    size = EvaluationPlan(
        seed=11, habits=habits, vehicle_hours=60, faulty_vehicle_hours=90, home_vehicle_hours=20, high_fault_rate=0.1
    )
    return evaluate_bundle(bundle, make_fleet, size, EpisodeRules(), lambda _: None)[0]


@pytest.mark.parametrize("fault", FOUND_AT_ONCE)
def test_detector_finds_plain_faults(evaluation: Evaluation, fault: str) -> None:
    assert evaluation.faults[fault].found >= 0.75


def test_detector_raises_few_false_alarms(evaluation: Evaluation) -> None:
    assert evaluation.false_alarm_rate <= 10 * evaluation.nominal_rate
    assert evaluation.false_episodes_per_hour <= 0.5


def test_detector_names_the_cause(evaluation: Evaluation) -> None:
    assert evaluation.cause_right >= 0.75


def test_detector_beats_the_baselines_on_the_same_windows(evaluation: Evaluation) -> None:
    own = evaluation.rows["autoencoder"]
    others = [rows for name, rows in evaluation.rows.items() if name != "autoencoder"]
    assert len(others) >= 4
    # Of senders that report seldom, or some signals, much of a fault is not to be seen.
    assert own.average_precision >= 0.5
    assert own.average_precision > max(rows.average_precision for rows in others)
