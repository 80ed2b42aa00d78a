"""How good a bundle is on vehicles, a city and a seed that neither training nor calibration saw, beside baselines.

Events go the product's own way (`fleet.features`, `fleet.autoencoder`, `fleet.scoring`). Labels mark whole fault
stretches: a fault develops and recedes inside its stretch, so the first and last events of one are ordinary
telemetry with a label, and no honest detector recalls all of them. Hence stretches are counted beside events.
Nothing is point-adjusted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet.autoencoder import Autoencoder
from fleet.model_bundle import ModelBundle
from fleet.scoring import judge
from training.dataset import (
    EVALUATION,
    SENDERS,
    Features,
    Flags,
    Floats,
    Indices,
    MakeFleet,
    Rows,
    Say,
    collect,
    hide,
    plan_fleets,
)
from training.train import mean_errors, tail_threshold

_PCA_COMPONENTS: Final = 6
_JUDGE_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """Whom to evaluate on."""

    seed: int = 7
    city: int = 0
    vehicles: int = 1_000
    events_per_vehicle: int = 400
    fault_rate: float = 0.04


@dataclass(frozen=True, slots=True)
class Result:
    """What one detector reached."""

    roc_auc: float
    average_precision: float
    false_alarm_rate: float
    recall: Mapping[str, float]
    """Share of events by fault."""
    stretches_found: Mapping[str, float]
    """Share of fault stretches with at least one alarm, by fault."""
    delay_s: Mapping[str, float]
    """Median time from the beginning of a found stretch to its first alarm, by fault."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The bundle's result, the baselines', and what only the bundle has."""

    results: Mapping[str, Result]
    cause_accuracy: float
    """Share of alarms within faults that name the injected fault."""
    alarms_by_sender: Mapping[str, float]
    """False alarm rate when senders lack signals."""
    alarms_warming_up: float
    """False alarm rate among events without history."""


def evaluate_bundle(bundle: ModelBundle, make_fleet: MakeFleet, plan: EvaluationPlan, say: Say) -> Evaluation:
    """Drive faulty vehicles, score them with the bundle and with two baselines."""
    say("Driving simulated vehicles with faults")
    intervals_s = (1.0, 1.0, 1.0, 1.0, 5.0)
    fleets = plan_fleets(plan.seed, EVALUATION, plan.vehicles, (plan.city,), plan.fault_rate, intervals_s)
    rows = collect(make_fleet, fleets, plan.events_per_vehicle, say, "evaluation")
    say(f"Scoring {len(rows.truth):,} events, {rows.faulty.mean():.1%} of them in faults")
    model = Autoencoder.load(bundle)
    error, causes = _verdicts(model, bundle, rows.features)
    alarm = error > bundle.threshold
    results = {"autoencoder": measure(error, alarm, rows)}
    results.update(_baselines(bundle, rows))
    clean = ~rows.faulty
    return Evaluation(
        results=results,
        cause_accuracy=_cause_accuracy(causes, rows),
        alarms_by_sender=_alarms_by_sender(model, bundle, rows.features[clean]),
        alarms_warming_up=_share(alarm[clean & rows.warming_up]),
    )


def describe(evaluation: Evaluation, bundle: ModelBundle) -> list[str]:
    """Return the evaluation as aligned lines of text."""
    faults = list(next(iter(evaluation.results.values())).recall)
    lines = [
        f"Model {bundle.version}, threshold {bundle.threshold:.4g}",
        f"{'':18s}{'ROC AUC':>9s}{'avg.prec.':>11s}{'false al.':>11s}" + "".join(f"{name:>17s}" for name in faults),
    ]
    for name, result in evaluation.results.items():
        recall = "".join(f"{result.recall[fault]:17.3f}" for fault in faults)
        lines.append(
            f"{name:18s}{result.roc_auc:9.4f}{result.average_precision:11.4f}{result.false_alarm_rate:11.3%}{recall}"
        )
    own = evaluation.results["autoencoder"]
    lines += [
        "(under the faults: recall of events, of which the first and last of a stretch are still ordinary; the",
        " baselines are fitted and thresholded in the evaluation's own city)",
        f"{'stretches found':38s}" + "".join(f"{own.stretches_found[fault]:17.3f}" for fault in faults),
        f"{'median delay from onset, s':38s}" + "".join(f"{own.delay_s[fault]:17.1f}" for fault in faults),
        f"{'alarms in faults that name the fault':38s}{evaluation.cause_accuracy:17.3f}",
        f"{'false alarms without history':38s}{evaluation.alarms_warming_up:17.3%}",
    ]
    lines += [f"{'false alarms, ' + sender:45s}{rate:10.3%}" for sender, rate in evaluation.alarms_by_sender.items()]
    return lines


