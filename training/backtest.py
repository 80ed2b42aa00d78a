"""Recordings -> a detector fitted on some, verdicts on others, with exactly what serves: `fleet backtest`.

Neighbours: `training.recordings` reads the files, `training.fitting` fits, `fleet.detection.model.bundle` keeps the
detector, and rows go through `fleet.detection.windows`, `fleet.detection.attribution`, `fleet.detection.verdicts` and
`fleet.detection.episodes` as an event does in ingest. `training.metrics`, `training.baselines` and `training.report`
measure and show; `commands.backtest` runs it.

What is decided here, because recordings differ and a fleet's specification does not say it:

- Histories. Rows go through the windows by vehicle and in order of time, whatever the file's order. A vehicle that was
  silent for longer than `gap_s` begins a new history: 20 of its usual intervals, two minutes at least. Rows of one
  vehicle with the same time (a recorder with coarse times) are spread evenly up to the next time.
- Features. A memory over T events is worth having when the rows to fit hold many independent stretches of T and the
  histories are longer than T; otherwise it describes the recording and not the vehicle. See `kinds_for`.
- Calibration. It wants rows that the fit has not seen. Where there are eight histories or more, or few rows, they are
  parted into folds: the network is fitted on all, and calibrated on what networks without a fold say of it (how
  histories differ is what a threshold has to know, and of few each counts). Where there are too many rows for that,
  some histories are held back; of few long ones, the last part of each in time. Neighbouring rows say much the same,
  so errors are drawn anew by blocks of rows, not by row.
"""

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, TextIO, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fleet.detection.attribution import Reconstruction, score
from fleet.detection.detector import Conclusion, Detector, EventBlock
from fleet.detection.episodes import EpisodeChange, EpisodeRules
from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.network import Network
from fleet.detection.verdicts import Verdicts
from fleet.errors import RecordingError
from fleet.events.channels import DEFAULT_FEATURES, ChannelSpec, FeatureKind, plain_spec
from training import metrics
from training.baselines import windowed_baselines
from training.fitting import FitSettings, FittedDetector, calibrate_errors, event_errors, fit_network
from training.injection import InjectionPlan, inject
from training.recordings import Recordings
from training.report import EpisodeView, Report, ScoredRows, Table
from training.train import write_detector

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

LEAST_ROWS: Final = 60
DETECTOR: Final = "autoencoder"
_BLOCK_ROWS: Final = 16_384
_LEAST_GAP_S: Final = 120.0
_GAP_INTERVALS: Final = 20.0
# Between the draws of faults, so that no fold's meets another's.
_SEEDS_APART: Final = 1_000
# Events that the longest memory behind a kind of feature spans.
_MEMORY_EVENTS: Final[Mapping[FeatureKind, int]] = {"fast": 5, "medium": 30, "rough": 30, "slow": 120, "drift": 480}
# So many stretches of its length must the rows to fit hold for a memory to be worth having.
_STRETCHES: Final = 24
_CALIBRATION_SHARE: Final = 0.3
_FOLDS: Final = 4
_HISTORIES_TO_FOLD: Final = 8
# Less than a third of so few would tell too little of the tail.
_FEW_ROWS: Final = 2_000
# Beyond, fitting once takes as long as five times would before.
_MOST_ROWS_TO_FOLD: Final = 60_000
_FEW_HISTORIES: Final = 5
# Pieces of one history that count as independent when errors are drawn anew.
_PIECES: Final = 20
_EPISODES_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording's R rows in the order in which they go through the windows."""

    order: Indices
    """intp[R]: their places in the file."""
    vehicle: Indices
    """intp[R]: by vehicle, then by time."""
    time_s: Floats
    """float64[R], strictly increasing within a vehicle."""
    history: Indices
    """intp[R]: the number of its vehicle's history, over all vehicles."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The verdicts on a recording's R rows, in the file's order."""

    features: Features
    verdicts: Verdicts
    episode: list[str | None]
    opened: "EpisodeSpans"
    time_s: Floats
    """float64[R]: as it went through the windows, without ties."""


class EpisodeSpans(NamedTuple):
    """E episodes: whose, when they opened and were last heard of, and why."""

    vehicle: Indices
    time_s: Floats
    until_s: Floats
    causes: list[str]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one detector reached on labelled rows; NaN where there is nothing to measure."""

    roc_auc: float
    average_precision: float
    vus_pr: float
    recall_at_1_percent: float
    recall_at_1_per_mille: float


@dataclass(frozen=True, slots=True)
class Compared:
    """The detector and the baselines on the same labelled rows, by name, the detector first."""

    figures: Mapping[str, Figures]
    scores: Mapping[str, Floats]
    """float64[R] each, in the file's order."""


