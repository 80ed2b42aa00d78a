"""Publishes what simulated vehicles report as telemetry JSON, each event when it arrives.

Neighbours: `vehicles` advances the fleet, `senders` says what of it arrives and when, `sender` hands the records to
Kafka, `commands/simulate.py` runs it.
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.errors import LocalServiceError
from fleet.events.fields import wire_name
from simulator.child_process import PipeStop, leave_signals_to_the_parent, tell
from simulator.city import City
from simulator.pacing import SteadyClock, Stop, due_slices, phases
from simulator.sender import FLUSH_TIMEOUT_S, Progress, Sender
from simulator.senders import SIGNALS, HabitMix, Reports, Senders
from simulator.vehicles import FAULTS, SimulatedFleet

LARGEST_LAG_S = 5.0
PLACING_S = 0.2
PAST_S = 86_400.0  # where an unpaced plan without an end begins
LONGEST_STEP_S = 3_600.0
REPORT_INTERVAL_S = 0.5
_ROUNDING_S = 1e-9  # so that ten periods of 0.1 s fill a second

Columns: TypeAlias = list[list[Any]]
_Number: TypeAlias = float | msgspec.UnsetType
_Word: TypeAlias = str | msgspec.UnsetType | None
EncodeRows: TypeAlias = Callable[[Columns], Sequence[bytes | None]]


class VehicleData(msgspec.Struct, rename=wire_name, gc=False):
    """The origin system's message: the order of the fields is its producer's.

    NaN is encoded as null: missing. UNSET leaves a key out, as senders do that lack a signal or send it more rarely.
    """

    vehicle_id: str
    timestamp: float
    latitude: _Number
    longitude: _Number
    speed: _Number
    previous_speed: _Number
    acceleration: _Number
    temperature: _Number
    battery: _Number
    fuel_level: _Number
    weather: _Word
    road_type: _Word
    speed_limit: _Number
    night: bool | msgspec.UnsetType | None
    traffic_level: int | msgspec.UnsetType | None
    anomaly: bool
    anomaly_type: str | None


FIELDS = VehicleData.__struct_encode_fields__
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Which vehicles publish what, where, how often and for how long.

    `duration_s` is time of the vehicles, so that a plan names an exact number of events whatever the pace; None is
    for ever. Without pace, the past is published as fast as Kafka takes it: the vehicles' time ends about now, or
    begins a day ago and goes on at the clock's pace once it has caught up. Data from the future would be a clock fault.
    """

    vehicles: int
    topic: str
    first: int = 0
    seed: int = 7
    rate_hz: float = 1.0
    duration_s: float | None = None
    is_paced: bool = True
    fault_rate: float = 0.02
    faults: tuple[str, ...] = FAULTS
    is_lossless: bool = False
    """Send also what the simulation loses, for who needs the exact number of events in Kafka."""
    habits: HabitMix = field(default_factory=HabitMix.none)
    """Of the senders; the senders are ideal by default, and send every event at its moment."""

    def split(self, parts: int) -> list["FleetPlan"]:
        """Cut the fleet into at most `parts` neighbouring ranges of nearly the same size."""
        edges = [self.vehicles * part // parts for part in range(parts + 1)]
        return [
            replace(self, first=self.first + begin, vehicles=end - begin)
            for begin, end in itertools.pairwise(edges)
            if end > begin
        ]


def encode_rows(columns: Columns) -> list[bytes]:
    """Encode rows, given as columns in the order of `FIELDS`, as telemetry JSON."""
    return [_encode(row) for row in map(VehicleData, *columns)]


class FleetPublisher:
    """Steps one range of the fleet once a period and sends each event when it arrives at the log.

    An ideal sender's event has its vehicle's moment of the period as timestamp and arrives then, unless its clock is
    wrong (`FleetState.clock_skew_s`); habits may say otherwise. Messages that the simulation loses are counted in
    `sender.lost`, as are those on their way at the end. When sending falls behind by more than 5 s (Kafka was away for
    long, or the machine cannot keep the rate), the fleet drives on unseen and the events it would have sent are counted
    in `sender.skipped`: a simulator that catches up would be no real-time source.
    """

    def __init__(self, plan: FleetPlan, sender: Sender, stop: Stop, encode: EncodeRows = encode_rows) -> None:
        self._plan, self._sender, self._stop, self._encode = plan, sender, stop, encode
        self._senders = Senders(plan.seed, plan.first, plan.vehicles, plan.habits)
        self._period_s = 1 / plan.rate_hz
        self._clock = SteadyClock()
        self._phases_s = phases(plan.first, plan.vehicles) * self._period_s

    def run(self) -> None:
        """Publish until the plan's time is over or `stop` is set."""
        plan, senders = self._plan, self._senders
        start_s = self._start_s()
        end_s = np.inf if plan.duration_s is None else plan.duration_s - _ROUNDING_S
        fleet = self._fleet(start_s - self._period_s)
        period = 0
        while not self._stop.is_set():
            skipped = self._periods_behind(start_s + period * self._period_s)
            period += skipped
            if period * self._period_s >= end_s:
                break
            self._sender.skipped += skipped * plan.vehicles
            state = fleet.step((skipped + 1) * self._period_s)
            state["is_sent"] |= plan.is_lossless
            due_s = start_s + (period * self._period_s + self._phases_s)
            arrived = senders.take(state, due_s, max(start_s + (period + 1) * self._period_s, due_s.max()))
            self._sender.lost = senders.lost + senders.dropped
            self._publish(arrived.rows(0, int(np.searchsorted(arrived.arrives_s - start_s, end_s))), fleet.vehicle_ids)
            period += 1
        self._sender.lost += senders.held

    def _fleet(self, begins_s: float) -> SimulatedFleet:
        plan, city, parks_first = self._plan, City.generate(), self._senders.parks_first
        return SimulatedFleet(
            plan.seed, plan.first, plan.vehicles, city, plan.fault_rate, begins_s, plan.faults, parks_first
        )

    def _start_s(self) -> float:
        """Say when the vehicles' time begins: now, or so that an unpaced plan ends now."""
        if self._plan.is_paced:
            return self._clock.now_s() + PLACING_S  # without it the first events would be late by the fleet's placing
        return self._clock.now_s() - (PAST_S if self._plan.duration_s is None else self._plan.duration_s)

    def _periods_behind(self, base_s: float) -> int:
        """Count the whole periods to leave out before the next one, which should have begun at `base_s`."""
        behind_s = self._clock.now_s() - base_s
        if not self._plan.is_paced or behind_s <= LARGEST_LAG_S:
            return 0
        return int(min(behind_s, LONGEST_STEP_S - self._period_s) / self._period_s)

    def _publish(self, reports: Reports, vehicle_ids: Sequence[str]) -> None:
        columns = wire_columns(reports, vehicle_ids, self._senders.omits_keys)
        is_keyless = self._senders.is_keyless[reports.vehicle]
        keys = [None if keyless else key for key, keyless in zip(columns[0], is_keyless.tolist(), strict=True)]
        for rows in due_slices(reports.arrives_s, self._clock.now_s, self._stop):
            self._sender.send(keys[rows], self._encode([column[rows] for column in columns]))


def wire_columns(reports: Reports, vehicle_ids: Sequence[str], omits_keys: NDArray[np.bool_] | None = None) -> Columns:
    """Return reports as columns in the order of `FIELDS`.

    `vehicle_ids` and `omits_keys` are of the whole range: by whom keys are left out whose value is missing.
    """
    omits = None if omits_keys is None else omits_keys[reports.vehicle]
    by_name: dict[str, list[Any]] = {
        "vehicleId": [vehicle_ids[place] for place in reports.vehicle.tolist()],
        "timestamp": reports.timestamp_s.tolist(),
        "anomaly": (reports.fault < len(FAULTS)).tolist(),
        "anomalyType": reports.fault_names.tolist(),
    }
    for signal, name in enumerate(SIGNALS):
        column: NDArray[Any] = reports.column(signal)
        if omits is not None and (absent := omits & np.isnan(reports.signals[:, signal])).any():
            column = column.astype(object)
            column[absent] = msgspec.UNSET
        by_name[name] = column.tolist()
    return [by_name[name] for name in FIELDS]


def publish_in_one_process(
    plan: FleetPlan,
    stop: Stop,
    report: Callable[[Progress], None],
    encode: EncodeRows = encode_rows,
    client_id: str = "simulator",
) -> Progress:
    """Run one plan here until it is over or `stop` is set; returns the final counts."""
    with Sender(plan.topic, client_id, stop, _throttled(report)) as sender:
        FleetPublisher(plan, sender, stop, encode).run()
    return sender.progress()


def publish_in_processes(plans: Sequence[FleetPlan], stop: Stop, report: Callable[[Progress], None]) -> Progress:
    """Run each plan in a process of its own; returns the sum of their final counts.

    The processes end when `stop` is set, and also when this one dies. Raises LocalServiceError when one of them ends
    with an error.
    """
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for plan in plans:
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(plan, theirs), name=f"simulator-{plan.first}")
        process.start()
        theirs.close()
        pipes[ours] = process
    counts = dict.fromkeys(pipes, Progress())
    try:
        _collect(counts, stop, report)
    finally:
        for ours in pipes:
            ours.close()
        for process in pipes.values():
            process.join(FLUSH_TIMEOUT_S + 5.0)
            process.kill()
            process.join()
    if failed := [process.name for process in pipes.values() if process.exitcode]:
        raise LocalServiceError(f"The process {', '.join(failed)} ended with an error: see the lines above.")
    return sum(counts.values(), Progress())