def measure(score: Floats, alarm: Flags, rows: Rows) -> Result:
    """Measure a detector by its scores float64[M] and alarms bool[M] on labelled rows."""
    truth = np.array([fault or "" for fault in rows.truth])
    faults = sorted(set(truth.tolist()) - {""})
    stretches = {fault: _stretches(truth == fault, alarm, rows) for fault in faults}
    return Result(
        roc_auc=roc_auc(score, rows.faulty),
        average_precision=average_precision(score, rows.faulty),
        false_alarm_rate=_share(alarm[truth == ""]),
        recall={fault: _share(alarm[truth == fault]) for fault in faults},
        stretches_found={fault: _share(np.isfinite(delays)) for fault, delays in stretches.items()},
        delay_s={fault: _median(delays[np.isfinite(delays)]) for fault, delays in stretches.items()},
    )


def roc_auc(score: Floats, positive: Flags) -> float:
    """Return the probability that a positive scores higher than a negative, ties counting half.

    >>> float(roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])))
    0.75
    """
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(size) - (size - 1) / 2
    positives = np.count_nonzero(positive)
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    above = rank[group[positive]].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(score: Floats, positive: Flags) -> float:
    """Return the mean, over the recalls reached by ever lower thresholds, of the precision there.

    >>> round(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])), 4)
    0.8333
    """
    order = np.argsort(-score, kind="stable")
    found = np.cumsum(positive[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    found, alarms = found[last_of_tie], np.flatnonzero(last_of_tie) + 1
    if not len(found) or found[-1] == 0:
        return float("nan")
    recall_gained = np.diff(found, prepend=0) / found[-1]
    return float((recall_gained * found / alarms).sum())


def _verdicts(model: Autoencoder, bundle: ModelBundle, features: Features) -> tuple[Floats, list[str | None]]:
    errors: list[Floats] = []
    causes: list[str | None] = []
    for start in range(0, len(features), _JUDGE_ROWS):
        verdicts = judge(model.errors(features[start : start + _JUDGE_ROWS]), bundle)
        errors.append(verdicts.reconstruction_error)
        causes += verdicts.causes
    return np.concatenate(errors), causes


def _baselines(bundle: ModelBundle, rows: Rows) -> dict[str, Result]:
    """Score two simple detectors on the same features; their thresholds give the rate that was aimed at.

    They are fitted on the first half of the clean vehicles and thresholded on the second, in the evaluation's own city:
    an advantage over the bundle, which knows other cities only.
    """
    off = rows.features.astype(np.float64) - bundle.mean
    scaled = np.nan_to_num(off / np.where(off < 0, bundle.scale[0], bundle.scale[1]), nan=0.0)
    scaled = scaled[:, bundle.judged].clip(-50, 50)
    clean = ~rows.faulty
    fitting = clean & (rows.vehicle % 2 == 0)
    rate = bundle.metrics.get("target_false_alarm_rate", 0.001)
    results = {}
    for name, score in (
        (f"PCA-{_PCA_COMPONENTS} residual", _pca_residual(scaled, fitting)),
        ("largest |z|", np.abs(scaled).max(axis=1)),
    ):
        other = clean & ~fitting
        threshold = tail_threshold(score[other], rows.vehicle[other], rate, np.random.default_rng(0))
        results[name] = measure(score, score > threshold, rows)
    return results


def _pca_residual(scaled: Floats, fitting: Flags) -> Floats:
    centre = scaled[fitting].mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((scaled[fitting] - centre).T))
    rest = (scaled - centre) @ directions[:, :-_PCA_COMPONENTS]
    residual: Floats = (rest**2).sum(axis=1)
    return residual


def _stretches(inside: Flags, alarm: Flags, rows: Rows) -> Floats:
    """Return for each stretch of a fault the seconds until its first alarm, inf where there is none."""
    order = np.lexsort((rows.timestamp_s, rows.vehicle))
    inside, alarm = inside[order], alarm[order]
    vehicle, time_s = rows.vehicle[order], rows.timestamp_s[order]
    goes_on = np.append(False, inside[1:] & inside[:-1] & (vehicle[1:] == vehicle[:-1]))
    begins = np.flatnonzero(inside & ~goes_on)
    stretch = np.cumsum(inside & ~goes_on) - 1
    delays = np.full(len(begins), np.inf)
    hits = np.flatnonzero(inside & alarm)
    np.minimum.at(delays, stretch[hits], time_s[hits] - time_s[begins[stretch[hits]]])
    return delays


def _cause_accuracy(causes: Sequence[str | None], rows: Rows) -> float:
    named = [(cause, fault) for cause, fault in zip(causes, rows.truth, strict=True) if cause and fault]
    return _share(np.array([cause == fault for cause, fault in named], bool))


def _alarms_by_sender(model: Autoencoder, bundle: ModelBundle, clean: Features) -> dict[str, float]:
    return {
        sender: _share(mean_errors(model, hide(clean, hidden), bundle.judged) > bundle.threshold)
        for sender, hidden in SENDERS.items()
    }


def _share(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def _median(values: Floats | Indices) -> float:
    return float(np.median(values)) if len(values) else float("nan")
