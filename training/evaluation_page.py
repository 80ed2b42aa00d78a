"""The page of `fleet evaluate`: what an evaluation found, and what its figures were counted from.

Stands between `training.evaluate`, which measures, and `training.report`, which draws.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from fleet.events.channels import ChannelSpec
from training import metrics
from training.evaluate import TARGETS, Evaluation, Evidence, Judged, ignored_rows, ordinary_rows
from training.fitting import RATES
from training.habits import HabitResult
from training.report import EpisodeView, RealisedRates, Report, ScoredRows, Table

_MOST_ROWS: Final = 400_000
_AROUND_S: Final = 240.0
_SHOWN: Final[tuple[str, ...]] = ("speed_level", "temperature_level", "battery_level", "travel_error_mean30")
_EPISODES: Final[tuple[str, ...]] = (
    "gps_spoof",
    "coolant_drift",
    "sensor_bias",
    "stuck_sensor",
    "engine_overheat",
    "battery_low",
)


def evaluation_report(
    worst: Evaluation, evidence: Evidence, thresholds: dict[str, float], threshold: float, spec: ChannelSpec, seeds: int
) -> Report:
    """Lay out the worst figures of all seeds, and the plots of one of them."""
    usual = evidence.usual
    every = max(1, len(usual.error) // _MOST_ROWS)
    return Report(
        title="How good the detector is",
        subtitle=(
            f"Unseen vehicles in an unseen city of the simulator ({spec.name}), thresholds from calibration alone;"
            f" the worst of {seeds} seeds. A fault counts as found when an episode opens between its onset and its end."
        ),
        figures=(
            ("average precision at 2 % prevalence", f"{worst.rows['autoencoder'].average_precision:.3f}"),
            ("right cause in found faults", f"{worst.cause_right:.1%}"),
            ("false episodes per vehicle-hour", f"{worst.false_episodes_per_hour:.3f}"),
        ),
        tables=(_fault_table(worst), _detector_table(worst)),
        rows=ScoredRows(
            {"autoencoder": usual.error[::every], **{name: s[::every] for name, s in evidence.baselines.items()}},
            threshold,
            usual.rows.faulty[::every],
            ignored_rows(usual.rows)[::every],
        ),
        delays_s=_delays(evidence.faulty),
        rates=(_rates("new city", usual, thresholds),),
        episodes=tuple(_episodes(evidence.faulty, threshold, spec)),
    )


def evaluation_values(worst: Evaluation) -> dict[str, Any]:
    """Return the worst figures of all seeds for a JSON file, with what is aimed at."""
    return {**asdict(worst), "aims": {fault: target._asdict() for fault, target in TARGETS.items()}}


def habit_table(results: Mapping[str, HabitResult]) -> Table:
    """Show what senders' habits do, side by side with what is found of faults in spite of them."""
    rows = tuple(
        (
            name.replace("_", " "),
            f"{result.false_episodes_per_hour:.3f}",
            f"{result.alarm_share:.3%}",
            str(result.faults),
            f"{result.found:.3f}",
            f"{result.cause_right:.2f}",
            f"{result.delay_s:.0f} s",
        )
        for name, result in results.items()
    )
    header = ("habit", "false episodes per vehicle-hour", "alarms", "faults", "found", "right cause", "median delay")
    return Table("Senders that all have one habit", header, rows)


def _fault_table(worst: Evaluation) -> Table:
    rows = tuple(
        (
            fault,
            str(result.stretches),
            f"{result.found:.3f}",
            f"≥ {TARGETS[fault].found:.2f}",
            f"{result.delay_s:.0f} s",
            f"≤ {TARGETS[fault].delay_s:.0f} s",
            f"{result.cause_right:.2f}",
        )
        for fault, result in worst.faults.items()
    )
    header = ("fault", "number", "found", "aim", "median delay", "aim", "right cause")
    return Table("Faults, counted on episodes", header, rows)


def _detector_table(worst: Evaluation) -> Table:
    rows = tuple(
        (
            name,
            f"{m.roc_auc:.4f}",
            f"{m.average_precision:.4f}",
            f"{m.recall_at_1_percent:.3f}",
            f"{m.recall_at_1_per_mille:.3f}",
        )
        for name, m in worst.rows.items()
    )
    header = ("detector", "ROC AUC", "average precision", "recall at 1 % false", "recall at 0.1 % false")
    return Table("Rows, at 2 % prevalence, beside baselines on the same features", header, rows)


def _delays(judged: Judged) -> dict[str, metrics.Floats]:
    rows, opened = judged.rows, judged.opened
    stretches = metrics.find_stretches(rows.truth, rows.vehicle, rows.timestamp_s)
    delays = metrics.detection_delays(stretches, opened.vehicle, opened.time_s)
    return {fault: delays[stretches.fault == number] for number, fault in enumerate(rows.faults)}


def _rates(name: str, judged: Judged, thresholds: dict[str, float]) -> RealisedRates:
    error = judged.error[ordinary_rows(judged.rows)]
    realised = [float((error > thresholds[f"threshold_at_{rate:g}"]).mean()) for rate in RATES]
    return RealisedRates(name, np.array(RATES), np.array(realised))


def _episodes(judged: Judged, threshold: float, spec: ChannelSpec) -> list[EpisodeView]:
    """Pick an episode of some faults that was found, with its vehicle's signals around it."""
    rows, opened = judged.rows, judged.opened
    stretches = metrics.find_stretches(rows.truth, rows.vehicle, rows.timestamp_s)
    delays = metrics.detection_delays(stretches, opened.vehicle, opened.time_s)
    views = []
    for fault in _EPISODES:
        if fault not in rows.faults:
            continue
        found = np.flatnonzero((stretches.fault == rows.faults.index(fault)) & np.isfinite(delays))
        if len(found):
            views.append(_view(judged, stretches, int(found[0]), float(delays[found[0]]), threshold, spec))
    return views


def _view(
    judged: Judged, stretches: metrics.Stretches, which: int, delay_s: float, threshold: float, spec: ChannelSpec
) -> EpisodeView:
    rows, opened = judged.rows, judged.opened
    vehicle, begins_s, ends_s = stretches.vehicle[which], stretches.begins_s[which], stretches.ends_s[which]
    near = (rows.vehicle == vehicle) & (
        np.abs(rows.timestamp_s - (begins_s + ends_s) / 2) <= _AROUND_S + (ends_s - begins_s)
    )
    around = np.flatnonzero(near)
    at = np.flatnonzero((opened.vehicle == vehicle) & (opened.time_s == begins_s + delay_s))[0]
    names = [feature.name for feature in judged.features]
    signals = {name: rows.features[around, names.index(name)].astype(np.float64) for name in _SHOWN if name in names}
    return EpisodeView(
        title=f"Vehicle {vehicle} ({spec.name})",
        cause=opened.causes[at],
        truth=rows.faults[stretches.fault[which]],
        time_s=rows.timestamp_s[around],
        signals=signals,
        score=judged.error[around],
        threshold=threshold,
        opened_s=float(opened.time_s[at]),
        closed_s=float(opened.until_s[at]),
        faulty=rows.truth[around] >= 0,
    )
