"""Clean telemetry -> a trained and calibrated model bundle.

Rows come from `training.dataset`, the network from `fleet.autoencoder`, the result goes to `fleet.model_bundle`.
Training, calibration and evaluation use different vehicles in different cities, and training and calibration see no
faults: a detector that was shown a fault as normal does not report it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from fleet.autoencoder import Autoencoder
from fleet.errors import FleetError
from fleet.features import CONDITIONS, FEATURES
from fleet.model_bundle import Calibration, LayerSizes, ModelBundle, write_bundle
from training.dataset import (
    CALIBRATION,
    SENDERS,
    TRAINING,
    Features,
    Flags,
    Floats,
    Indices,
    MakeFleet,
    Rows,
    Say,
    collect,
    hide,
    hide_at_random,
    plan_fleets,
)

# Differences below these mean nothing on a road, however steady the training data were.
_SMALLEST_SCALE: Final = {
    "speed_over_limit": 0.08,
    "speed_kmh": 40.0,  # with no limit known, a fast road is not a fault
    "acceleration_kmh_s": 4.0,
    "position_speed_error_kmh": 3.0,
    "step_excess_m": 5.0,
    "temperature_c": 2.0,
    "temperature_slope_c_s": 0.4,
    "battery_pct": 3.0,
    "battery_slope_pct_s": 0.4,
    "fuel_pct": 5.0,
    "fuel_slope_pct_s": 0.8,
    "traffic_level": 0.5,
}
_CALIBRATION_TAIL_LOG10: Final = np.linspace(0.125, 4.0, 32)
_BATCH_ROWS: Final = 1024
_SCORE_ROWS: Final = 65_536


class TrainingError(FleetError):
    """A training plan cannot give a model."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to train on and what to aim at."""

    seed: int = 7
    training_cities: tuple[int, ...] = (1, 2, 3, 4)
    calibration_cities: tuple[int, ...] = (5, 6)
    vehicles: int = 1_000
    calibration_vehicles: int = 800
    events_per_vehicle: int = 400
    epochs: int = 16
    false_alarm_rate: float = 0.001
    layers: LayerSizes = field(default_factory=LayerSizes)


def train_bundle(make_fleet: MakeFleet, models_folder: Path, plan: TrainingPlan, say: Say) -> ModelBundle:
    """Collect data, train, calibrate and write the bundle; `say` is told of progress, line by line.

    Raises TrainingError where the plan cannot give a model.
    """
    _check(plan)
    say("Driving simulated vehicles without faults")
    rows = _clean_rows(make_fleet, plan, plan.training_cities, plan.vehicles, TRAINING, "training", say)
    held_out = _clean_rows(
        make_fleet, plan, plan.calibration_cities, plan.calibration_vehicles, CALIBRATION, "calibration", say
    )
    mean, scale = _scaling(rows.features)
    judged = np.array([name not in CONDITIONS for name in FEATURES])
    model = Autoencoder.create(mean, scale, judged, plan.layers, plan.seed)
    say(f"Training on {len(rows.features):,} events for {plan.epochs} epochs")
    _fit(model, rows.features, plan, say)
    say(f"Calibrating on {len(held_out.features):,} events of vehicles and cities not trained on")
    threshold, calibration = _calibrate(model, judged, held_out, plan, say)
    bundle = write_bundle(
        models_folder,
        save_weights=model.save_weights,
        mean=mean,
        scale=scale,
        threshold=threshold,
        calibration=calibration,
        layers=plan.layers,
        metrics={
            "seed": plan.seed,
            "training_events": len(rows.features),
            "calibration_events": len(held_out.features),
            "target_false_alarm_rate": plan.false_alarm_rate,
        },
    )
    say(f"Wrote model {bundle.version}, threshold {threshold:.4g}")
    return bundle


def mean_errors(model: Autoencoder, features: Features, judged: Flags) -> Floats:
    """Return float64[M] reconstruction errors as `fleet.scoring.judge` computes them, for many rows."""
    parts = [
        np.nansum(model.errors(features[start : start + _SCORE_ROWS]).astype(np.float64), axis=1)
        for start in range(0, len(features), _SCORE_ROWS)
    ]
    errors: Floats = np.concatenate(parts) / np.count_nonzero(judged)
    return errors