@dataclass(frozen=True, slots=True)
class EventFigures:
    """What the shipped detector's threshold and episodes reached on labelled rows."""

    found: float
    delay_s: float
    false_alarm_rate: float
    delays_s: Floats = field(repr=False)


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Means over the folds."""

    figures: Mapping[str, Figures]
    found: float
    delay_s: float
    false_alarm_rate: float
    false_alarm_rate_clean: float
    """On the same held-out rows before faults were put into them."""


# --- Rows ---------------------------------------------------------------------------------------------------------


def usual_interval_s(recordings: Recordings) -> float:
    """Return the median step from row to row within vehicles; 1 where there is none."""
    order = np.lexsort((recordings.time_s, recordings.vehicle))
    step_s = np.diff(recordings.time_s[order])
    step_s = step_s[(np.diff(recordings.vehicle[order]) == 0) & (step_s > 0)]
    return float(np.median(step_s)) if len(step_s) else 1.0


def gap_after_s(interval_s: float) -> float:
    """Return the silence after which a new history begins, for rows that usually follow at `interval_s`."""
    return max(_LEAST_GAP_S, _GAP_INTERVALS * interval_s)


def prepare(recordings: Recordings, gap_s: float) -> Prepared:
    """Order the rows of a recording by vehicle and time, and tell histories apart."""
    order = np.lexsort((recordings.time_s, recordings.vehicle))
    vehicle = recordings.vehicle[order]
    time_s = _without_ties(vehicle, recordings.time_s[order])
    begins = np.append(True, (np.diff(vehicle) != 0) | (np.diff(time_s) > gap_s))
    return Prepared(order, vehicle, time_s, np.cumsum(begins[: len(order)]) - 1)


def _without_ties(vehicle: Indices, time_s: Floats) -> Floats:
    """Spread rows of one vehicle and time evenly up to its next time, or as far as to the one before."""
    fresh = np.append(True, (np.diff(vehicle) != 0) | (np.diff(time_s) > 0))[: len(time_s)]
    if fresh.all():
        return time_s
    first = np.flatnonzero(fresh)
    count = np.diff(np.append(first, len(time_s)))
    step_s = np.diff(time_s[first])
    usable = (np.diff(vehicle[first]) == 0) & (step_s > 0)
    usual_s = float(np.median(step_s[usable])) if usable.any() else 1.0
    room_s = np.append(np.where(usable, np.minimum(step_s, usual_s), usual_s), usual_s)
    place = np.arange(len(time_s)) - np.repeat(first, count)
    return time_s + place * np.repeat(room_s / count, count)


def windowed(plan: FeaturePlan, prepared: Prepared, values: Floats) -> Features:
    """Return the features float32[R, K] of the rows of `prepared`, values float64[R, S] in the file's order."""
    names = [str(number) for number in range(int(prepared.vehicle.max()) + 1)]
    detector = detector_of(plan, len(names))
    return np.concatenate([detector.enter(block).features for block in event_blocks(prepared, values, names)])


def detector_of(plan: FeaturePlan, vehicles: int, rules: EpisodeRules | None = None) -> Detector:
    """Return a detector that remembers every vehicle of a recording to its end."""
    # Vehicles come one after the other here, so their times lie far apart: nobody is idle.
    return Detector(plan, rules, idle_s=float("inf"), max_vehicles=max(vehicles, _BLOCK_ROWS))


