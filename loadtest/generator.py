"""Produces the load: simulated vehicles at an open-loop rate that follows a profile, in processes of their own.

Event k of a test is due at a time fixed beforehand (`profile`) and is of vehicle k modulo the number of vehicles; each
process has every n-th vehicle, so all processes send all the time and a vehicle's events keep their order. Every event
carries the run, its number, and when it was due: latency counts from then, also where sending had to wait.

Neighbours: `simulator.vehicles` drives, `simulator.sender` hands over to Kafka; `producers` runs these processes.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.lateness import Lateness
from loadtest.profile import Profile, Shape, make_profile
from simulator.child_process import PipeStop, leave_signals_to_the_parent, tell
from simulator.city import City
from simulator.pacing import TICK_S, SteadyClock, Stop, due_slices
from simulator.publisher import REPORT_INTERVAL_S, Columns, VehicleData, wire_columns
from simulator.sender import Progress, Sender
from simulator.senders import Reports
from simulator.vehicles import FAULTS, LONGEST_STEP_S, SimulatedFleet

FIRST_VEHICLE = 1_000_000  # beside a simulator that may be running, not on top of its vehicles
KEPT_UP_LATENESS_MS = 250.0
MOST_EVENTS = 20_000_000  # of one test: the books take 6 bytes an event, the report some 30 more
OVERTIME_S = 10.0  # what is not sent so long after the last due time is not sent at all
VEHICLES_AT_ONCE = 1_000  # stepped together: a longer step would delay the next events
SHORTEST_STEP_S = 0.001
# A wrong clock would look like lateness, and a message lost before Kafka like one that the system lost.
_FAULTS = tuple(fault for fault in FAULTS if fault not in ("clock_skew", "message_loss"))


class LoadTestEvent(VehicleData, gc=False):
    """Telemetry with three unknown fields, which the system must carry through."""

    loadtest_run: str
    loadtest_sequence: int
    loadtest_due_at: float


@dataclass(frozen=True, slots=True)
class Load:
    """What to produce: up to `rate` events a second over all vehicles, for `seconds`."""

    run: str
    rate: float
    vehicles: int
    seconds: float
    topic: str
    seed: int = 7
    shape: Shape = "constant"
    base_rate: float = 0.0
    processes: int = 1

    @property
    def profile(self) -> Profile:
        """The rate over time."""
        return make_profile(self.shape, self.rate, self.base_rate, self.seconds)

    @property
    def events(self) -> int:
        """How many events this will be."""
        return self.profile.events

    @property
    def parts(self) -> int:
        """How many processes have vehicles to send for."""
        return min(self.processes, self.vehicles)


@dataclass(frozen=True, slots=True)
class Produced:
    """What the generator did: counts, the rate it reached, how late it was against its own schedule."""

    progress: Progress
    rate: float
    lateness_p99_ms: float
    lateness: Lateness | None = None
    cpu_share: float = 0.0
    """Of one core, by the busiest process."""

    def kept_up(self, lateness_limit_ms: float = KEPT_UP_LATENESS_MS) -> bool:
        """Tell whether the figures are about the system at the rate asked for, not about this generator."""
        return not self.progress.skipped and self.lateness_p99_ms <= lateness_limit_ms

    @property
    def held_up_s(self) -> float:
        """For how long Kafka's push-back, not the generator, delayed sending."""
        return self.lateness.held_up_s if self.lateness else 0.0


@dataclass(frozen=True, slots=True)
class PartProduced:
    """What one process did."""

    progress: Progress
    lateness: Lateness
    first_at_s: float
    last_at_s: float
    cpu_share: float


def joined(load: Load, parts: Sequence[PartProduced]) -> Produced:
    """Add up what the processes did."""
    progress = sum((part.progress for part in parts), Progress())
    lateness = Lateness(load.seconds)
    for part in parts:
        lateness.add(part.lateness)
    sent = [part for part in parts if part.progress.handed_over]
    # The last event stands for one interval as well: n events at a steady rate span n - 1 intervals.
    span_s = max((p.last_at_s for p in sent), default=0.0) - min((p.first_at_s for p in sent), default=0.0)
    rate = progress.handed_over / (span_s + 1 / load.rate) if sent else 0.0
    cpu_share = max((part.cpu_share for part in parts), default=0.0)
    return Produced(progress, rate, lateness.percentile_ms(99), lateness, cpu_share)


