"""How good a bundle is on vehicles, a city and a seed that neither training nor calibration saw, beside baselines.

Events go the product's own way: `fleet.detection.windows`, `fleet.detection.attribution`, `fleet.detection.verdicts`,
`fleet.detection.episodes`. A fault counts as found when an episode opens between its onset and its end; its delay is
that opening's, its cause the episode's. A fault of which the drive's end has left no more than `LEAST_SEEN_S` is not
counted, found or not. False episodes are those that open outside of faults and of `AFTER_END_S` behind them. Row
measures leave out a stated onset grace (the delay that is aimed at) and the same time behind a fault's end. Nothing is
point-adjusted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.attribution import Reconstruction, score
from fleet.detection.detector import Detector, EnteredBlock, EventBlock
from fleet.detection.episodes import EpisodeChange, EpisodeRules
from fleet.detection.features import Feature, FeaturePlan
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.network import Network
from fleet.detection.verdicts import weigh
from fleet.detection.windows import WindowedBlock
from training import metrics
from training.baselines import OriginAutoencoder, windowed_baselines
from training.dataset import (
    EVALUATION,
    SENDERS,
    Features,
    Flags,
    Floats,
    MakeFleet,
    Rows,
    Say,
    collect,
    hide,
    plan_drives,
)
from training.episodes import OpenedEpisodes, opened_episodes

Words: TypeAlias = npt.NDArray[np.object_]

# The longest memory of the features, at one event a second: until then a past fault is still in the windows.
AFTER_END_S: Final = 480.0
LEAST_SEEN_S: Final = 5.0
LONGEST_INTERVAL_S: Final = 1_000.0  # between two events of a sender that is not parked
_BLOCK_ROWS: Final = 16_384
_DRIVE_S: Final = 5400.0


class Target(NamedTuple):
    """What is aimed at for a fault: the share found, and the median delay in seconds."""

    found: float
    delay_s: float


TARGETS: Final[Mapping[str, Target]] = {
    "overspeed": Target(0.99, 2),
    "harsh_braking": Target(0.97, 1),
    "gps_jump": Target(0.99, 1),
    "gps_spoof": Target(0.85, 30),
    "engine_overheat": Target(0.98, 45),
    "coolant_drift": Target(0.85, 240),
    "battery_low": Target(0.95, 60),
    "fuel_theft": Target(0.97, 60),
    "fuel_leak": Target(0.85, 600),
    "stuck_sensor": Target(0.95, 40),
    "drop_out": Target(0.99, 5),
    "message_loss": Target(0.99, 5),
    "clock_skew": Target(0.99, 5),
    "sensor_bias": Target(0.95, 30),
}
FALSE_EPISODES_PER_HOUR: Final = 0.05
# Two names for one thing at two speeds: either is right.
_KINDRED: Final = ({"engine_overheat", "coolant_drift"}, {"fuel_theft", "fuel_leak"})


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """Whom to evaluate on: an unseen city, once with few faults and once with many of each kind."""

    seed: int = 7
    city: int = 0
    home_cities: tuple[int, ...] = (1, 2)
    vehicle_hours: float = 150.0
    fault_rate: float = 0.02
    faulty_vehicle_hours: float = 540.0
    high_fault_rate: float = 0.06
    home_vehicle_hours: float = 80.0
    habits: Mapping[str, float] | None = None
    """Share of the senders that have each habit; None is a usual fleet's."""


@dataclass(frozen=True, slots=True)
class FaultResult:
    """What became of the faults of one kind."""

    stretches: int
    found: float
    delay_s: float
    cause_right: float
    rows_found: float


@dataclass(frozen=True, slots=True)
class RowMeasures:
    """What one detector reached, by rows."""

    roc_auc: float
    average_precision: float
    recall_at_1_percent: float
    recall_at_1_per_mille: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One bundle's results."""

    faults: Mapping[str, FaultResult]
    rows: Mapping[str, RowMeasures]
    """By detector, at the low fault rate."""
    cause_right: float
    """Share of found faults whose episode names them."""
    false_alarm_rate: float
    nominal_rate: float
    false_alarm_rate_at_home: float
    false_episodes_per_hour: float
    false_episodes_per_hour_at_home: float
    false_causes: Mapping[str, int]
    alarms_by_sender: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows with their verdicts."""

    features: tuple[Feature, ...]
    rows: Rows
    error: Floats
    alarm: Flags
    opened: OpenedEpisodes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the figures of an evaluation were counted from, for a page to draw."""

    usual: Judged
    faulty: Judged
    baselines: Mapping[str, Floats]
    """float64[M] of the usual rows, by baseline."""


