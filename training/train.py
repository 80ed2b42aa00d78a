"""Simulated telemetry without faults -> a trained and calibrated model bundle.

Rows come from `training.dataset`, the fit from `training.fitting`, the result goes to `fleet.detection.model.bundle`.
Training, calibration and evaluation use different vehicles in different cities.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import ModelBundle, write_bundle
from fleet.events.channels import VEHICLE_DATA
from training.dataset import CALIBRATION, TRAINING, MakeFleet, Rows, Say, collect, plan_drives
from training.fitting import FitSettings, FittedDetector, TrainingError, fit_detector


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to train on and what to aim at."""

    training_cities: tuple[int, ...] = (1, 2, 3, 4, 7)
    calibration_cities: tuple[int, ...] = (5, 6, 8, 9)
    vehicle_hours: float = 360.0
    calibration_vehicle_hours: float = 540.0
    keep: float = 0.25
    """Share of the events that become rows: many vehicles tell more than many events of few."""
    contamination: float = 0.0
    """Share of the training vehicles' time that is faulty, unlabelled."""
    habits: Mapping[str, float] | None = None
    """Share of the senders that have each habit; None is a usual fleet's."""
    fit: FitSettings = field(default_factory=FitSettings)


def train_bundle(make_fleet: MakeFleet, models_folder: Path, plan: TrainingPlan, say: Say) -> ModelBundle:
    """Collect data, train, calibrate and write the bundle; `say` is told of progress, line by line.

    Raises TrainingError where the plan cannot give a model.
    """
    _check(plan)
    features = FeaturePlan.of(VEHICLE_DATA)
    say("Driving simulated vehicles")
    rows = _rows(features, make_fleet, plan, TRAINING, say)
    held_out = _rows(features, make_fleet, plan, CALIBRATION, say)
    detector = fit_detector(
        features, (rows.features, rows.vehicle), (held_out.features, held_out.vehicle), plan.fit, say
    )
    metrics = {
        "seed": plan.fit.seed,
        "training_events": len(rows.truth),
        "calibration_events": len(held_out.truth),
        "false_alarm_rate": plan.fit.false_alarm_rate,
    }
    bundle = write_detector(models_folder, features, detector, plan.fit, metrics)
    say(f"Wrote model {bundle.version}")
    return bundle


def write_detector(
    models_folder: Path, plan: FeaturePlan, detector: FittedDetector, settings: FitSettings, metrics: dict[str, float]
) -> ModelBundle:
    """Write a fitted detector as the current bundle; its metrics also say thresholds for other false alarm rates."""
    return write_bundle(
        models_folder,
        save_network=detector.model.freeze,
        plan=plan,
        threshold=detector.threshold,
        calibration=detector.calibration,
        metrics={**metrics, **{f"threshold_at_{rate:g}": value for rate, value in detector.thresholds.items()}},
    )


def _rows(features: FeaturePlan, make_fleet: MakeFleet, plan: TrainingPlan, purpose: int, say: Say) -> Rows:
    training = purpose == TRAINING
    hours = plan.vehicle_hours if training else plan.calibration_vehicle_hours
    cities = plan.training_cities if training else plan.calibration_cities
    fault_rate = plan.contamination if training else 0.0
    drives = plan_drives(plan.fit.seed, purpose, hours, cities, fault_rate, plan.keep, plan.habits)
    return collect(features, make_fleet, drives, say, "training" if training else "calibration")


def _check(plan: TrainingPlan) -> None:
    if not 0 < plan.fit.false_alarm_rate <= 0.05:
        raise TrainingError(
            f"The false alarm rate must be above 0 and at most 0.05, but it is {plan.fit.false_alarm_rate}: change it."
        )
    if plan.vehicle_hours <= 0 or plan.calibration_vehicle_hours <= 0:
        raise TrainingError("Training and calibration need more than 0 vehicle-hours each: give some.")