class FleetPart:
    """Every `load.parts`-th vehicle of a load, from number `part` on: their events in order, before they are due."""

    def __init__(self, load: Load, part: int) -> None:
        self._load, self._profile, self._total = load, load.profile, load.events
        self._numbers = np.arange(part, load.vehicles, load.parts)  # int64[n], of the vehicles
        first = FIRST_VEHICLE + sum(len(range(before, load.vehicles, load.parts)) for before in range(part))
        city = City.generate()
        self._groups = []
        for begin in range(0, len(self._numbers), VEHICLES_AT_ONCE):
            numbers = self._numbers[begin : begin + VEHICLES_AT_ONCE]
            fleet = SimulatedFleet(load.seed, first + begin, len(numbers), city, start_s=time.time(), faults=_FAULTS)
            self._groups.append((numbers, fleet))

    @property
    def events(self) -> int:
        """How many events these vehicles have to send."""
        whole, rest = divmod(self._total, self._load.vehicles)
        return whole * len(self._numbers) + int(np.count_nonzero(self._numbers < rest))

    def blocks(self, start_s: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], Columns]]:
        """Yield blocks of events in order: their numbers int64[N], when they are due float64[N], their columns."""
        latest_s = dict.fromkeys(range(len(self._groups)), start_s - 1.0)
        for round_ in itertools.count():
            for place, (numbers, fleet) in enumerate(self._groups):
                events = round_ * self._load.vehicles + numbers
                events = events[events < self._total]
                if not len(events):
                    return
                due_s = start_s + self._profile.due_s(events)
                step_s = float(np.clip(due_s[0] - latest_s[place], SHORTEST_STEP_S, LONGEST_STEP_S))
                latest_s[place] = float(due_s[0])
                reports = Reports.of(fleet.step(step_s), due_s, np.arange(len(events)))
                yield events, due_s, wire_columns(reports, fleet.vehicle_ids)


class _Reporter:
    """Tells the counts to the parent now and then, and notices when the client's queue was full.

    The sender calls it once after every batch, and again and again while its queue is full.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._told_at = pipe, 0.0
        self._calls = 0

    def __call__(self, sender: Sender) -> None:
        self._calls += 1
        if (now := time.monotonic()) - self._told_at >= REPORT_INTERVAL_S:
            self._told_at = now
            tell(self._pipe, sender.progress())

    def was_held_up(self) -> bool:
        """Tell whether the queue was full since the last question."""
        calls, self._calls = self._calls, 0
        return calls > 1


class _Deadline:
    """Stops when told to, and when the time is over anyway."""

    def __init__(self, stop: Stop, until_s: float) -> None:
        self._stop, self._until_s = stop, until_s

    def is_set(self) -> bool:
        return time.time() > self._until_s or self._stop.is_set()

    def wait(self, timeout_s: float, /) -> bool:
        return self._stop.wait(min(timeout_s, max(self._until_s - time.time(), 0.0))) or self.is_set()


def generate(load: Load, part: int, pipe: Connection) -> None:
    """Run in a process of its own: say "ready", wait for the start (Unix seconds), send, and tell `PartProduced`."""
    leave_signals_to_the_parent()
    fleet = FleetPart(load, part)
    tell(pipe, "ready")
    try:
        start_s = pipe.recv()
    except EOFError:
        return
    if isinstance(start_s, float):
        tell(pipe, _send_all(load, part, fleet, start_s, pipe))


def _send_all(load: Load, part: int, fleet: FleetPart, start_s: float, pipe: Connection) -> PartProduced:
    asked = PipeStop(pipe)
    stop = _Deadline(asked, start_s + load.seconds + OVERTIME_S)
    reporter, encode, lateness = _Reporter(pipe), _Encoder(load.run), Lateness(load.seconds)
    cpu_before_s = time.process_time()
    with Sender(load.topic, f"loadtest-{part}", stop, reporter) as sender:
        first_at_s, last_at_s = _send(fleet, start_s, sender, encode, lateness, reporter, stop)
        cpu_share = (time.process_time() - cpu_before_s) / max(time.time() - start_s, 1e-3)
    progress = sender.progress()
    never_sent = 0 if asked.is_set() else fleet.events - progress.handed_over
    return PartProduced(_with_skipped(progress, never_sent), lateness, first_at_s, last_at_s, cpu_share)


def _with_skipped(progress: Progress, skipped: int) -> Progress:
    """Return the counts with what was due and never sent."""
    return msgspec.structs.replace(progress, skipped=skipped)


def _send(
    fleet: FleetPart,
    start_s: float,
    sender: Sender,
    encode: "_Encoder",
    lateness: Lateness,
    reporter: _Reporter,
    stop: Stop,
) -> tuple[float, float]:
    """Send what is due when it is due; returns when the first and the last slice were begun."""
    clock = SteadyClock()
    first_at_s = last_at_s = 0.0
    is_held_up = False  # by Kafka: until the schedule is caught up with, lateness is no fault of this process
    for events, due_s, columns in fleet.blocks(start_s):
        for rows in due_slices(due_s, clock.now_s, stop):
            last_at_s = clock.now_s()
            first_at_s = first_at_s or last_at_s
            late_s = last_at_s - float(due_s[rows.start])
            is_held_up = is_held_up and late_s > 2 * TICK_S
            sender.send(columns[0][rows], encode([column[rows] for column in columns], events[rows], due_s[rows]))
            is_held_up = reporter.was_held_up() or is_held_up
            lateness.note(float(due_s[rows.start]) - start_s, late_s, rows.stop - rows.start, is_held_up)
        if stop.is_set():
            break
    return first_at_s, last_at_s


class _Encoder:
    """Encodes rows with the run's fields."""

    def __init__(self, run: str) -> None:
        self._run, self._encode = run, msgspec.json.Encoder().encode

    def __call__(self, columns: Columns, events: NDArray[np.int64], due_s: NDArray[np.float64]) -> list[bytes]:
        ours = [[self._run] * len(events), events.tolist(), due_s.tolist()]
        return [self._encode(event) for event in map(LoadTestEvent, *columns, *ours)]