def evaluate_bundle(
    bundle: ModelBundle, make_fleet: MakeFleet, plan: EvaluationPlan, rules: EpisodeRules, say: Say
) -> tuple[Evaluation, Evidence]:
    """Drive vehicles with and without faults in an unseen city and at home, and measure the bundle and baselines."""
    model, city = Network.load(bundle), (plan.city,)
    trials = (
        _Trial("evaluation", city, plan.vehicle_hours, plan.fault_rate, plan.habits),
        _Trial("faults", city, plan.faulty_vehicle_hours, plan.high_fault_rate, {}),
        _Trial("home", plan.home_cities, plan.home_vehicle_hours, 0.0, plan.habits),
    )
    usual, faulty, home = (
        judge_rows(model, bundle, _driven(bundle.plan, make_fleet, trial, 1000 * part + plan.seed, say), rules)
        for part, trial in enumerate(trials)
    )
    faults, right, found = fault_results(faulty)
    ordinary = ordinary_rows(usual.rows)
    false = false_episodes(usual)
    baselines = _baseline_scores(usual, home.rows.features, say)
    evaluation = Evaluation(
        faults=faults,
        rows=_row_measures(usual, baselines),
        cause_right=right / max(found, 1),
        false_alarm_rate=_share(usual.alarm[ordinary]),
        nominal_rate=bundle.metrics["false_alarm_rate"],
        false_alarm_rate_at_home=_share(home.alarm),
        false_episodes_per_hour=len(false) / max(_hours(usual.rows), 1e-9),
        false_episodes_per_hour_at_home=len(home.opened.time_s) / max(_hours(home.rows), 1e-9),
        false_causes=_counted([usual.opened.causes[i] for i in false]),
        alarms_by_sender=_alarms_by_sender(model, bundle, usual.rows.features[ordinary]),
    )
    return evaluation, Evidence(usual, faulty, baselines)


class _Trial(NamedTuple):
    """Whom to drive: in which cities, for how many vehicle-hours, with which share of faults and which habits."""

    name: str
    cities: tuple[int, ...]
    vehicle_hours: float
    fault_rate: float
    habits: Mapping[str, float] | None


def _driven(plan: FeaturePlan, make_fleet: MakeFleet, trial: _Trial, seed: int, say: Say) -> Rows:
    drives = plan_drives(
        seed,
        EVALUATION,
        trial.vehicle_hours,
        trial.cities,
        trial.fault_rate,
        habits=trial.habits,
        duration_s=_DRIVE_S,
    )
    return collect(plan, make_fleet, drives, say, trial.name)


