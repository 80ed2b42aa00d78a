"""Rows of ordinary telemetry -> a trained network, its calibration and its threshold.

Used by `training.train` (simulated fleets) and `training.backtesting` (recordings). Rows come through the product's own
windows; training, calibration and evaluation use different trips.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.calibration import Calibration, aspect_errors, event_rarity
from fleet.detection.features import FeaturePlan
from fleet.errors import FleetError
from training.autoencoder import Autoencoder
from training.baselines import shrunk as ledoit_wolf

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

# False alarm rates for which thresholds are noted beside the wanted one.
RATES: Final = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
_SCORE_ROWS: Final = 65_536
# Rows that follow each other say much the same: so many count as one where estimates need independent ones.
_ROWS_ALIKE: Final = 10.0
# Quantiles between which a value is said to be expected.
_ORDINARY: Final = (0.005, 0.995)
# Residuals beyond this are no news to a covariance.
_WINSORISED_AT: Final = 4.0
# A promise is kept in a trip that has at most so many times the wanted rate, and shall be kept in this share of trips.
TIMES_NOMINAL: Final = 2.0
TRIPS_KEPT: Final = 0.9
# Share of the rows that tells when to stop.
_VALIDATION_SHARE: Final = 0.12
_PATIENCE: Final = 4
# Where there are this many trips, this share of them is made to lack each channel with this probability.
_TRIPS_TO_HIDE_FROM: Final = 40
_SENDERS_LACKING: Final = 0.25
_LACKING: Final = 0.4
# Of a rarity's exponential tail: log10(e) where the scale holds, more where trips differ.
_TAIL_SCALES: Final = (0.43, 1.3)
# How often trips are drawn anew, and which part of the outcomes is believed.
_DRAWS: Final = 40
_CAUTION: Final = 0.8


class TrainingError(FleetError):
    """A training plan cannot give a model."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to fit a detector."""

    false_alarm_rate: float = 0.00025
    hidden_units: int = 10
    epochs: int = 12
    least_steps: int = 1500
    batch_rows: int = 1024
    hidden_share: float = 0.5
    """Share of the training rows in which sources of features are hidden, as senders without them do."""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class FittedDetector:
    """A fitted detector, before it is written as a bundle."""

    model: Autoencoder
    calibration: Calibration
    threshold: float
    thresholds: dict[float, float]
    """What the threshold would be for other false alarm rates."""


def fit_detector(
    plan: FeaturePlan,
    training: tuple[Features, Indices],
    calibration: tuple[Features, Indices],
    settings: FitSettings,
    say: Say,
) -> FittedDetector:
    """Fit a network to the rows float32[M, K] of `training`, and calibrate it on those of `calibration`.

    Both come with the trip intp[M] of each row. Raises TrainingError where there is too little of them.
    """
    if len(training[0]) < 20 or len(calibration[0]) < 20:
        counts = f"{len(training[0])} and {len(calibration[0])}"
        raise TrainingError(f"{counts} rows are too few to fit a detector: give more.")
    return calibrate(fit_network(plan, training, settings, say), plan, calibration, settings, say)


def fit_network(plan: FeaturePlan, training: tuple[Features, Indices], settings: FitSettings, say: Say) -> Autoencoder:
    """Fit a network to rows float32[M, K] with the trip intp[M] of each."""
    rows, trip = training
    ordinary, spread = scaling(rows, plan)
    model = Autoencoder.create(plan, ordinary, spread, settings.hidden_units, settings.seed)
    held = _train(model, rows, trip, settings, say)
    model.silence(_still(rows))
    _whiten(model, rows)
    model.set_bounds(_bounds(model, rows[~held], rows[held]))
    return model


def _still(rows: Features) -> Flags:
    """Return bool[K]: features of which the rows hold no two different values."""
    moved: Flags = np.fmax.reduce(rows, axis=0) > np.fmin.reduce(rows, axis=0)
    return ~moved


def scaling(rows: Features, plan: FeaturePlan) -> tuple[Floats, Floats]:
    """Return an ordinary value of each feature float64[K], and its spread below and above it float64[2, K].

    The median, and the distances to the 2.5 % and 97.5 % quantiles divided by 1.96 (for a Gaussian, its standard
    deviation): a few per cent of faults among the rows do not move them.
    """
    known = np.where(np.isnan(rows).all(axis=0), np.float32(0), rows)
    low, ordinary, high = np.nanquantile(known, [0.025, 0.5, 0.975], axis=0)
    spread = np.stack([ordinary - low, high - ordinary]) / 1.96
    # Features that hardly ever move: a hundredth of their whole range still is a difference.
    reach = np.where(plan.is_surprise, 0.0, (np.nanmax(known, axis=0) - np.nanmin(known, axis=0)) / 100)
    smallest = np.maximum(plan.smallest, np.minimum(reach, 1e6))
    both = np.where(plan.is_surprise, 0.0, np.maximum(spread, 0.1 * spread.max(axis=0)))
    return ordinary.astype(np.float64), np.maximum(np.maximum(both, smallest), 1e-6).astype(np.float64)


