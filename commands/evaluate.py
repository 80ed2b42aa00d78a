"""`fleet evaluate`: how good the detector is, from scratch, over several seeds, and a page of plots.

Each seed trains, calibrates and measures in a process of its own: other vehicles, other cities to learn from, an unseen
one to be judged in. The worst of every figure is reported.
"""

import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from commands.machine import measured_on
from commands.train import make_fleet, say, start_tensorflow, training_plan
from simulator.senders import HABITS, HabitMix

if TYPE_CHECKING:
    from training.evaluate import Evaluation, Evidence
    from training.habits import HabitResult

_CONTAMINATION = 0.05
# Habits that are mistakes for good: what is said of them is right, and no false episode.
FINDINGS = ("clock", "unit")
_HABITS = tuple(name for name in HABITS if name != "keyless")  # that one is Kafka's affair alone


@dataclass(frozen=True, slots=True)
class _Task:
    """One seed; `scale` 1 is the full size."""

    seed: int
    hours: float
    epochs: int
    false_alarm_rate: float
    scale: float
    contamination: float = 0.0
    wants_evidence: bool = False
    """Also what a page draws, and the table of habits."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a seed's process returns."""

    evaluation: "Evaluation"
    evidence: "Evidence | None"
    threshold: float
    thresholds: dict[str, float]
    habits: "dict[str, HabitResult]"


def evaluate(
    seeds: Annotated[
        int, typer.Option(min=1, max=20, help="How many detectors to train and measure, each with a seed of its own.")
    ] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed. The same seeds give the same figures.")] = 1,
    hours: Annotated[float, typer.Option(min=0.1, help="Vehicle-hours that each detector is trained on.")] = 360,
    epochs: Annotated[int, typer.Option(min=1, help="How often training passes over its events.")] = 12,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of ordinary events that may alarm; it sets the threshold.")
    ] = 0.00025,
    scale: Annotated[
        float, typer.Option(min=0.01, max=10, help="Size of the evaluation; 1 is 770 vehicle-hours for each seed.")
    ] = 1.0,
    contaminated: Annotated[bool, typer.Option(help="Also train one detector with 5 % unlabelled faults.")] = True,
    processes: Annotated[
        int, typer.Option(min=1, show_default="one per core", help="How many seeds are worked on at once.")
    ] = os.cpu_count() or 1,
    report: Annotated[Path, typer.Option(help="Write the page of plots to this file.")] = Path("evaluation.html"),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the worst of every figure to this file.")
    ] = None,
) -> None:
    """Train and measure detectors from scratch, one for each seed, and print the worst of every figure."""
    began_s = time.monotonic()
    task = _Task(first_seed, hours, epochs, false_alarm_rate, scale, wants_evidence=True)
    tasks = [task, *(replace(task, seed=first_seed + k, wants_evidence=False) for k in range(1, seeds))]
    if contaminated:
        tasks.append(replace(task, contamination=_CONTAMINATION, wants_evidence=False))
    say(f"Training and measuring {len(tasks)} detectors, {processes} at a time")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        outcomes = list(pool.map(_run, tasks))
    _print(outcomes[:seeds], outcomes[seeds:])
    _write_page(outcomes[:seeds], report)
    if json_file is not None:
        _write_json(outcomes[:seeds], outcomes[seeds:], task, json_file)
    say(f"{report} shows it; it took {time.monotonic() - began_s:.0f} s")


def _run(task: _Task) -> _Outcome:
    start_tensorflow()
    from fleet.detection.episodes import EpisodeRules
    from fleet.detection.model.network import Network
    from fleet.events.channels import VEHICLE_DATA
    from training.evaluate import EvaluationPlan, evaluate_bundle
    from training.habits import HabitPlan, measure_habits
    from training.train import train_bundle

    plan = training_plan(task.seed, task.hours, task.epochs, task.false_alarm_rate)
    usual = EvaluationPlan(seed=task.seed, habits=HabitMix.without(*FINDINGS).shares)
    sized = replace(
        usual,
        vehicle_hours=usual.vehicle_hours * task.scale,
        # Average precision is all that is asked of a contaminated detector.
        faulty_vehicle_hours=usual.faulty_vehicle_hours * task.scale * (0.05 if task.contamination else 1.0),
        home_vehicle_hours=usual.home_vehicle_hours * task.scale,
    )
    name = f"seed {task.seed}{' contaminated' if task.contamination else ''}"

    def tell(line: str) -> None:
        say(f"[{name}] {line}")

    with tempfile.TemporaryDirectory() as folder:
        bundle = train_bundle(make_fleet, Path(folder), replace(plan, contamination=task.contamination), tell)
        assert bundle.plan.spec == VEHICLE_DATA
        evaluation, evidence = evaluate_bundle(bundle, make_fleet, sized, EpisodeRules(), tell)
        habits = {}
        if task.wants_evidence:
            drives = HabitPlan(task.seed)
            drives = replace(drives, vehicles=max(1, round(drives.vehicles * task.scale)))
            habits = measure_habits(Network.load(bundle), bundle, make_fleet, _HABITS, drives, tell)
    tell(
        f"average precision {evaluation.rows['autoencoder'].average_precision:.3f}, "
        f"{evaluation.false_episodes_per_hour:.3f} false episodes per vehicle-hour, "
        f"cause right in {evaluation.cause_right:.1%}"
    )
    return _Outcome(
        evaluation, evidence if task.wants_evidence else None, bundle.threshold, dict(bundle.metrics), habits
    )


def _print(outcomes: list[_Outcome], contaminated: list[_Outcome]) -> None:
    from training.evaluate import describe, worst
    from training.habits import describe_habits

    for line in describe(worst([outcome.evaluation for outcome in outcomes])):
        say(line)
    for line in describe_habits(outcomes[0].habits):
        say(line)
    for outcome in contaminated:
        clean = _average_precision(outcomes[0])
        dirty = _average_precision(outcome)
        say(f"average precision, trained with 5 % unlabelled faults: {dirty:.4f}, without: {clean:.4f}")


def _average_precision(outcome: _Outcome) -> float:
    measured: Any = outcome.evaluation.rows["autoencoder"]
    return float(measured.average_precision)


def _write_json(outcomes: list[_Outcome], contaminated: list[_Outcome], task: _Task, file: Path) -> None:
    from training.evaluate import worst
    from training.evaluation_page import evaluation_values

    found = {
        "machine": measured_on(),
        "seeds": list(range(task.seed, task.seed + len(outcomes))),
        "vehicle_hours_trained_on": task.hours,
        "scale": task.scale,
        **evaluation_values(worst([outcome.evaluation for outcome in outcomes])),
        "habits": {name: asdict(result) for name, result in outcomes[0].habits.items()},
        "average_precision_contaminated": [_average_precision(outcome) for outcome in contaminated],
        "average_precision_of_the_same_seed": _average_precision(outcomes[0]),
    }
    file.write_bytes(msgspec.json.format(msgspec.json.encode(found, enc_hook=float), indent=1))


def _write_page(outcomes: list[_Outcome], report: Path) -> None:
    from fleet.events.channels import VEHICLE_DATA
    from training.evaluate import worst
    from training.evaluation_page import evaluation_report, habit_table
    from training.report import write_report

    first = outcomes[0]
    assert first.evidence is not None
    summary = worst([outcome.evaluation for outcome in outcomes])
    page = evaluation_report(summary, first.evidence, first.thresholds, first.threshold, VEHICLE_DATA, len(outcomes))
    page = replace(page, tables=(*page.tables, habit_table(first.habits)))
    report.parent.mkdir(parents=True, exist_ok=True)
    write_report(page, report)