def judge_rows(model: Reconstruction, bundle: ModelBundle, rows: Rows, rules: EpisodeRules) -> Judged:
    """Score and judge rows as ingest does, block by block, and follow the episodes."""
    detector = Detector(bundle.plan, rules)
    error, alarm = np.empty(len(rows.truth)), np.empty(len(rows.truth), np.bool_)
    names = [str(number) for number in range(int(rows.vehicle.max()) + 1)]
    changes: list[EpisodeChange] = []
    for start in range(0, len(rows.truth), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        entered = _entered(rows, part, names)
        conclusion = detector.conclude(entered, score(model, bundle, entered.features, _BLOCK_ROWS), bundle)
        error[part], alarm[part] = conclusion.verdicts.reconstruction_error, conclusion.verdicts.is_anomaly
        changes.extend(conclusion.changes)
    opened = opened_episodes(changes, names)
    return Judged(bundle.plan.features, rows, error, alarm, opened)


def _entered(rows: Rows, part: slice, names: Sequence[str]) -> EnteredBlock:
    """Take rows up where `training.dataset` has left them: in the windows, without repeats and without their signals.

    Fleets were driven one after the other, so there is no log's time: it would run back between them.
    """
    ids, count = [names[v] for v in rows.vehicle[part].tolist()], len(rows.vehicle[part])
    offsets = np.arange(part.start, part.start + count, dtype=np.int64)
    events = EventBlock.recorded(ids, rows.timestamp_s[part], np.empty((count, 0)), offsets)
    return EnteredBlock(
        events,
        WindowedBlock(
            rows.features[part],
            rows.warming_up[part],
            np.zeros(count, np.bool_),
            rows.is_doubtful[part],
            np.zeros(count),
            np.zeros(count, np.bool_),
        ),
    )


def faults_met(judged: Judged) -> tuple[metrics.Stretches, Floats]:
    """Return the faults that count, and after how many seconds an episode opened in each, inf where none did."""
    rows, opened = judged.rows, judged.opened
    stretches = _long_enough(metrics.find_stretches(rows.truth, rows.vehicle, rows.timestamp_s), rows)
    return stretches, metrics.detection_delays(stretches, opened.vehicle, opened.time_s)


def fault_results(judged: Judged) -> tuple[dict[str, FaultResult], int, int]:
    """Return the results by fault, and how many found faults have the right cause, of how many."""
    rows = judged.rows
    stretches, delays = faults_met(judged)
    causes = _causes_of(stretches, delays, judged.opened)
    results, right, found = {}, 0, 0
    for number, fault in enumerate(rows.faults):
        own = stretches.fault == number
        named = [cause for cause, mine in zip(causes, own, strict=True) if mine and cause is not None]
        hits = sum(_is_right(cause, fault) for cause in named)
        right, found = right + hits, found + len(named)
        grace_s = TARGETS[fault].delay_s if fault in TARGETS else 0.0
        late = ~metrics.rows_to_ignore(stretches, rows.vehicle, rows.timestamp_s, grace_s, 0.0)
        results[fault] = FaultResult(
            int(own.sum()),
            metrics.event_recall(delays[own]),
            metrics.median_delay_s(delays[own]),
            hits / len(named) if named else float("nan"),
            _share(judged.alarm[(rows.truth == number) & late]),
        )
    return results, right, found


def _long_enough(stretches: metrics.Stretches, rows: Rows) -> metrics.Stretches:
    """Leave out the faults of which the drive's end has left `LEAST_SEEN_S` or less."""
    ends_s = np.full(int(rows.vehicle.max(initial=0)) + 1, -np.inf)
    np.maximum.at(ends_s, rows.vehicle, rows.timestamp_s)
    return stretches.picked(np.flatnonzero(ends_s[stretches.vehicle] - stretches.begins_s > LEAST_SEEN_S))


def _causes_of(stretches: metrics.Stretches, delays: Floats, opened: OpenedEpisodes) -> list[str | None]:
    """Return for each stretch the cause of the episode that found it, None where none did."""
    by_opening = {
        (vehicle, at_s): cause
        for vehicle, at_s, cause in zip(opened.vehicle.tolist(), opened.time_s.tolist(), opened.causes, strict=True)
    }
    return [
        by_opening.get((vehicle, begins_s + delay)) if np.isfinite(delay) else None
        for vehicle, begins_s, delay in zip(
            stretches.vehicle.tolist(), stretches.begins_s.tolist(), delays.tolist(), strict=True
        )
    ]


def _is_right(cause: str, fault: str) -> bool:
    return cause == fault or any({cause, fault} <= kindred for kindred in _KINDRED)


def ordinary_rows(rows: Rows) -> Flags:
    """bool[M]: rows outside of faults and of the time behind them."""
    stretches = metrics.find_stretches(rows.truth, rows.vehicle, rows.timestamp_s)
    return ~rows.faulty & ~metrics.rows_to_ignore(stretches, rows.vehicle, rows.timestamp_s, 0.0, AFTER_END_S)


def false_episodes(judged: Judged) -> list[int]:
    """Return which episodes opened outside of faults and of the time behind them."""
    rows, opened = judged.rows, judged.opened
    stretches = metrics.find_stretches(rows.truth, rows.vehicle, rows.timestamp_s)
    excused = metrics.excused(stretches, opened.vehicle, opened.time_s, AFTER_END_S)
    return np.flatnonzero(~excused).tolist()


def _hours(rows: Rows) -> float:
    return metrics.ordinary_hours(rows.vehicle, rows.timestamp_s, ~ordinary_rows(rows), LONGEST_INTERVAL_S)


def _baseline_scores(usual: Judged, clean: Features, say: Say) -> dict[str, Floats]:
    """Fit the baselines on clean rows at home, and score the usual ones, all on the same windows."""
    scores = {}
    for baseline in (*windowed_baselines(), OriginAutoencoder(epochs=8)):
        say(f"  baseline {baseline.name}")
        baseline.fit(clean)
        scores[baseline.name] = baseline.score(usual.rows.features)
    return scores


def _row_measures(usual: Judged, baselines: Mapping[str, Floats]) -> dict[str, RowMeasures]:
    ignore, faulty = ignored_rows(usual.rows), usual.rows.faulty
    return {name: _measured(error, faulty, ignore) for name, error in {"autoencoder": usual.error, **baselines}.items()}


def ignored_rows(rows: Rows) -> Flags:
    """bool[M]: rows of which no honest detector can know; see the module's words on row measures."""
    stretches = metrics.find_stretches(rows.truth, rows.vehicle, rows.timestamp_s)
    ignore = ~rows.faulty & ~ordinary_rows(rows)
    for number, fault in enumerate(rows.faults):
        grace_s = TARGETS[fault].delay_s if fault in TARGETS else 0.0
        early = metrics.rows_to_ignore(stretches, rows.vehicle, rows.timestamp_s, grace_s, 0.0)
        ignore |= (rows.truth == number) & early
    return ignore


def _measured(error: Floats, faulty: Flags, ignore: Flags) -> RowMeasures:
    return RowMeasures(
        metrics.roc_auc(error, faulty, ignore),
        metrics.average_precision(error, faulty, ignore),
        metrics.recall_at_rate(error, faulty, 0.01, ignore),
        metrics.recall_at_rate(error, faulty, 0.001, ignore),
    )


def _alarms_by_sender(model: Reconstruction, bundle: ModelBundle, clean: Features) -> dict[str, float]:
    clean = clean[:: max(1, len(clean) // 200_000)]
    rates = {}
    for sender, fields in SENDERS.items():
        scores = weigh(model.errors(hide(bundle.plan, clean, fields)), bundle)
        rates[sender] = _share(scores.error > bundle.threshold)
    return rates


def _counted(words: Sequence[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words), key=words.count, reverse=True)}


def _share(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def worst(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the worst of every figure over evaluations with different seeds; numbers of faults are sums."""
    names = dict.fromkeys(fault for evaluation in evaluations for fault in evaluation.faults)
    faults = {}
    for name in names:
        of_fault = [evaluation.faults[name] for evaluation in evaluations if name in evaluation.faults]
        faults[name] = FaultResult(
            sum(result.stretches for result in of_fault),
            min(result.found for result in of_fault),
            max(result.delay_s for result in of_fault),
            min(result.cause_right for result in of_fault),
            min(result.rows_found for result in of_fault),
        )
    rows = {
        detector: RowMeasures(
            *(min(values) for values in zip(*(_figures(e.rows[detector]) for e in evaluations), strict=True))
        )
        for detector in evaluations[0].rows
    }
    false_causes: dict[str, int] = {}
    for evaluation in evaluations:
        for cause, count in evaluation.false_causes.items():
            false_causes[cause] = false_causes.get(cause, 0) + count
    return Evaluation(
        faults=faults,
        rows=rows,
        cause_right=min(e.cause_right for e in evaluations),
        false_alarm_rate=max(e.false_alarm_rate for e in evaluations),
        nominal_rate=evaluations[0].nominal_rate,
        false_alarm_rate_at_home=max(e.false_alarm_rate_at_home for e in evaluations),
        false_episodes_per_hour=max(e.false_episodes_per_hour for e in evaluations),
        false_episodes_per_hour_at_home=max(e.false_episodes_per_hour_at_home for e in evaluations),
        false_causes=false_causes,
        alarms_by_sender={
            sender: max(e.alarms_by_sender[sender] for e in evaluations) for sender in evaluations[0].alarms_by_sender
        },
    )


def _figures(rows: RowMeasures) -> tuple[float, float, float, float]:
    return rows.roc_auc, rows.average_precision, rows.recall_at_1_percent, rows.recall_at_1_per_mille


def describe(evaluation: Evaluation) -> list[str]:
    """Return the evaluation as aligned lines of text."""
    lines = [f"{'fault':18s}{'number':>8s}{'found':>8s}{'aim':>7s}{'delay s':>9s}{'aim':>7s}{'cause':>8s}{'rows':>8s}"]
    for fault, target in TARGETS.items():
        if (result := evaluation.faults.get(fault)) is None:
            continue
        missed = "  <" if result.found < target.found or not result.delay_s <= target.delay_s else ""
        lines.append(
            f"{fault:18s}{result.stretches:8d}{result.found:8.3f}{target.found:7.2f}{result.delay_s:9.1f}"
            f"{target.delay_s:7.0f}{result.cause_right:8.3f}{result.rows_found:8.3f}{missed}"
        )
    lines.append(f"{'':24s}{'ROC AUC':>9s}{'avg.prec.':>11s}{'r at 1 %':>10s}{'r at .1 %':>10s}")
    for name, rows in evaluation.rows.items():
        lines.append(
            f"{name:24s}{rows.roc_auc:9.4f}{rows.average_precision:11.4f}{rows.recall_at_1_percent:10.3f}"
            f"{rows.recall_at_1_per_mille:10.3f}"
        )
    lines += [
        f"{'cause right in found faults':44s}{evaluation.cause_right:10.3f}",
        f"{'false alarm rate, nominal':44s}{evaluation.nominal_rate:10.4%}",
        f"{'  realised in the new city':44s}{evaluation.false_alarm_rate:10.4%}",
        f"{'  realised at home':44s}{evaluation.false_alarm_rate_at_home:10.4%}",
        f"{'false episodes per vehicle-hour, new city':44s}{evaluation.false_episodes_per_hour:10.4f}",
        f"{'  at home':44s}{evaluation.false_episodes_per_hour_at_home:10.4f}",
        f"  by cause: {', '.join(f'{cause} {count}' for cause, count in evaluation.false_causes.items()) or 'none'}",
    ]
    lines += [f"{'false alarms, ' + sender:44s}{rate:10.4%}" for sender, rate in evaluation.alarms_by_sender.items()]
    return lines
