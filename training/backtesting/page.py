"""The page of a backtest: figures, the distribution of scores, and the episodes with the largest errors."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.model.bundle import ModelBundle
from training.backtesting.measuring import DETECTOR, Compared, event_figures, values_of
from training.backtesting.recordings import Recordings
from training.backtesting.scoring import Scored
from training.report import EpisodeView, Report, ScoredRows, Table

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

_EPISODES_SHOWN: Final = 6


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
    rows = tuple((name, *(f"{value:.4f}" for value in values_of(own))) for name, own in figures.items())
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
