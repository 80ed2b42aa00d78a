"""Produces the load: simulated vehicles at an open-loop rate.

It has a process of its own, so that measuring does not slow it. Every event carries the run, its number, and when it
was handed to the Kafka client.

Neighbours: `simulator.publisher` paces and sends; `run` starts this process and takes its result.
"""

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import msgspec
import numpy as np

from simulator.child_process import PipeStop, leave_signals_to_the_parent, tell
from simulator.publisher import Columns, FleetPlan, VehicleData, publish_in_one_process
from simulator.sender import Progress
from simulator.vehicles import FAULTS

FIRST_VEHICLE = 1_000_000  # beside a simulator that may be running, not on top of its vehicles
KEPT_UP_LATENESS_MS = 250.0
KEPT_UP_SHARE = 0.98
# A wrong clock would look like lateness, and a message lost before Kafka like one that the system lost.
_FAULTS = tuple(fault for fault in FAULTS if fault not in ("clock_skew", "message_loss"))


class LoadTestEvent(VehicleData, gc=False):
    """Telemetry with three unknown fields, which the system must carry through."""

    loadtestRun: str  # noqa: N815 - the names are the wire's
    loadtestSequence: int  # noqa: N815
    loadtestSentAt: float  # noqa: N815


@dataclass(frozen=True, slots=True)
class Load:
    """What to produce: `rate` events a second over all vehicles, for `seconds`."""

    run: str
    rate: float
    vehicles: int
    seconds: float
    topic: str
    seed: int = 7

    @property
    def events(self) -> int:
        """At most how many events this will be (the last period is cut where the time is over)."""
        return int(np.ceil(self.rate * self.seconds)) + self.vehicles


@dataclass(frozen=True, slots=True)
class Produced:
    """What the generator did: counts, the rate it reached, how late it was against its own schedule."""

    progress: Progress
    rate: float
    lateness_p99_ms: float

    def kept_up(self, load: Load) -> bool:
        """Tell whether the figures are about the system at the rate asked for, not about this generator."""
        is_complete = not self.progress.skipped and self.rate >= KEPT_UP_SHARE * load.rate
        return is_complete and self.lateness_p99_ms <= KEPT_UP_LATENESS_MS


class _Encoder:
    """Encodes rows with the run's fields and notes how late each was."""

    def __init__(self, run: str) -> None:
        self._run, self._encode = run, msgspec.json.Encoder().encode
        self.count = 0
        self.lateness_s: list[float] = []
        self.first_at_s = self.last_at_s = 0.0

    def __call__(self, columns: Columns) -> list[bytes]:
        sent_at_s = time.time()
        self.first_at_s, self.last_at_s = self.first_at_s or sent_at_s, sent_at_s
        self.lateness_s.append(sent_at_s - columns[1][0])  # the timestamp is when the event was due
        first, rows = self.count, len(columns[0])
        self.count += rows
        ours = [[self._run] * rows, range(first, first + rows), [sent_at_s] * rows]
        return [self._encode(event) for event in map(LoadTestEvent, *columns, *ours)]


def generate(load: Load, pipe: Connection) -> None:
    """Run in a process of its own: produce the load, tell the counts as they grow, and at the end `Produced`."""
    leave_signals_to_the_parent()
    rate_hz = load.rate / load.vehicles
    plan = FleetPlan(
        load.vehicles, load.topic, FIRST_VEHICLE, load.seed, rate_hz, load.seconds, faults=_FAULTS, is_lossless=True
    )
    encode = _Encoder(load.run)
    final = publish_in_one_process(
        plan, PipeStop(pipe), lambda progress: tell(pipe, progress), encode, client_id="loadtest"
    )
    # The last event stands for one interval as well: n events at a steady rate span n - 1 intervals.
    span_s = encode.last_at_s - encode.first_at_s + 1 / load.rate
    lateness_ms = float(np.percentile(encode.lateness_s, 99)) * 1000 if encode.lateness_s else 0.0
    tell(pipe, Produced(final, encode.count / span_s, lateness_ms))
