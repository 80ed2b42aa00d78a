"""What a detector reached on labelled rows, beside baselines on the same windows, and how that is told."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.features import FeaturePlan
from fleet.events.channels import ChannelSpec
from training import metrics
from training.backtesting.histories import prepare, spec_columns, windowed
from training.backtesting.recordings import Recordings
from training.backtesting.scoring import Scored
from training.baselines import windowed_baselines

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

DETECTOR: Final = "autoencoder"


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
    after_effects: float
    """Share of the ordinary rows one to five minutes after a labelled stretch that alarm."""
    delays_s: Floats = field(repr=False)


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
        metrics.share_after(stretches, vehicle, scored.time_s, scored.verdicts.is_anomaly),
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
        f"{'  realised, 1 to 5 minutes after stretches':42s}{events.after_effects:10.3%}",
    ]


def _aligned(figures: Figures) -> Iterator[str]:
    return (f"{value:{width}.4f}" for value, width in zip(values_of(figures), (9, 11, 9, 10, 11), strict=True))


def values_of(figures: Figures) -> tuple[float, ...]:
    """Return the figures in the order in which they are told."""
    return (
        figures.roc_auc,
        figures.average_precision,
        figures.vus_pr,
        figures.recall_at_1_percent,
        figures.recall_at_1_per_mille,
    )
