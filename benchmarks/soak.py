"""Whether anything grows while nothing changes: a steady load for half an hour, looked at in equal stretches.

One page is connected throughout. Latency is what the gateway says of the last half minute of each stretch, from an
event's append to the arrival of its verdict; memory is what is resident at its end. In the end every event must have
been scored once and shown, or counted as dropped.

Neighbours: `open_loop` sends, `running_system` is looked at, `report` prints what is returned here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.costs import Roles, cpu_seconds, resident_mib, spent, tree
from benchmarks.open_loop import open_loop
from benchmarks.running_system import RunningSystem
from benchmarks.verdicts import BenchmarkError
from benchmarks.workload import keep_the_newest, stamp_when_appended
from faults.screens import FrameReader

RATE = 10_000
WARM_UP_S = 60.0  # caches, compilers and pools fill; what they take is not growth
STRETCHES = 10
DRAIN_TIMEOUT_S = 120.0
POLL_S = 0.5
MOST_BYTES_A_PARTITION = 256 * 1024 * 1024

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch: when it ended (seconds since the load began), and what was so then, or in it."""

    ended_s: float
    shown_per_second: float
    latency_ms: Mapping[str, float | None]
    lag: int
    resident_mib: Mapping[str, float]
    core_share: Mapping[str, float]


class _Page(FrameReader):
    """Counts the events that it is shown; each names its source once."""

    events = 0

    def take(self, frame: bytes) -> None:
        self.events += frame.count(b'"source":')


def run(system: RunningSystem, kafka_pid: int, seconds: float, rate: int, say: Say) -> list[Stretch]:
    """Send `rate` events a second for a minute and then for `seconds`; returns the stretches. Raises FleetError."""
    for topic in (system.telemetry, system.scored):
        keep_the_newest(topic, MOST_BYTES_A_PARTITION)
    stamp_when_appended(system.telemetry)
    warm_up_s = min(WARM_UP_S, seconds)
    before = system.pipeline()
    stretches = []
    with (
        _Page(system.url) as page,
        open_loop(system.telemetry, rate, warm_up_s + seconds, 0) as load,
    ):

        def roles() -> Roles:
            return {**system.roles(), "kafka": tree(kafka_pid), "generator": [load.process]}

        began_s = time.monotonic()
        _sleep_until(began_s + warm_up_s)
        for number in range(1, STRETCHES + 1):
            cpu_s, shown = cpu_seconds(roles()), page.events
            _sleep_until(began_s + warm_up_s + seconds * number / STRETCHES)
            said, used = system.pipeline(), spent(cpu_s, cpu_seconds(roles()))
            stretches.append(
                Stretch(
                    time.monotonic() - began_s,
                    (page.events - shown) * STRETCHES / seconds,
                    said["latencyMs"],
                    said["lag"],
                    resident_mib(roles()),
                    {role: share * STRETCHES / seconds for role, share in used.items()},
                )
            )
            say(f"  {stretches[-1].ended_s / 60:.1f} minutes: {stretches[-1].latency_ms}")
        sent = load.finished(seconds)
        _check(system, before, page, sent.acknowledged)
    return stretches


def _check(system: RunningSystem, before: Mapping[str, Any], page: _Page, sent: int) -> None:
    """Wait until all that was sent is scored and shown. Raises BenchmarkError."""
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    while missing := missing_of(sent, before, system.pipeline(), page.events):
        if time.monotonic() > deadline_s:
            raise BenchmarkError(missing)
        time.sleep(POLL_S)


def missing_of(sent: int, before: Mapping[str, Any], now: Mapping[str, Any], shown: int) -> str:
    """Say what became of what was sent; empty when each event is scored once, and shown or counted as dropped."""
    scored, dropped = now["scored"] - before["scored"], now["dropped"] - before["dropped"]
    if scored == sent and shown + dropped == sent:
        return ""
    return f"Of {sent:,} events {scored:,} were scored, {shown:,} shown and {dropped:,} counted as dropped."


def _sleep_until(at_s: float) -> None:
    time.sleep(max(at_s - time.monotonic(), 0.0))  # what is measured is this length of load