def event_errors(detector_errors: Callable[[Features], Features], rows: Features, plan: FeaturePlan) -> Floats:
    """Return the errors float64[M, 4 A + 1] of many rows, as `fleet.detection.calibration.aspect_errors` gives them."""
    parts = [aspect_errors(detector_errors(part), plan.aspect_of) for part in _parts(rows)]
    return np.concatenate(parts)


def calibrate(
    model: Autoencoder, plan: FeaturePlan, rows: tuple[Features, Indices], settings: FitSettings, say: Say
) -> FittedDetector:
    """Measure how often ordinary events reach an error, and set the threshold for the wanted false alarm rate."""
    features, trip = rows
    features = as_sent(plan, features, trip, np.random.default_rng([settings.seed, 3]))
    return FittedDetector(
        model, *calibrate_errors(plan, event_errors(model.errors, features, plan), trip, settings, say)
    )


def calibrate_errors(
    plan: FeaturePlan, errors: Floats, trip: Indices, settings: FitSettings, say: Say
) -> tuple[Calibration, float, dict[float, float]]:
    """Return what errors of ordinary events float64[M, 4 A + 1] give: calibration, threshold, thresholds by rate."""
    decades = max(np.log10(len(errors)) - 1.0, 1.0)
    grid = np.arange(0.1, decades + 0.05, 0.1)
    rng = np.random.default_rng([settings.seed, 2])
    draws = _drawn_trips(trip, rng)
    quantiles = np.stack([_transferable_quantiles(e, draws, grid) for e in errors.T])
    calibration = Calibration.of(grid, quantiles, plan.least_errors(grid), plan.error_is_run)
    rarity = event_rarity(calibration.rarity_of(errors))
    thresholds = {
        rate: max(tail_threshold(rarity, trip, rate, rng), trip_threshold(rarity, trip, rate))
        for rate in (*RATES, settings.false_alarm_rate)
    }
    threshold = thresholds[settings.false_alarm_rate]
    say(f"  threshold {threshold:.2f} decades for a false alarm rate of {settings.false_alarm_rate:g}")
    return calibration, threshold, thresholds


def as_sent(plan: FeaturePlan, features: Features, trip: Indices, rng: np.random.Generator) -> Features:
    """Hide some channels from some trips for good: not every sender has all of them, and all are judged alike."""
    names, of_row = np.unique(trip, return_inverse=True)
    if len(names) < _TRIPS_TO_HIDE_FROM:
        return features
    channels = plan.columns[:, 1]
    lacking = rng.random((len(names), channels.max() + 1)) < _LACKING
    lacking[rng.random(len(names)) >= _SENDERS_LACKING] = False
    needs = [sorted(plan.needs(channel)) for channel in range(channels.max() + 1)]
    hidden = np.stack([lacking[:, needs[c]].any(axis=1) if c >= 0 else np.zeros(len(names), bool) for c in channels], 1)
    return np.where(hidden[of_row], np.float32(np.nan), features)


def _drawn_trips(trip: Indices, rng: np.random.Generator) -> list[Floats]:
    """Draw the trips anew, with replacement, some times; returns how often each row was drawn, float64[M]."""
    names, of_event = np.unique(trip, return_inverse=True)
    chances = np.full(len(names), 1 / len(names))
    return [rng.multinomial(len(names), chances)[of_event].astype(np.float64) for _ in range(_DRAWS)]


def _transferable_quantiles(error: Floats, draws: list[Floats], rarity: Floats) -> Floats:
    """Return the errors float64[R] that events of *other trips* reach with the probability 10^-rarity, cautiously.

    The upper part of what the quantiles are when whole trips are drawn anew: an error that is large in a few trips only
    tells less than one that behaves alike in all.
    """
    common = rarity < 1.0  # there the trips agree
    tail = np.argpartition(-error, min(int(len(error) * 0.3), len(error) - 1))[: int(len(error) * 0.3) + 1]
    order = tail[np.argsort(-error[tail])]
    falling, shares = error[order], 10.0 ** -rarity[~common]
    found = np.empty((len(draws), len(shares)))
    for row, times in zip(found, draws, strict=True):
        place = np.searchsorted(np.cumsum(times[order]), shares * times.sum())
        row[:] = falling[np.minimum(place, len(falling) - 1)]
    return np.concatenate([np.quantile(error, 1 - 10.0 ** -rarity[common]), np.quantile(found, _CAUTION, axis=0)])