def _collect(counts: dict[Connection, Progress], stop: Stop, report: Callable[[Progress], None]) -> None:
    """Take the workers' counts until every worker has closed its pipe; ask them to end when `stop` is set."""
    open_pipes, asked_until = set(counts), None
    while open_pipes and (asked_until is None or time.monotonic() < asked_until):
        if stop.is_set() and asked_until is None:
            asked_until = time.monotonic() + FLUSH_TIMEOUT_S + 5.0
            for pipe in open_pipes:
                tell(pipe, "end")
        ready = wait(list(open_pipes), timeout=0.1)
        for pipe in [pipe for pipe in open_pipes if pipe in ready]:
            try:
                counts[pipe] = pipe.recv()
            except EOFError:
                open_pipes.discard(pipe)
        report(sum(counts.values(), Progress()))


def _worker(plan: FleetPlan, pipe: Connection) -> None:
    leave_signals_to_the_parent()
    final = publish_in_one_process(
        plan, PipeStop(pipe), lambda progress: tell(pipe, progress), client_id=f"simulator-{plan.first}"
    )
    tell(pipe, final)


def _throttled(report: Callable[[Progress], None]) -> Callable[[Sender], None]:
    """Call `report` at most twice a second: counting asks the client's queue."""
    reported_at = 0.0

    def heartbeat(sender: Sender) -> None:
        nonlocal reported_at
        if (now := time.monotonic()) - reported_at >= REPORT_INTERVAL_S:
            reported_at = now
            report(sender.progress())

    return heartbeat
