"""How late a verdict is on a screen: from the append of the event to its arrival at a WebSocket client.

The load is open-loop. Beside the time since the append stands the time since the event was due, which hides nothing:
not a producer that waits for Kafka, and not a generator that the busy machine holds up. Each run's time is cut into
windows; the spread is over those.

Neighbours: `open_loop` sends, `screen` receives, `running_system` is in between.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.costs import Costs, Roles, cpu_seconds, peak_mib, spent, tree
from benchmarks.figures import Figure, in_windows, percentiles
from benchmarks.open_loop import Sent, open_loop
from benchmarks.running_system import RunningSystem
from benchmarks.screen import Screen, Seen
from benchmarks.verdicts import BenchmarkError
from benchmarks.workload import stamp_when_appended

RATES = (1_000, 10_000, 25_000)
PERCENTILES = (50, 95, 99)
WARM_UP_S = 2.0
SILENCE_S = 3.0  # so long without a frame, nothing more comes
DRAIN_TIMEOUT_S = 90.0
POLL_S = 0.1
# Slower than this at its 99th percentile, the figures say how long the queue grew, not how fast the system is.
KEPT_UP_MS = 2_000.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """One rate under one delivery: milliseconds by percentile, CPU µs per event and peak MiB by role."""

    system: str
    rate: int
    events: int
    from_append_ms: Mapping[int, Figure]
    from_due_ms: Mapping[int, Figure]
    stages_ms: Mapping[str, Figure]
    """The median of each part of the way: until ingest has read it, until it is scored, until it is on the screen."""
    generator_late_p99_ms: float
    not_shown: int
    """Dropped by the gateway, because this client fell behind; the gateway counts them."""
    cpu_us: Mapping[str, float]
    peak_mib: Mapping[str, float]

    @property
    def kept_up(self) -> bool:
        """Whether the rate is one that the machine can take."""
        return self.from_due_ms[99].median < KEPT_UP_MS and not self.not_shown


def run(
    system: RunningSystem, kafka_pid: int, rates: Sequence[int], seconds: float, say: Say, first_round: int = 0
) -> list[LatencyResult]:
    """Measure a running system at each rate, `seconds` of each after a warm-up; each round has vehicles of its own.

    Raises FleetError.
    """
    results = []
    for round_, rate in enumerate(rates, first_round):
        results.append(_at_rate(system, kafka_pid, rate, seconds, round_))
        say(_line(results[-1]))
    return results


def _at_rate(system: RunningSystem, kafka_pid: int, rate: int, seconds: float, round_: int) -> LatencyResult:
    length_s = WARM_UP_S + seconds
    stamp_when_appended(system.telemetry)
    dropped = system.pipeline()["dropped"]
    with Screen(system.url) as screen, open_loop(system.telemetry, rate, length_s, round_) as load:

        def roles() -> Roles:
            return {**system.roles(), "kafka": tree(kafka_pid), "generator": [load.process]}

        before = cpu_seconds(roles())
        sent = load.finished(length_s)
        _drain(screen, sent)
        cpu_s = spent(before, cpu_seconds(roles()))  # also of what came late
        peak = peak_mib(roles())
    dropped = system.pipeline()["dropped"] - dropped
    return result_of(system.name, rate, seconds, sent, screen.seen(), dropped, Costs(cpu_s, peak))


def result_of(
    system: str, rate: int, seconds: float, sent: Sent, seen: Seen, dropped: int, costs: Costs
) -> LatencyResult:
    """Turn what was seen into figures. Raises BenchmarkError unless every event was shown, or counted as dropped."""
    if len(seen.due_s) + dropped != sent.acknowledged:
        raise BenchmarkError(
            f"Of {sent.acknowledged:,} events {len(seen.due_s):,} were shown and {dropped:,} counted as dropped."
        )
    return LatencyResult(
        system,
        rate,
        sent.acknowledged,
        _percentiles(seen, seen.arrived_at_s - seen.appended_at_s, sent.first_due_s, seconds),
        _percentiles(seen, seen.arrived_at_s - seen.due_s, sent.first_due_s, seconds),
        _stages(seen, sent.first_due_s, seconds),
        sent.late_p99_ms,
        dropped,
        {role: used / sent.acknowledged * 1e6 for role, used in costs.cpu_s.items()},
        costs.peak_mib,
    )


def _drain(screen: Screen, sent: Sent) -> None:
    """Wait until everything has arrived, or nothing has come for a while."""
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    while screen.events_so_far() < sent.acknowledged and time.monotonic() < deadline_s:
        if time.time() - screen.last_frame_at_s > SILENCE_S:
            return
        time.sleep(POLL_S)


def _percentiles(seen: Seen, latency_s: NDArray[np.float64], first_due_s: float, seconds: float) -> dict[int, Figure]:
    """Return each percentile's figure over the windows, by when an event was due."""
    return percentiles(in_windows(latency_s * 1000, seen.due_s, first_due_s + WARM_UP_S, seconds), PERCENTILES)


def _stages(seen: Seen, first_due_s: float, seconds: float) -> dict[str, Figure]:
    stages_s = {
        "read": seen.ingested_at_s - seen.appended_at_s,
        "scored": seen.scored_at_s - seen.ingested_at_s,
        "shown": seen.arrived_at_s - seen.scored_at_s,
    }
    return {name: _percentiles(seen, stage_s, first_due_s, seconds)[50] for name, stage_s in stages_s.items()}


def _line(result: LatencyResult) -> str:
    kept_up = "" if result.kept_up else "; it did NOT keep up"
    return f"  {result.system}, {result.rate:,} events/s: append → screen {in_words(result.from_append_ms)}{kept_up}"


def in_words(latency_ms: Mapping[int, Figure]) -> str:
    """Return the percentiles' medians."""
    return ", ".join(f"p{percentile} {figure.median:,.0f}" for percentile, figure in latency_ms.items()) + " ms"