def tail_threshold(error: Floats, trip: Indices, rate: float, rng: np.random.Generator) -> float:
    """Return a threshold that a share of about `rate` of the events of *other trips* will exceed.

    A plain quantile does not transfer: a few trips make up the tail, and the next ones differ. So whole trips are
    drawn anew 200 times, and the 80th percentile of the resulting quantiles is taken. Where the rate is below what
    the rows can show, the tail is extended by a fit to its last part (exponential in rarity: Pickands, Annals of
    Statistics, 1975, with shape 0, as SPOT does with any shape).
    """
    names, of_event = np.unique(trip, return_inverse=True)
    share = max(rate, min(30.0 / len(error), 0.05))
    tail = np.argsort(error)[::-1][: max(30, int(len(error) * min(1.0, share * 20)))]
    wanted = share * len(error)
    found = []
    for _ in range(200):
        times_drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        reached = np.cumsum(times_drawn[of_event[tail]])
        found.append(error[tail[min(int(np.searchsorted(reached, wanted)), len(tail) - 1)]])
    at_share = float(np.quantile(found, 0.8))
    if share <= rate:
        return at_share
    beyond = error[error > at_share] - at_share
    # The median, and bounds: a few broken trips among those that calibrate must not set every threshold.
    scale = float(np.clip(np.median(beyond) / np.log(2), *_TAIL_SCALES)) if len(beyond) else _TAIL_SCALES[0]
    return at_share + scale * float(np.log(share / rate))


def trip_threshold(error: Floats, trip: Indices, rate: float) -> float:
    """Return a threshold above which nine of ten *other trips* have at most twice the `rate`.

    Each trip has a threshold at which it keeps that. Of T trips like the next one, the next one's is at most the
    ⌈0.9 (T + 1)⌉-th smallest in nine of ten cases (split conformal prediction: Vovk, Gammerman, Shafer, 2005). Fewer
    than nine trips cannot promise as much; theirs is the largest.
    """
    of_trip = np.argsort(trip, kind="stable")
    own = np.split(error[of_trip], np.flatnonzero(np.diff(trip[of_trip])) + 1)
    kept = np.sort([np.sort(rows)[::-1][int(TIMES_NOMINAL * rate * len(rows))] for rows in own])
    return float(kept[min(int(np.ceil(TRIPS_KEPT * (len(kept) + 1))), len(kept)) - 1])


def trips_kept(is_alarm: Flags, trip: Indices, rate: float) -> Flags:
    """Say for each trip whether its alarms bool[M] are at most twice the `rate`, bool[T]."""
    _, of_event = np.unique(trip, return_inverse=True)
    kept: Flags = np.bincount(of_event, is_alarm) <= TIMES_NOMINAL * rate * np.bincount(of_event)
    return kept