def tail_threshold(error: Floats, vehicle: Indices, rate: float, rng: np.random.Generator) -> float:
    """Return a threshold that a share of at most `rate` of events of *other vehicles* will exceed.

    A plain quantile does not transfer: a few vehicles make up the tail, and the next ones differ. So whole vehicles
    are drawn anew 200 times, and the 90th percentile of the resulting quantiles is taken.
    """
    tail = np.argsort(error)[::-1][: max(10, int(len(error) * min(1.0, rate * 20)))]
    names, of_event = np.unique(vehicle, return_inverse=True)
    wanted = rate * len(error)
    thresholds = []
    for _ in range(200):
        times_drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        reached = np.cumsum(times_drawn[of_event[tail]])
        thresholds.append(error[tail[min(int(np.searchsorted(reached, wanted)), len(tail) - 1)]])
    return float(np.quantile(thresholds, 0.9))


def _check(plan: TrainingPlan) -> None:
    if not 0 < plan.false_alarm_rate <= 0.05:
        raise TrainingError(
            f"The false alarm rate must be above 0 and at most 0.05, but it is {plan.false_alarm_rate}: change it."
        )
    tail = plan.calibration_vehicles * plan.events_per_vehicle * plan.false_alarm_rate
    if tail < 10:
        raise TrainingError(
            f"{plan.calibration_vehicles} vehicles with {plan.events_per_vehicle} events each cannot show a false"
            f" alarm rate of {plan.false_alarm_rate}: take more vehicles, more events or a higher rate."
        )


def _clean_rows(
    make_fleet: MakeFleet, plan: TrainingPlan, cities: tuple[int, ...], vehicles: int, purpose: int, what: str, say: Say
) -> Rows:
    fleets = plan_fleets(plan.seed, purpose, vehicles, cities, fault_rate=0.0)
    return collect(make_fleet, fleets, plan.events_per_vehicle, say, what)


def _scaling(features: Features) -> tuple[Features, Features]:
    """Return the mean float32[K] of the known values and the scale float32[2, K] below and above it.

    A third of the distance to the 0.1 % and 99.9 % quantiles: for a Gaussian about the standard deviation, for a
    lopsided feature the edge that it has on each side.
    """
    mean = np.nanmean(features, axis=0, dtype=np.float64)
    low, high = np.nanquantile(features, [0.001, 0.999], axis=0)
    smallest = np.array([_SMALLEST_SCALE.get(name, 0.2) for name in FEATURES])
    scale = np.maximum(np.stack([mean - low, high - mean]) / 3, smallest)
    return np.asarray(mean, np.float32), np.asarray(scale, np.float32)


def _fit(model: Autoencoder, features: Features, plan: TrainingPlan, say: Say) -> None:
    rng = np.random.default_rng([plan.seed, 1])
    for epoch in range(plan.epochs):
        target = features[rng.permutation(len(features))]
        # Down a cosine: large steps first, so that the last epochs settle instead of wandering.
        learning_rate = 2e-3 * (0.02 + 0.98 * np.cos(np.pi / 2 * epoch / plan.epochs) ** 2)
        loss = model.train_epoch(hide_at_random(target, rng), target, _BATCH_ROWS, learning_rate)
        say(f"  epoch {epoch + 1:2d} of {plan.epochs}: loss {loss:8.4f}")


def _calibrate(
    model: Autoencoder, judged: Flags, rows: Rows, plan: TrainingPlan, say: Say
) -> tuple[float, Calibration]:
    """Find the threshold that holds for every kind of sender, and the tail of those with all signals."""
    rng = np.random.default_rng([plan.seed, 2])
    thresholds = {}
    for sender, hidden in SENDERS.items():
        error = mean_errors(model, hide(rows.features, hidden), judged)
        thresholds[sender] = tail_threshold(error, rows.vehicle, plan.false_alarm_rate, rng)
        say(f"  {sender:30s} threshold {thresholds[sender]:7.3f}")
    error = mean_errors(model, rows.features, judged)
    quantiles = np.quantile(error, 1 - 10.0**-_CALIBRATION_TAIL_LOG10)
    # Strictly increasing even where errors tie: severity is interpolated between them.
    rising = np.maximum.accumulate(quantiles) + np.arange(len(quantiles)) * 1e-9
    return max(thresholds.values()), Calibration(_CALIBRATION_TAIL_LOG10, rising)
