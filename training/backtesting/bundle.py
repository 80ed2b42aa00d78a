"""A recording of ordinary operation -> a fitted and calibrated detector, as a bundle.

Calibration wants rows that the fit has not seen. Where there are eight histories or more, or few rows, they are parted
into folds: the network is fitted on all, and calibrated on what networks without a fold say of it (how histories
differ is what a threshold has to know, and of few each counts). Where there are too many rows for that, some histories
are held back; of few long ones, the last part of each in time. Neighbouring rows say much the same, so errors are
drawn anew by blocks of rows, not by row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.calibration import event_rarity
from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import ModelBundle
from fleet.errors import RecordingError
from fleet.events.channels import ChannelSpec
from training import metrics
from training.backtesting.histories import prepare, spec_columns, windowed
from training.backtesting.recordings import Recordings
from training.fitting import (
    FitSettings,
    FittedDetector,
    calibrate_errors,
    event_errors,
    fit_network,
    trips_kept,
)
from training.train import write_detector

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

LEAST_ROWS: Final = 60
_CALIBRATION_SHARE: Final = 0.3
_FOLDS: Final = 4
_HISTORIES_TO_FOLD: Final = 8
# Less than a third of so few would tell too little of the tail.
_FEW_ROWS: Final = 2_000
# Beyond, fitting once takes as long as five times would before.
_MOST_ROWS_TO_FOLD: Final = 60_000
_FEW_HISTORIES: Final = 5
# Fewer tell nothing of nine in ten others.
LEAST_TRIPS_TO_PROMISE: Final = 9
# Pieces of one history that count as independent when errors are drawn anew.
_PIECES: Final = 20


@dataclass(frozen=True, slots=True)
class BacktestSettings:
    """What a backtest aims at."""

    false_alarm_rate: float = 0.001
    seed: int = 7


def fit_bundle(
    recordings: Recordings, spec: ChannelSpec, settings: BacktestSettings, models_folder: Path, say: Say
) -> ModelBundle:
    """Fit and calibrate a detector on recordings of ordinary operation, and write it as a bundle.

    Raises RecordingError where there are too few rows.
    """
    if len(recordings) < LEAST_ROWS:
        raise RecordingError(f"{len(recordings)} rows are too few to fit a detector: give at least {LEAST_ROWS}.")
    plan = FeaturePlan.of(spec)
    prepared = prepare(recordings, spec.gap_s)
    features = windowed(plan, prepared, spec_columns(spec, recordings))
    fit = fit_settings(len(recordings), settings)
    detector = _fitted(plan, features, prepared.history, fit, say)
    told = {"seed": fit.seed, "training_events": len(recordings), "false_alarm_rate": fit.false_alarm_rate}
    return write_detector(models_folder, plan, detector, fit, told)


def _fitted(plan: FeaturePlan, features: Features, history: Indices, fit: FitSettings, say: Say) -> FittedDetector:
    """Fit a detector, and calibrate it on errors of rows that the network which made them has not seen."""
    trip = _blocks(history)
    folds = calibration_folds(history, fit.seed)
    if folds is None:
        held = calibration_rows(history, fit.seed)
        model = fit_network(plan, (features[~held], history[~held]), fit, say)
        errors, trip, history = event_errors(model.errors, features[held], plan), trip[held], history[held]
    else:
        model = fit_network(plan, (features, history), fit, say)
        errors = np.empty((len(features), 4 * len(plan.aspects) + 1))
        for fold in range(int(folds.max()) + 1):
            say(f"  calibrating on part {fold + 1} of {int(folds.max()) + 1}")
            held = folds == fold
            without = fit_network(plan, (features[~held], history[~held]), fit, lambda _line: None)
            errors[held] = event_errors(without.errors, features[held], plan)
    detector = FittedDetector(model, *calibrate_errors(plan, errors, trip, fit, say))
    error = event_rarity(detector.calibration.rarity_of(errors))
    say(f"  {promise(error > detector.threshold, history, fit.false_alarm_rate)}")
    return detector


def promise(is_alarm: Flags, trip: Indices, rate: float) -> str:
    """Say how far the wanted rate holds for other trips, from alarms bool[R] of trips intp[R] the fit has not seen."""
    kept = trips_kept(is_alarm, trip, rate)
    if len(kept) < LEAST_TRIPS_TO_PROMISE:
        trips = "1 trip is" if len(kept) == 1 else f"{len(kept)} trips are"
        return f"{trips} too few to promise a rate for others: give at least {LEAST_TRIPS_TO_PROMISE}"
    low, high = metrics.wilson_interval(int(kept.sum()), len(kept))
    others = f"95 % confident of {100 * low:.0f} to {100 * high:.0f} % of others"
    return f"at most twice that in {kept.sum()} of {len(kept)} trips: {others}"


def calibration_folds(history: Indices, seed: int) -> Indices | None:
    """Part rows into folds intp[R], by history, or where these are few, in time; None where one part is held back.

    Where there are few rows, or few histories, every one of them counts, for the fit and for what is known of the next
    one: each is calibrated on once. With many of both one part is enough; of few long histories the end tells most.
    """
    count, rows = int(history.max()) + 1, len(history)
    if rows > _MOST_ROWS_TO_FOLD or (count < _HISTORIES_TO_FOLD and rows > _FEW_ROWS):
        return None
    if count < _HISTORIES_TO_FOLD:
        return np.arange(rows) * _FOLDS // rows
    return (np.random.default_rng([seed, 5]).permutation(count) % _FOLDS)[history]


def fit_settings(rows: int, settings: BacktestSettings) -> FitSettings:
    """Choose the network's size and training by the rows: few rows support few units."""
    return FitSettings(
        false_alarm_rate=settings.false_alarm_rate,
        hidden_units=int(np.clip(rows // 500, 4, 16)),
        seed=settings.seed,
    )


def calibration_rows(history: Indices, seed: int) -> Flags:
    """Choose bool[R] rows to calibrate on: whole histories where there are several, else the end of each."""
    rows_of = np.bincount(history)
    held = np.zeros(len(history), np.bool_)
    if len(rows_of) >= _FEW_HISTORIES and rows_of.max() <= 0.4 * len(history):
        drawn = np.random.default_rng([seed, 3]).permutation(len(rows_of))
        before = np.cumsum(rows_of[drawn]) - rows_of[drawn]
        chosen = drawn[before < _CALIBRATION_SHARE * len(history)]
        return np.isin(history, chosen)
    place = np.arange(len(history)) - (np.cumsum(rows_of) - rows_of)[history]
    held[:] = place >= (1 - _CALIBRATION_SHARE) * rows_of[history]
    return held


def _blocks(history: Indices) -> Indices:
    """Cut histories into blocks intp[R] that are drawn as a whole: histories themselves where there are many."""
    rows_of = np.bincount(history)
    if len(rows_of) >= _PIECES:
        return history
    length = max(len(history) // (_PIECES * 3), 10)
    place = np.arange(len(history)) - (np.cumsum(rows_of) - rows_of)[history]
    _, block = np.unique(history * (1 + len(history)) + place // length, return_inverse=True)
    return block.astype(np.intp)