def _train(model: Autoencoder, rows: Features, trip: Indices, settings: FitSettings, say: Say) -> Flags:
    """Fit the linear part in one step, then all of it by gradients; keep the weights that validate best.

    Returns bool[M]: the rows that validated.
    """
    rng = np.random.default_rng([settings.seed, 1])
    validation = _validation(trip, rng)
    shown, held = rows[~validation], rows[validation]
    model.start_linear(_linear(model, shown))
    batch_rows = int(np.clip(len(shown) // 16, 32, settings.batch_rows))
    steps = max(1, len(shown) // batch_rows)
    epochs = max(settings.epochs, -(-settings.least_steps // steps))
    best, best_loss, since = model.weights(), model.loss(held), 0
    say(f"  {len(shown):,} rows, {epochs} epochs of {steps} steps; loss {best_loss:.4f} of the linear start")
    for epoch in range(epochs):
        # Down a cosine: large steps first, so that the last epochs settle instead of wandering.
        learning_rate = 2e-3 * (0.02 + 0.98 * np.cos(np.pi / 2 * epoch / epochs) ** 2)
        loss = model.train_epoch(shown[rng.permutation(len(shown))], batch_rows, learning_rate, settings.hidden_share)
        held_loss = model.loss(held)
        since += 1
        if held_loss < best_loss:
            best, best_loss, since = model.weights(), held_loss, 0
        if epoch % max(1, epochs // 12) == 0 or epoch == epochs - 1:
            say(f"  epoch {epoch + 1:2d} of {epochs}: loss {loss:8.4f}, on held-out rows {held_loss:8.4f}")
        if since > max(_PATIENCE, epochs // 5):
            break
    model.set_weights(best)
    return validation


def _validation(trip: Indices, rng: np.random.Generator) -> Flags:
    """Hold whole trips back; where there are few, the end of each."""
    names = np.unique(trip)
    if len(names) >= 8:
        held = rng.choice(names, max(1, round(len(names) * _VALIDATION_SHARE)), replace=False)
        return np.isin(trip, held)
    validation = np.zeros(len(trip), np.bool_)
    for name in names:
        own = np.flatnonzero(trip == name)
        validation[own[int(len(own) * (1 - _VALIDATION_SHARE)) :]] = True
    return validation


def _linear(model: Autoencoder, rows: Features) -> Floats:
    """Return the ridge regression float64[K, J] of each group's scaled features on those of the other groups."""
    plan = model.plan
    scaled = np.clip(np.concatenate([model.scaled(part) for part in _parts(rows)]), -3, 3).astype(np.float64)
    scaled = scaled[:: max(1, len(scaled) // 200_000)]
    centred = scaled - scaled.mean(axis=0)
    covariance = centred.T @ centred / len(scaled)
    independent = max(len(scaled) / _ROWS_ALIKE, 1.0)
    covariance += np.eye(len(covariance)) * (0.02 + len(covariance) / independent / 2)
    direct = np.zeros((len(covariance), model.judged))
    for group, tier in np.ndindex(len(plan.groups), 2):
        inside = plan.group_of == group
        own = np.flatnonzero((inside & (plan.tier_of == tier))[: model.judged])
        others = np.flatnonzero(~inside | ((plan.tier_of == 0) & (tier == 1)))
        direct[np.ix_(others, own)] = np.linalg.solve(
            covariance[np.ix_(others, others)], covariance[np.ix_(others, own)]
        )
    return direct


def _whiten(model: Autoencoder, rows: Features) -> None:
    """Decorrelate the residuals, within aspects and over all: Σ^(-1/2) of a covariance shrunk towards its diagonal."""
    rows = rows[:: max(1, len(rows) // 400_000)]
    residuals = np.concatenate([model.residuals(part) for part in _parts(rows)]).astype(np.float64)
    residuals = np.clip(np.nan_to_num(residuals), -_WINSORISED_AT, _WINSORISED_AT)
    covariance = residuals.T @ residuals / len(residuals)
    # Where the network's spread is at its least, residuals are quiet: they stay so.
    variance = np.maximum(np.diag(covariance), 1.0)
    independent = max(len(residuals) / _ROWS_ALIKE, 1.0)
    shrinkage = float(np.clip(len(covariance) / (len(covariance) + independent), 0.05, 0.95))
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.diag(variance)
    np.fill_diagonal(shrunk, variance)
    aspect = model.plan.aspect_of
    by_aspect = shrunk * (aspect[:, None] == aspect[None, :])
    model.set_whitening(_inverse_root(by_aspect), _joint_whitening(model, rows))


def _joint_whitening(model: Autoencoder, rows: Features) -> Floats:
    """Return Σ^(-1/2) of the scaled features, with Ledoit and Wolf's shrinkage: rows may be few."""
    scaled = np.concatenate([model.scaled(part) for part in _parts(rows)])[:, : model.judged].astype(np.float64)
    covariance = scaled.T @ scaled / len(scaled)
    # Where no run was seen in training, the first one must not stand for everything.
    covariance += np.diag(np.where(model.plan.is_run, np.maximum(1.0 - np.diag(covariance), 0.0), 0.0))
    fourth_moments = float(((scaled**2).sum(axis=1) ** 2).sum())
    values, vectors = np.linalg.eigh(ledoit_wolf(covariance, fourth_moments, len(scaled)))
    root: Floats = (vectors / np.sqrt(np.maximum(values, 1e-3 * values.mean()))) @ vectors.T
    return root


def _bounds(model: Autoencoder, *parts: Features) -> Floats:
    """Return the deviations float64[2, J] between which 99 % of the ordinary values lie, in spreads, in any of `parts`.

    Measured and not taken from the distribution that is trained for: speeds change more often by much, tanks by little.
    A whole spread is ordinary at least, both ways, however quiet the rows were.
    """
    low, high = np.stack([_ordinary_deviations(model, rows) for rows in parts], axis=1)
    return np.stack([np.minimum(low.min(axis=0), -1.0), np.maximum(high.max(axis=0), 1.0)])


def _ordinary_deviations(model: Autoencoder, rows: Features) -> Floats:
    rows = rows[:: max(1, len(rows) // 200_000)]
    deviations = np.concatenate([model.deviations(part) for part in _parts(rows)])
    known = np.where(np.isnan(deviations).all(axis=0), np.float32(0), deviations)
    quantiles: Floats = np.nanquantile(known, _ORDINARY, axis=0)
    return quantiles


def _inverse_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors / np.sqrt(np.maximum(values, 0.02))) @ vectors.T
    return root


def _parts(rows: Features) -> list[Features]:
    return [rows[start : start + _SCORE_ROWS] for start in range(0, len(rows), _SCORE_ROWS)]
