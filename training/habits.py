"""What senders' habits do to a bundle: by habit, false episodes without faults, and what is found of faults.

Deafness must not pay for quiet: both stand side by side. Every habit has vehicles of its own, which have no other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from fleet.detection.attribution import Reconstruction
from fleet.detection.episodes import EpisodeRules
from fleet.detection.model.bundle import ModelBundle
from training import metrics
from training.dataset import EVALUATION, Drive, FleetRequest, MakeFleet, run_drive
from training.episodes import OpenedEpisodes
from training.evaluate import Judged, fault_results, faults_met, judge_rows

Say: TypeAlias = Callable[[str], None]

IDEAL: Final = "none"
"""In place of a habit: senders that have none."""
_START_HOUR: Final = 9


@dataclass(frozen=True, slots=True)
class HabitPlan:
    """Whom to drive; `vehicles` for each habit, once without faults and once with many."""

    seed: int = 7
    city: int = 0
    vehicles: int = 12
    duration_s: float = 7_200.0
    fault_rate: float = 0.06


@dataclass(frozen=True, slots=True)
class HabitResult:
    """What became of the senders with one habit."""

    vehicle_hours: float
    false_episodes_per_hour: float
    alarm_share: float
    """Of the events without faults."""
    faults: int
    found: float
    cause_right: float
    delay_s: float
    """Median of those found."""


def measure_habits(
    model: Reconstruction,
    bundle: ModelBundle,
    make_fleet: MakeFleet,
    habits: Sequence[str],
    plan: HabitPlan,
    say: Say,
) -> dict[str, HabitResult]:
    """Drive vehicles with each of the habits, and with `IDEAL` senders, without and with faults."""
    blocks = (IDEAL, *habits)
    calm, faulty = (
        _driven(model, bundle, make_fleet, replace(plan, fault_rate=rate), blocks) for rate in (0.0, plan.fault_rate)
    )
    say(f"  habits: {len(calm.error):,} events without faults, {len(faulty.error):,} with")
    hours = plan.vehicles * plan.duration_s / 3600
    return {
        name: _result(_of_block(calm, number, plan), _of_block(faulty, number, plan), hours)
        for number, name in enumerate(blocks)
    }


def _driven(
    model: Reconstruction, bundle: ModelBundle, make_fleet: MakeFleet, plan: HabitPlan, blocks: tuple[str, ...]
) -> Judged:
    count = plan.vehicles * len(blocks)
    seed = 3 * (3_000 + plan.seed) + EVALUATION
    request = FleetRequest(seed, 0, count, plan.city, plan.fault_rate, _START_HOUR, blocks=blocks)
    rows = run_drive(bundle.plan, make_fleet(request), Drive(request, plan.duration_s))
    return judge_rows(model, bundle, rows, EpisodeRules())


def _of_block(judged: Judged, number: int, plan: HabitPlan) -> Judged:
    """Take the vehicles of one habit out of all."""
    own = judged.rows.vehicle // plan.vehicles == number
    opened = judged.opened
    mine = np.flatnonzero(opened.vehicle // plan.vehicles == number)
    return replace(
        judged,
        rows=judged.rows.picked(np.flatnonzero(own)),
        error=judged.error[own],
        alarm=judged.alarm[own],
        opened=OpenedEpisodes(
            opened.vehicle[mine], opened.time_s[mine], opened.until_s[mine], [opened.causes[i] for i in mine.tolist()]
        ),
    )


def _result(calm: Judged, faulty: Judged, hours: float) -> HabitResult:
    _, right, found = fault_results(faulty)
    stretches, delays = faults_met(faulty)
    return HabitResult(
        hours,
        len(calm.opened.causes) / hours,
        float(calm.alarm.mean()) if len(calm.alarm) else 0.0,
        len(stretches),
        metrics.event_recall(delays),
        right / found if found else float("nan"),
        metrics.median_delay_s(delays),
    )


def describe_habits(results: Mapping[str, HabitResult]) -> list[str]:
    """Return the results as aligned lines of text."""
    lines = [f"{'habit':28s}{'false/h':>9s}{'alarms':>9s}{'faults':>8s}{'found':>8s}{'cause':>8s}{'delay s':>9s}"]
    lines += [
        f"{name:28s}{r.false_episodes_per_hour:9.3f}{r.alarm_share:9.3%}{r.faults:8d}{r.found:8.3f}"
        f"{r.cause_right:8.3f}{r.delay_s:9.1f}"
        for name, r in results.items()
    ]
    return lines
