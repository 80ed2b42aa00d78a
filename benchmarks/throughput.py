"""Events per second on a full topic, from raw to committed: the floor, the system, and what each event costs.

No generator runs while the clock does. Contestants take turns, segment by segment, in the same run against the same
Kafka; each verdict of the system is compared with the floor's.

Neighbours: `race` runs a lap, `report` prints what is returned here.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.contestant import Contestant
from benchmarks.race import Course, Lap
from benchmarks.verdicts import BenchmarkError, Reference
from benchmarks.workload import Segment, segments

# Of verdicts; what lies so close to a threshold that the order of an addition decides.
MOST_DIFFERING = 0.0005
IDLE_S = 2.0
WARM_UP_SHARE = 0.25

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is run: `repeats` segments of `events` each, of `vehicles`."""

    events: int = 120_000
    repeats: int = 3
    vehicles: int = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant with its share of the events of a lap: all of them, or fewer where an event is dear."""

    contestant: Contestant
    events: int | None = None
    has_model: bool = True


@dataclass(slots=True)
class Standing:
    """One contestant's laps, in the order of the segments; the first contestant is the reference."""

    name: str
    laps: list[Lap] = field(default_factory=list)
    idle: dict[str, float] = field(default_factory=dict)
    differing: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    """Events so far, by partition."""


def compete(amount: Amount, entries: Sequence[Entry], kafka_pid: int, say: Say) -> list[Standing]:
    """Let running contestants take turns; the first is the reference for the others' verdicts. Raises FleetError."""
    courses = [Course(entry.contestant, kafka_pid) for entry in entries]
    standings = [Standing(entry.contestant.name) for entry in entries]
    reference = Reference()
    try:
        for number, by_size in enumerate(_segments(amount, entries)):
            laps = []
            for entry, course, standing in zip(entries, courses, standings, strict=True):
                lap, verdicts = course.lap(by_size[entry.events or amount.events])
                if standing is standings[0]:
                    reference.add(verdicts)
                if entry.has_model:
                    standing.differing += _checked(lap, reference.differing(verdicts, standing.seen))
                standing.seen.update({partition: len(said) for partition, said in verdicts.said.items()})
                standing.laps += [lap] * bool(number)
                laps.append(lap)
            say(_line(number, laps))
        for standing, course in zip(standings, courses, strict=True):
            standing.idle = course.idle_cpu_share(IDLE_S)
    finally:
        for course in courses:
            course.close()
    return standings


def _segments(amount: Amount, entries: Sequence[Entry]) -> Iterator[Mapping[int, Segment]]:
    """Yield by size first a shorter segment to warm up with, then the ones that count.

    A contestant with smaller segments is given the beginning of what the others are given.
    """
    sizes = sorted({entry.events or amount.events for entry in entries})
    streams = [
        segments([max(int(size * WARM_UP_SHARE), 1), *[size] * amount.repeats], amount.vehicles) for size in sizes
    ]
    for found in zip(*streams, strict=True):
        yield dict(zip(sizes, found, strict=True))


def _checked(lap: Lap, differing: int) -> int:
    """Return how many verdicts differ from the floor's. Raises BenchmarkError when those are too many."""
    if differing > MOST_DIFFERING * lap.events:
        raise BenchmarkError(f"{lap.contestant} judges {differing:,} of {lap.events:,} events unlike the floor.")
    return differing


def _line(number: int, laps: Sequence[Lap]) -> str:
    rates = ", ".join(f"{lap.contestant} {lap.events_per_second:,.0f}/s" for lap in laps)
    return f"  {f'lap {number}' if number else 'warm-up'}: {rates}"
