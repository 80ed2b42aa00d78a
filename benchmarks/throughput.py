"""Events per second on a full topic, from raw to committed: the floor, the system, and what each event costs.

No generator runs while the clock does. Contestants take turns, segment by segment, in the same run against the same
Kafka; each verdict of the system is compared with the floor's.

Neighbours: `race` runs a lap, `report` prints what is returned here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestant import Contestant
from benchmarks.floor_process import FloorProcess
from benchmarks.race import Course, Lap
from benchmarks.running_system import RunningSystem, Shape
from benchmarks.verdicts import BenchmarkError
from benchmarks.workload import Segment, make_topics, segments

# Of verdicts; what lies so close to a threshold that the order of an addition decides.
MOST_DIFFERING = 0.0005
IDLE_S = 5.0
WARM_UP_SHARE = 0.25

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is run: `repeats` segments of `events` each, of `vehicles`."""

    models: Path
    events: int = 200_000
    repeats: int = 5
    vehicles: int = 1_000
    shape: Shape = field(default_factory=Shape)


@dataclass(slots=True)
class Standing:
    """One contestant's laps, in the order of the segments; the first contestant is the reference."""

    name: str
    laps: list[Lap] = field(default_factory=list)
    idle: dict[str, float] = field(default_factory=dict)
    differing: int = 0


def run(plan: Plan, kafka_pid: int, say: Say) -> list[Standing]:
    """Race the floor, exactly once and at least once, and the system. Raises FleetError."""
    with ExitStack() as parts:
        floor = FloorProcess(plan.models, exactly_once=True)
        relaxed = FloorProcess(plan.models, exactly_once=False)
        system = RunningSystem(plan.models, plan.shape, say)
        contestants: list[Contestant] = [floor, relaxed, system]
        prepare(contestants, plan.shape.partitions)
        for contestant in (floor, relaxed, system):
            parts.enter_context(contestant)
        return compete(plan, contestants, kafka_pid, say)


def prepare(contestants: Sequence[Contestant], partitions: int) -> None:
    """Create the topics of each."""
    names = [topic for contestant in contestants for topic in (contestant.telemetry, contestant.scored)]
    make_topics(names, partitions)


def compete(plan: Plan, contestants: Sequence[Contestant], kafka_pid: int, say: Say) -> list[Standing]:
    """Let running contestants take turns on the same segments; the first is the reference for the verdicts."""
    courses = [Course(contestant, kafka_pid) for contestant in contestants]
    standings = [Standing(contestant.name) for contestant in contestants]
    try:
        for number, segment in enumerate(_segments(plan)):
            laps = [course.lap(segment) for course in courses]
            for standing, lap in zip(standings, laps, strict=True):
                standing.differing += _checked(lap, laps[0])
                if number:
                    standing.laps.append(lap)
            say(_line(number, laps))
        for standing, course in zip(standings, courses, strict=True):
            standing.idle = course.idle_cpu_share(IDLE_S)
    finally:
        for course in courses:
            course.close()
    return standings


def _segments(plan: Plan) -> Iterator[Segment]:
    """Yield a shorter one to warm up with, then the ones that count."""
    warm_up = max(int(plan.events * WARM_UP_SHARE), 1)
    sizes = [warm_up, *[plan.events] * plan.repeats]
    return segments(sizes, plan.vehicles)


def _checked(lap: Lap, reference: Lap) -> int:
    """Return how many verdicts differ from the reference's. Raises BenchmarkError when those are too many."""
    differing = lap.verdicts.differing(reference.verdicts)
    if differing > MOST_DIFFERING * lap.events:
        raise BenchmarkError(f"{lap.contestant} judges {differing:,} of {lap.events:,} events unlike the floor.")
    return differing


def _line(number: int, laps: Sequence[Lap]) -> str:
    rates = ", ".join(f"{lap.contestant} {lap.events_per_second:,.0f}/s" for lap in laps)
    return f"  {f'lap {number}' if number else 'warm-up'}, {laps[0].events:,} events: {rates}"
