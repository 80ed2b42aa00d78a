"""How cost and memory grow: with vehicles, partitions, replicas of ingest and scorers, and connected clients.

Only one thing grows at a time. Laps are checked for every event once and in order; that verdicts are right is the
throughput benchmark's part.

Neighbours: `race` runs the laps, `stage` starts a system for each shape.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from benchmarks import latency
from benchmarks.figures import Figure
from benchmarks.race import Course, Lap
from benchmarks.running_system import RunningSystem, Shape
from benchmarks.stage import Stage
from benchmarks.throughput import Amount
from benchmarks.workload import BEGINS_AT_S, keep_given_times, segments
from faults.screens import Sockets

VEHICLES = (1_000, 10_000, 100_000, 1_000_000)
LEAST_WARM_UP_EVENTS = 50_000
# Fleets that follow one another on the same system have no vehicle in common.
FIRST_VEHICLE = 10_000_000
BEGAN_BEFORE_S = 600.0  # well within the time after which vehicles are forgotten
FIRST_LATENCY_ROUND = 10  # after those of the latency benchmark, whose vehicles this system knows
SHAPES: Mapping[str, Mapping[int, Shape]] = {
    "partitions": {n: Shape(label=f"system-{n}-partitions", partitions=n) for n in (1, 6, 24)},
    "ingest replicas": {n: Shape(label=f"system-{n}-ingest", ingest=n) for n in (1, 2, 3)},
    "scorer replicas": {n: Shape(label=f"system-{n}-scorers", scorers=n) for n in (1, 2)},
}
CLIENTS = (1, 5, 20)
CLIENTS_RATE = 5_000
CLIENTS_S = 6.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Point:
    """What grew, to what, and what came of it: CPU µs per event and peak MiB, by role."""

    axis: str
    size: int
    events_per_second: Figure
    cpu_us: Mapping[str, float]
    peak_mib: Mapping[str, float]
    append_to_screen_ms: Mapping[int, Figure] | None = None
    """By percentile; None where only full topics were measured."""


def by_vehicles(stage: Stage, amount: Amount, sizes: Sequence[int], latency_rate: int, latency_s: float) -> list[Point]:
    """Measure one system with ever larger fleets; every vehicle is known before the laps that count.

    After those come events of others at a steady rate, with the fleet remembered beside them: what is late then?
    """
    points, system = [], stage.system(Shape())
    with closing(Course(system, stage.kafka_pid)) as course:
        for round_, vehicles in enumerate(sizes, FIRST_LATENCY_ROUND):
            keep_given_times(system.telemetry)
            laps = _laps(course, amount, vehicles, time.time() - BEGAN_BEFORE_S)
            [late] = latency.run(system, stage.kafka_pid, (latency_rate,), latency_s, lambda _: None, round_)
            points.append(replace(_point("vehicles", vehicles, laps), append_to_screen_ms=late.from_append_ms))
            stage.say(_line(points[-1]))
    return points


def by_shape(stage: Stage, amount: Amount) -> list[Point]:
    """Measure systems with more partitions, or more replicas."""
    points = []
    for axis, shapes in SHAPES.items():
        for size, shape in shapes.items():
            with closing(Course(stage.system(shape), stage.kafka_pid)) as course:
                points.append(_point(axis, size, _laps(course, amount, amount.vehicles)))
            stage.say(_line(points[-1]))
    return points


def by_clients(stage: Stage) -> list[Point]:
    """Measure a system under a steady rate with more and more clients that take everything in batched frames."""
    system, points = stage.system(Shape(label="system-clients")), []
    for round_, clients in enumerate(CLIENTS):
        points.append(_with_clients(system, stage.kafka_pid, clients, round_))
        stage.say(_line(points[-1]))
    return points


def _laps(course: Course, amount: Amount, vehicles: int, begins_at_s: float = BEGINS_AT_S) -> list[Lap]:
    warm_up = max(vehicles, min(LEAST_WARM_UP_EVENTS, amount.events))
    stream = segments([warm_up, *[amount.events] * amount.repeats], vehicles, FIRST_VEHICLE + vehicles, begins_at_s)
    return [course.lap(segment)[0] for segment in stream][1:]


def _point(axis: str, size: int, laps: Sequence[Lap]) -> Point:
    cpu_us = [lap.cpu_us() for lap in laps]
    return Point(
        axis,
        size,
        Figure.of(lap.events_per_second for lap in laps),
        {role: Figure.of(costs[role] for costs in cpu_us).median for role in cpu_us[0]},
        laps[-1].peak_mib,
    )


def _with_clients(system: RunningSystem, kafka_pid: int, clients: int, round_: int) -> Point:
    """Let all but one be a crowd; the one checks that it is shown everything."""
    with Sockets(system.url) as crowd:
        for _ in range(clients - 1):
            crowd.reading("?batch=true")
        [result] = latency.run(system, kafka_pid, (CLIENTS_RATE,), CLIENTS_S, lambda _: None, first_round=round_)
    rate = Figure.of([float(CLIENTS_RATE)])
    return Point("clients", clients, rate, result.cpu_us, result.peak_mib, result.from_append_ms)


def _line(point: Point) -> str:
    cost = ", ".join(f"{role} {us:.1f}" for role, us in point.cpu_us.items())
    late = f"; append → screen {latency.in_words(point.append_to_screen_ms)}" if point.append_to_screen_ms else ""
    return f"  {point.size:,} {point.axis}: {point.events_per_second.median:,.0f} events/s; CPU µs/event: {cost}{late}"
