"""Faults put into held-out trips of a recording without labels, and what is found of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.model.network import Network
from fleet.errors import RecordingError
from fleet.events.channels import ChannelSpec
from training.backtesting.bundle import BacktestSettings, fit_bundle
from training.backtesting.injection import InjectionPlan, inject
from training.backtesting.measuring import EventFigures, Figures, compare, describe, event_figures, values_of
from training.backtesting.recordings import Recordings
from training.backtesting.scoring import score_rows
from training.backtesting.specification import spec_for
from training.fitting import trips_kept
from training.metrics import wilson_interval

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

# Between the draws of faults, so that no fold's meets another's.
_SEEDS_APART: Final = 1_000


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Means over the folds."""

    figures: Mapping[str, Figures]
    found: float
    delay_s: float
    false_alarm_rate: float
    after_effects: float
    """Share of the rows one to five minutes after a fault that alarm."""
    false_alarm_rate_clean: float
    """On the same held-out rows before faults were put into them."""
    trips_kept: int
    """Of the held-out trips without faults, those with at most twice the wanted rate."""
    trips: int


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
    results: list[_Draw] = []
    clean: list[_Clean] = []
    for number, held in enumerate(np.array_split(shuffled, folds)):
        is_held = np.isin(recordings.vehicle, held)
        say(f"Fold {number + 1} of {folds}: {len(held)} trips held out, {int((~is_held).sum()):,} rows to fit")
        fit, own = recordings.picked(np.flatnonzero(~is_held)), replace(settings, seed=settings.seed + number)
        drawn, without = _fold(
            fit, recordings.picked(np.flatnonzero(is_held)), spec_for(fit, described), draws, own, say
        )
        results += drawn
        clean.append(without)
    return _summary(results, clean)


class _Draw(NamedTuple):
    """What was reached on the held-out trips of a fold with faults in them."""

    figures: Mapping[str, Figures]
    events: EventFigures


class _Clean(NamedTuple):
    """What was reached on the same trips without faults."""

    false_alarm_rate: float
    kept: Flags


def _summary(results: Sequence[_Draw], clean: Sequence[_Clean]) -> CrossValidation:
    events = [result.events for result in results]
    return CrossValidation(
        figures={name: _mean_figures([result.figures[name] for result in results]) for name in results[0].figures},
        found=_mean([event.found for event in events]),
        delay_s=_mean([event.delay_s for event in events]),
        false_alarm_rate=_mean([event.false_alarm_rate for event in events]),
        after_effects=_mean([event.after_effects for event in events]),
        false_alarm_rate_clean=_mean([without.false_alarm_rate for without in clean]),
        trips_kept=sum(int(without.kept.sum()) for without in clean),
        trips=sum(len(without.kept) for without in clean),
    )


def _fold(
    fit: Recordings, clean: Recordings, spec: ChannelSpec, draws: int, settings: BacktestSettings, say: Say
) -> tuple[list[_Draw], _Clean]:
    """Fit on some trips, and measure on others, each time with other faults in them."""
    with TemporaryDirectory() as folder:
        bundle = fit_bundle(fit, spec, settings, Path(folder), say)
        model = Network.load(bundle)
    is_alarm = score_rows(model, bundle, clean).verdicts.is_anomaly
    without = _Clean(float(is_alarm.mean()), trips_kept(is_alarm, clean.vehicle, settings.false_alarm_rate))
    results = []
    for draw in range(draws):
        faulty = with_faults(clean, settings.seed + _SEEDS_APART * draw)
        scored = score_rows(model, bundle, faulty)
        results.append(_Draw(compare(scored, fit, faulty, spec).figures, event_figures(scored, faulty)))
    return results, without


def with_faults(recordings: Recordings, seed: int) -> Recordings:
    """Return a recording with labelled faults in it (`training.backtesting.injection`)."""
    injection = inject(recordings.values, recordings.vehicle, recordings.time_s, InjectionPlan(seed=seed))
    return replace(recordings, values=injection.values, label=injection.label)


def _mean_figures(figures: Sequence[Figures]) -> Figures:
    return Figures(*(_mean(values) for values in zip(*map(values_of, figures), strict=True)))


def _mean(values: Sequence[float]) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def describe_folds(validation: CrossValidation, nominal: float) -> list[str]:
    """Return the means over folds and draws as lines of text."""
    low, high = wilson_interval(validation.trips_kept, validation.trips)
    return [
        *describe(validation.figures),
        f"{'faults found by an episode':42s}{validation.found:10.3f}",
        f"{'median delay of those, s':42s}{validation.delay_s:10.1f}",
        f"{'false alarm rate, nominal':42s}{nominal:10.3%}",
        f"{'  realised, beside faults':42s}{validation.false_alarm_rate:10.3%}",
        f"{'  realised, 1 to 5 minutes after faults':42s}{validation.after_effects:10.3%}",
        f"{'  realised, without faults':42s}{validation.false_alarm_rate_clean:10.3%}",
        f"{'  at most twice the nominal':42s}{validation.trips_kept:10,} of {validation.trips:,} trips:"
        f" 95 % confident of {100 * low:.0f} to {100 * high:.0f} % of others",
    ]
