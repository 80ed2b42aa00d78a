"""The benchmarks by name: what each runs, prints, and leaves for the JSON file.

Neighbours: `commands.bench` calls this; `stage` is what all of them stand on, `report` puts results into words.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import growth, latency, parts, report, requests, soak, throughput
from benchmarks.figures import Part
from benchmarks.floor_process import FloorProcess
from benchmarks.peers.process import PEERS, PeerProcess
from benchmarks.running_system import Shape
from benchmarks.silence import silent_stderr
from benchmarks.stage import Stage
from benchmarks.throughput import Amount, Entry
from fleet.settings import PROJECT_FOLDER

PEERS_LOG = PROJECT_FOLDER / ".fleet" / "bench-peers.log"
PEER_REPEATS = GROWTH_REPEATS = 2
# What Serve's settings for its ways bring: its throughput profile on top of the product's, and its own defaults.
PROFILES = {
    "throughput-profile": (("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1"),),
    "serve-defaults": (
        ("RAY_SERVE_ENABLE_HA_PROXY", "0"),
        ("RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", "1"),
        ("RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP", "1"),
        ("RAY_SERVE_USE_GRPC_BY_DEFAULT", "0"),
        ("RAY_SERVE_FREEZE_GC_ON_STARTUP", "0"),
        ("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.1"),
    ),
}

Values: TypeAlias = list[dict[str, Any]]
Benchmark: TypeAlias = "Callable[[Stage, Sizes], Values]"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is run."""

    amount: Amount = field(default_factory=Amount)
    part_blocks: int = 16
    peer_events: int = 50_000
    latency_rates: tuple[int, ...] = latency.RATES
    latency_s: float = 6.0
    requests_s: float = 6.0
    other_deliveries: tuple[Shape, ...] = (
        Shape(label="relaxed-system", title="system, at least once", delivery="at_least_once"),
    )
    fleets: tuple[int, ...] = growth.VEHICLES
    fleets_rate: int = 10_000
    """Events a second beside each of the fleets, for the latency."""
    soak_s: float = 1_800.0


SHORT = Sizes(
    Amount(events=10_000, repeats=1),
    part_blocks=4,
    peer_events=5_000,
    latency_rates=(500,),
    latency_s=3.0,
    requests_s=1.5,
    other_deliveries=(),
    fleets=(100,),
    fleets_rate=500,
    soak_s=10.0,
)


def run(names: Sequence[str], models: Path, sizes: Sizes, say: Callable[[str], None]) -> Iterator[tuple[str, Values]]:
    """Run benchmarks, yielding names and values; what has several parts comes several times. Raises FleetError."""
    with Stage(models, say) as stage:
        for name, benchmark in _in_order(sizes):
            if name in names:
                began_s = time.monotonic()
                say(f"\n{name}")
                yield name, benchmark(stage, sizes)
                say(f"({name} took {time.monotonic() - began_s:.0f} s)")


def _in_order(sizes: Sizes) -> Iterator[tuple[str, Benchmark]]:
    """Yield the benchmarks so that those of one shape follow one another: a start of the system takes half a minute."""
    yield "parts", _parts
    yield "peers", _peers
    for shape in (Shape(), *sizes.other_deliveries):
        yield "throughput", partial(_throughput, shape=shape)
        yield "latency", partial(_latency, shape=shape)
        if shape == Shape():
            yield "requests", _requests
            yield "vehicles", _vehicles
    yield "growth", _growth
    yield "profiles", _profiles
    yield "soak", _soak


def _parts(stage: Stage, sizes: Sizes) -> Values:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        measured = process.submit(_measure_parts, stage.models, sizes.part_blocks, sizes.amount.vehicles).result()
    _print(stage, report.parts_table(measured))
    return report.parts_values(measured)


def _measure_parts(models: Path, blocks: int, vehicles: int) -> list[Part]:
    with silent_stderr():
        return parts.run(models, blocks, vehicles)


def _throughput(stage: Stage, sizes: Sizes, shape: Shape) -> Values:
    """Run the system beside a floor that delivers as it does."""
    floor = FloorProcess(stage.models, exactly_once=shape.delivery == "exactly_once")
    with stage.with_topics(floor):
        entries = [Entry(floor), Entry(stage.system(shape))]
        standings = throughput.compete(sizes.amount, entries, stage.kafka_pid, stage.say)
    _print(stage, report.throughput_table(standings))
    return report.throughput_values(standings)


def _requests(stage: Stage, sizes: Sizes) -> Values:
    return _ask(stage, sizes, [Shape()])


def _profiles(stage: Stage, sizes: Sizes) -> Values:
    return _ask(stage, sizes, [Shape(), *(Shape(label=label, ray=ray) for label, ray in PROFILES.items())])


def _ask(stage: Stage, sizes: Sizes, shapes: Sequence[Shape]) -> Values:
    results = [result for shape in shapes for result in requests.run(stage.system(shape), sizes.requests_s, stage.say)]
    _print(stage, report.requests_table(results))
    return report.requests_values(results)


def _peers(stage: Stage, sizes: Sizes) -> Values:
    amount = replace(sizes.amount, events=sizes.peer_events, repeats=min(sizes.amount.repeats, PEER_REPEATS))
    floor = FloorProcess(stage.models, exactly_once=True, label="beside-peers")
    PEERS_LOG.parent.mkdir(exist_ok=True)
    with ExitStack() as running:
        log = running.enter_context(PEERS_LOG.open("wb"))
        peers = [PeerProcess(peer, stage.models, Shape().partitions, log) for peer in PEERS]
        running.enter_context(stage.with_topics(floor))
        for process in peers:
            running.enter_context(stage.with_topics(process))
        for process in peers:
            process.until_ready()
        shares = [(process, max(int(amount.events * process.peer.share), 1)) for process in peers]
        entries = [Entry(floor), *(Entry(process, events, process.peer.has_model) for process, events in shares)]
        standings = throughput.compete(amount, entries, stage.kafka_pid, stage.say)
    _print(stage, report.throughput_table(standings))
    return report.throughput_values(standings)


def _latency(stage: Stage, sizes: Sizes, shape: Shape) -> Values:
    results = latency.run(stage.system(shape), stage.kafka_pid, sizes.latency_rates, sizes.latency_s, stage.say)
    _print(stage, report.latency_table(results))
    return report.latency_values(results)


def _vehicles(stage: Stage, sizes: Sizes) -> Values:
    amount = replace(sizes.amount, repeats=min(sizes.amount.repeats, GROWTH_REPEATS))
    points = growth.by_vehicles(stage, amount, sizes.fleets, sizes.fleets_rate, sizes.latency_s)
    _print(stage, report.growth_table(points))
    return report.growth_values(points)


def _growth(stage: Stage, sizes: Sizes) -> Values:
    amount = replace(sizes.amount, repeats=min(sizes.amount.repeats, GROWTH_REPEATS))
    points = [*growth.by_shape(stage, amount), *growth.by_clients(stage)]
    _print(stage, report.growth_table(points))
    return report.growth_values(points)


def _soak(stage: Stage, sizes: Sizes) -> Values:
    stretches = soak.run(stage.system(Shape(label="soak")), stage.kafka_pid, sizes.soak_s, soak.RATE, stage.say)
    _print(stage, report.soak_table(stretches))
    return report.soak_values(stretches)


def _print(stage: Stage, lines: Sequence[str]) -> None:
    stage.say("\n".join(["", *lines]))