def event_blocks(prepared: Prepared, values: Floats, names: Sequence[str]) -> Iterator[EventBlock]:
    """Yield the rows of `prepared`, values float64[R, S] in the file's order, as blocks of events."""
    for start in range(0, len(prepared.order), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        ids = [names[number] for number in prepared.vehicle[part].tolist()]
        order = prepared.order[part]
        yield EventBlock.recorded(ids, prepared.time_s[part], values[order], order.astype(np.int64))


def spec_columns(spec: ChannelSpec, recordings: Recordings) -> Floats:
    """Return the recording's columns as the specification's fields float64[R, S]; without a column it is unknown."""
    place = {name: column for column, name in enumerate(recordings.channels)}
    columns = np.full((len(recordings), len(spec.fields)), np.nan)
    for number, name in enumerate(spec.field_names):
        if name in place:
            columns[:, number] = recordings.values[:, place[name]]
    return columns


# --- Specification ------------------------------------------------------------------------------------------------


def kinds_for(rows: int, history_rows: float) -> tuple[FeatureKind, ...]:
    """Choose what a channel is looked at with, for `rows` rows to fit in histories of usually `history_rows`.

    A mean over T events has about rows / T independent values: with fewer than `_STRETCHES` of them its spread is
    not known, and in histories shorter than 2 T it has no past of its own.
    """
    longest = min(rows / _STRETCHES, history_rows / 2)
    return tuple(kind for kind in DEFAULT_FEATURES if _MEMORY_EVENTS.get(kind, 0) <= longest)


def spec_for(recordings: Recordings, described: ChannelSpec | None) -> ChannelSpec:
    """Return the specification to fit rows with: `described` as they support it, or the channels alone."""
    spec = channels_alone(recordings) if described is None else fitted_to(described, recordings)
    known = set(np.array(recordings.channels)[~np.isnan(recordings.values).all(axis=0)].tolist())
    # Of what was never seen nothing can be said: it stays a field of the event and is neither judged nor told.
    return msgspec.structs.replace(
        spec,
        channels=tuple(
            channel
            if channel.formula is not None or channel.name in known
            else msgspec.structs.replace(channel, role="judged", kind="number", codes={}, features=())
            for channel in spec.channels
        ),
    )


def channels_alone(recordings: Recordings) -> ChannelSpec:
    """Describe recordings of which nothing is known but the names of their channels."""
    gap_s = gap_after_s(usual_interval_s(recordings))
    rows_of = np.bincount(prepare(recordings, gap_s).history)
    usual = float((rows_of**2).sum() / rows_of.sum())  # of the history that a row is in
    return plain_spec("recording", recordings.channels, gap_s, kinds_for(len(recordings), usual))


def fitted_to(spec: ChannelSpec, recordings: Recordings) -> ChannelSpec:
    """Return a specification with the recording's own gap, and without memories that its rows cannot support."""
    alone = channels_alone(recordings)
    kinds = set(alone.channels[0].features)
    kept = tuple(
        msgspec.structs.replace(
            channel, features=tuple(k for k in channel.features if k not in _MEMORY_EVENTS or k in kinds)
        )
        for channel in spec.channels
    )
    return msgspec.structs.replace(spec, channels=kept, gap_s=alone.gap_s, timing=False)


# --- Fitting ------------------------------------------------------------------------------------------------------


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
        errors, trip = event_errors(model.errors, features[held], plan), trip[held]
    else:
        model = fit_network(plan, (features, history), fit, say)
        errors = np.empty((len(features), 4 * len(plan.aspects) + 1))
        for fold in range(int(folds.max()) + 1):
            say(f"  calibrating on part {fold + 1} of {int(folds.max()) + 1}")
            held = folds == fold
            without = fit_network(plan, (features[~held], history[~held]), fit, lambda _line: None)
            errors[held] = event_errors(without.errors, features[held], plan)
    return FittedDetector(model, *calibrate_errors(plan, errors, trip, fit, say))


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


# --- Scoring ------------------------------------------------------------------------------------------------------


def score_rows(
    model: Reconstruction, bundle: ModelBundle, recordings: Recordings, rules: EpisodeRules | None = None
) -> Scored:
    """Score and judge recordings as ingest does, in blocks, and follow their episodes."""
    spec = bundle.plan.spec
    prepared, names = prepare(recordings, spec.gap_s), recordings.vehicle_names
    # At five minutes an event, a silence is longer than at one second.
    detector = detector_of(bundle.plan, len(names), rules or replace(EpisodeRules(), silence_s=spec.gap_s))
    features: list[Features] = []
    conclusions: list[Conclusion] = []
    for block in event_blocks(prepared, spec_columns(spec, recordings), names):
        entered = detector.enter(block)
        features.append(entered.features)
        conclusions.append(detector.conclude(entered, score(model, bundle, entered.features, _BLOCK_ROWS), bundle))
    back = np.empty(len(prepared.order), np.intp)
    back[prepared.order] = np.arange(len(back))
    episode_ids = [episode_id for conclusion in conclusions for episode_id in conclusion.episode_ids]
    return Scored(
        np.concatenate(features)[back],
        Verdicts.joined([conclusion.verdicts for conclusion in conclusions]).picked(back),
        [episode_ids[place] for place in back.tolist()],
        _opened([change for conclusion in conclusions for change in conclusion.changes], names),
        prepared.time_s[back],
    )


def _opened(changes: Sequence[EpisodeChange], names: Sequence[str]) -> EpisodeSpans:
    """Sum up what was said of each episode: its first record says when it opened, its last one all the rest."""
    first = {change.episode.episode_id: change.episode for change in reversed(changes)}
    last = {change.episode.episode_id: change.episode for change in changes}
    number = {name: place for place, name in enumerate(names)}
    return EpisodeSpans(
        np.array([number[episode.vehicle_id] for episode in last.values()], np.intp),
        np.array([first[name].updated_at for name in last], np.float64),
        np.array([episode.updated_at for episode in last.values()], np.float64),
        [episode.cause or "" for episode in last.values()],
    )


def write_scores(path: Path, header: tuple[str, str], recordings: Recordings, scored: Scored, threshold: float) -> None:
    """Write one row per row of the recording, in its order; gzipped where the name ends in .gz.

    `header` are the names of its columns for time and vehicle. Raises RecordingError where it cannot be written.
    """
    verdicts = scored.verdicts
    rows = zip(
        recordings.time_text,
        recordings.vehicle_text,
        (f"{error:.6g}" for error in verdicts.reconstruction_error.tolist()),
        (f"{threshold:.6g}" for _ in range(len(recordings))),
        verdicts.is_anomaly.astype(np.int64).tolist(),
        (f"{severity:.6g}" for severity in verdicts.severity.tolist()),
        verdicts.causes,
        scored.episode,
        strict=True,
    )
    names = (*header, "score", "threshold", "is_anomaly", "severity", "reason", "episode")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _writing(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(rows)  # None, where nothing is wrong, is written as an empty cell
    except OSError as refusal:
        raise RecordingError(f"{path} cannot be written ({refusal.strerror}): give --out another place.") from None


def _writing(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "wb", compresslevel=4), encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


# --- Measuring ----------------------------------------------------------------------------------------------------


def compare(scored: Scored, fitting: Recordings, scoring: Recordings, spec: ChannelSpec) -> Compared:
    """Measure the detector's verdicts on labelled rows beside the baselines on the same windows.

    The baselines are fitted on all rows that the detector was given, those of its calibration included.
    """
    assert scoring.label is not None
    ordinary = windowed(FeaturePlan.of(spec), prepare(fitting, spec.gap_s), spec_columns(spec, fitting))
    scores = {DETECTOR: scored.verdicts.reconstruction_error}
    for baseline in windowed_baselines():
        baseline.fit(ordinary)
        scores[baseline.name] = baseline.score(scored.features)
    order = np.lexsort((scored.time_s, scoring.vehicle))
    label, vehicle = scoring.label[order], scoring.vehicle[order]
    return Compared({name: measured(own[order], label, vehicle) for name, own in scores.items()}, scores)


def measured(score: Floats, label: Flags, vehicle: Indices) -> Figures:
    """Measure scores float64[R] of rows by vehicle and time; every row counts."""
    return Figures(
        metrics.roc_auc(score, label),
        metrics.average_precision(score, label),
        metrics.vus_pr(score, label, vehicle),
        metrics.recall_at_rate(score, label, 0.01),
        metrics.recall_at_rate(score, label, 0.001),
    )


def event_figures(scored: Scored, recordings: Recordings) -> EventFigures:
    """Measure threshold and episodes: a labelled stretch is found when an episode opens between its ends."""
    assert recordings.label is not None
    label, vehicle, opened = recordings.label, recordings.vehicle, scored.opened
    stretches = metrics.find_stretches(label.astype(np.intp) - 1, vehicle, scored.time_s)
    delays_s = metrics.detection_delays(stretches, opened.vehicle, opened.time_s)
    return EventFigures(
        metrics.event_recall(delays_s),
        metrics.median_delay_s(delays_s),
        metrics.false_alarm_rate(scored.verdicts.is_anomaly, label),
        delays_s,
    )


def describe(figures: Mapping[str, Figures]) -> list[str]:
    """Return the figures by rows as aligned lines of text."""
    return [
        f"{'':22s}{'ROC AUC':>9s}{'avg.prec.':>11s}{'VUS-PR':>9s}{'r at 1 %':>10s}{'r at .1 %':>11s}",
        *(f"{name:22s}" + "".join(_aligned(own)) for name, own in figures.items()),
    ]


def describe_events(events: EventFigures, nominal: float) -> list[str]:
    """Return what threshold and episodes reached as lines of text."""
    return [
        f"{'labelled stretches found by an episode':42s}{events.found:10.3f} of {len(events.delays_s)}",
        f"{'median delay of those, s':42s}{events.delay_s:10.1f}",
        f"{'false alarm rate, nominal':42s}{nominal:10.3%}",
        f"{'  realised':42s}{events.false_alarm_rate:10.3%}",
    ]


def describe_folds(validation: CrossValidation, nominal: float) -> list[str]:
    """Return the means over folds and draws as lines of text."""
    return [
        *describe(validation.figures),
        f"{'faults found by an episode':42s}{validation.found:10.3f}",
        f"{'median delay of those, s':42s}{validation.delay_s:10.1f}",
        f"{'false alarm rate, nominal':42s}{nominal:10.3%}",
        f"{'  realised, beside faults':42s}{validation.false_alarm_rate:10.3%}",
        f"{'  realised, without faults':42s}{validation.false_alarm_rate_clean:10.3%}",
    ]


def _aligned(figures: Figures) -> Iterator[str]:
    return (f"{value:{width}.4f}" for value, width in zip(_values(figures), (9, 11, 9, 10, 11), strict=True))


def _values(figures: Figures) -> tuple[float, ...]:
    return (
        figures.roc_auc,
        figures.average_precision,
        figures.vus_pr,
        figures.recall_at_1_percent,
        figures.recall_at_1_per_mille,
    )


# --- Cross-validation ---------------------------------------------------------------------------------------------


def cross_validate(
    recordings: Recordings,
    described: ChannelSpec | None,
    folds: int,
    draws: int,
    settings: BacktestSettings,
    say: Say,
) -> CrossValidation:
    """Fit on the trips of all folds but one, put faults into that one's, score it; for each fold in turn.

    Faults are drawn `draws` times for each fold: few fit into one recording, and what they happen to be decides much.
    Trips are the recording's vehicles; `described` as in `spec_for`. Raises RecordingError where there are fewer trips
    than folds.
    """
    if not 2 <= folds <= len(recordings.vehicle_names):
        count = len(recordings.vehicle_names)
        raise RecordingError(
            f"{count} trips cannot make {folds} folds: give --folds between 2 and the number of trips."
        )
    shuffled = np.random.default_rng([settings.seed, 4]).permutation(len(recordings.vehicle_names))
    results = []
    for number, held in enumerate(np.array_split(shuffled, folds)):
        is_held = np.isin(recordings.vehicle, held)
        say(f"Fold {number + 1} of {folds}: {len(held)} trips held out, {int((~is_held).sum()):,} rows to fit")
        fit, own = recordings.picked(np.flatnonzero(~is_held)), replace(settings, seed=settings.seed + number)
        results += _fold(fit, recordings.picked(np.flatnonzero(is_held)), spec_for(fit, described), draws, own, say)
    return CrossValidation(
        {name: _mean_figures([result.figures[name] for result in results]) for name in results[0].figures},
        *(
            _mean([getattr(result, name) for result in results])
            for name in ("found", "delay_s", "false_alarm_rate", "false_alarm_rate_clean")
        ),
    )


def _fold(
    fit: Recordings, clean: Recordings, spec: ChannelSpec, draws: int, settings: BacktestSettings, say: Say
) -> list[CrossValidation]:
    """Fit on some trips, and measure on others, each time with other faults in them."""
    with TemporaryDirectory() as folder:
        bundle = fit_bundle(fit, spec, settings, Path(folder), say)
        model = Network.load(bundle)
    realised = float(score_rows(model, bundle, clean).verdicts.is_anomaly.mean())
    results = []
    for draw in range(draws):
        faulty = with_faults(clean, settings.seed + _SEEDS_APART * draw)
        scored = score_rows(model, bundle, faulty)
        events = event_figures(scored, faulty)
        figures = compare(scored, fit, faulty, spec).figures
        results.append(CrossValidation(figures, events.found, events.delay_s, events.false_alarm_rate, realised))
    return results


def with_faults(recordings: Recordings, seed: int) -> Recordings:
    """Return a recording with labelled faults in it (`training.injection`)."""
    injection = inject(recordings.values, recordings.vehicle, recordings.time_s, InjectionPlan(seed=seed))
    return replace(recordings, values=injection.values, label=injection.label)


def _mean_figures(figures: Sequence[Figures]) -> Figures:
    return Figures(*(_mean(values) for values in zip(*map(_values, figures), strict=True)))


def _mean(values: Sequence[float]) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


# --- The page -----------------------------------------------------------------------------------------------------


def report_of(
    title: str,
    recordings: Recordings,
    scored: Scored,
    compared: Compared | None,
    bundle: ModelBundle,
) -> Report:
    """Lay out the page of a backtest; without labels it has the distribution of scores and the episodes alone."""
    figures = compared.figures if compared else {}
    scores = compared.scores if compared else {DETECTOR: scored.verdicts.reconstruction_error}
    nominal = bundle.metrics["false_alarm_rate"]
    label = recordings.label
    told = [("rows scored", f"{len(recordings):,}"), ("episodes", f"{len(scored.opened.time_s):,}")]
    delays_s: dict[str, Floats] = {}
    if label is None:
        told.append(("rows alarmed", f"{scored.verdicts.is_anomaly.mean():.3%}"))
    else:
        events = event_figures(scored, recordings)
        told += [("ROC AUC", f"{figures[DETECTOR].roc_auc:.3f}"), ("stretches found", f"{events.found:.1%}")]
        told += [("false alarm rate", f"{events.false_alarm_rate:.3%}"), ("aimed at", f"{nominal:.3%}")]
        delays_s = {"labelled": events.delays_s}
    rows = tuple((name, *(f"{value:.4f}" for value in _values(own))) for name, own in figures.items())
    head = ("", "ROC AUC", "average precision", "VUS-PR", "recall at 1 %", "recall at 0.1 %")
    note = "Every row counts. The baselines see the same windows and are fitted on the same rows."
    return Report(
        title,
        f"Fitted on {bundle.metrics['training_events']:,.0f} rows; {len(recordings):,} rows of "
        f"{len(recordings.vehicle_names):,} vehicles scored. Threshold {bundle.threshold:.2f}.",
        tuple(told),
        (Table("By rows", head, rows, note),) if rows else (),
        ScoredRows(scores, bundle.threshold, label),
        delays_s,
        episodes=tuple(_episode_views(recordings, scored, bundle.threshold)),
    )


def _episode_views(recordings: Recordings, scored: Scored, threshold: float) -> Iterator[EpisodeView]:
    """Show the episodes with the largest errors, with as many rows before and behind them as they have, 60 at least."""
    opened, error = scored.opened, scored.verdicts.reconstruction_error
    by_vehicle = np.lexsort((scored.time_s, recordings.vehicle))
    first = np.searchsorted(recordings.vehicle[by_vehicle], np.arange(len(recordings.vehicle_names) + 1))
    found = []
    for number, vehicle in enumerate(opened.vehicle.tolist()):
        own = by_vehicle[first[vehicle] : first[vehicle + 1]]
        times_s = scored.time_s[own]
        begin = int(np.searchsorted(times_s, opened.time_s[number]))
        end = int(np.searchsorted(times_s, opened.until_s[number], side="right"))
        margin = int(np.clip(end - begin, 60, 600))
        found.append(
            (float(error[own[begin:end]].max(initial=0.0)), number, own[max(begin - margin, 0) : end + margin])
        )
    for _, number, rows in sorted(found, key=lambda entry: -entry[0])[:_EPISODES_SHOWN]:
        yield _episode_view(recordings, scored, threshold, number, rows)


def _episode_view(recordings: Recordings, scored: Scored, threshold: float, number: int, rows: Indices) -> EpisodeView:
    opened, label = scored.opened, recordings.label
    opened_s, until_s = float(opened.time_s[number]), float(opened.until_s[number])
    inside = rows[(scored.time_s[rows] >= opened_s) & (scored.time_s[rows] <= until_s)]
    weights: dict[str, float] = {}
    for row in inside.tolist():
        for feature, share in scored.verdicts.contributions[row].items():
            channel = max((c for c in recordings.channels if feature.startswith(c)), key=len, default="")
            weights[channel] = weights.get(channel, 0.0) + share
    shown = sorted((c for c in recordings.channels if c in weights), key=lambda c: -weights[c])[:3]
    place = {name: column for column, name in enumerate(recordings.channels)}
    return EpisodeView(
        title=f"{recordings.vehicle_names[opened.vehicle[number]]}, {recordings.time_text[inside[0]]}",
        cause=opened.causes[number] or None,
        truth=None if label is None or not label[inside].any() else "anomaly",
        time_s=scored.time_s[rows],
        signals={name: recordings.values[rows, place[name]] for name in shown or recordings.channels[:1]},
        score=scored.verdicts.reconstruction_error[rows],
        threshold=threshold,
        opened_s=opened_s,
        closed_s=until_s,
        faulty=None if label is None else label[rows],
    )
