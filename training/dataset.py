"""Telemetry of many vehicles -> rows of features with their truth, through the product's own feature code.

Neighbours: a `Fleet` (in practice `simulator.vehicles`, handed in by `commands.train`) is the source,
`training.train` and `training.evaluate` are the readers. Truth is kept beside the rows and never enters them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.columns import Columns
from fleet.detection.features import FeaturePlan
from fleet.detection.windows import VehicleWindows
from fleet.events.channels import ChannelSpec

Floats: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]


class Fleet(Protocol):
    """A source of telemetry: each step returns one event per vehicle."""

    time_s: float

    def step(self, dt_s: float) -> Mapping[str, Any]:
        """Return columns named as the telemetry JSON's fields, at a time `dt_s` seconds later."""


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """Which vehicles a data set wants: `count` from `first` on of the fleet `seed`, in the city number `city`."""

    seed: int
    first: int
    count: int
    city: int
    fault_rate: float
    start_hour: int


Intervals: TypeAlias = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Drive:
    """A fleet, how often its vehicles report, and for how long they drive."""

    request: FleetRequest
    intervals: Intervals
    """Sampling intervals in seconds, multiples of the first, each with its share of the vehicles."""
    duration_s: float
    keep: float = 1.0
    """Share of the events that become rows; all of them enter the windows."""

    @property
    def step_s(self) -> float:
        """How far the fleet is advanced at a time."""
        return self.intervals[0][0]

    @property
    def steps_between(self) -> Indices:
        """intp[n]: after how many steps each vehicle reports again."""
        shares = np.cumsum([share for _, share in self.intervals])
        place = (np.arange(self.request.count) + 0.5) / self.request.count * shares[-1]
        chosen = np.searchsorted(shares, place)
        between: Indices = np.array([round(interval_s / self.step_s) for interval_s, _ in self.intervals])[chosen]
        return between


MakeFleet: TypeAlias = Callable[[FleetRequest], Fleet]


@dataclass(frozen=True, slots=True)
class Rows(Columns):
    """M events of many vehicles, in the order in which the fleets sent them."""

    features: Features
    """float32[M, K], NaN = unknown."""
    warming_up: Flags
    vehicle: Indices
    """intp[M]: which vehicle, unique over all fleets."""
    timestamp_s: Floats
    """float64[M]: when the event was sent; its own clock may say otherwise."""
    truth: Indices
    """intp[M]: index into `faults` of the injected fault, or -1."""
    faults: tuple[str, ...]

    @property
    def faulty(self) -> Flags:
        """bool[M]: the event lies in a labelled fault."""
        return self.truth >= 0


# Senders as they occur: the fields that they lack. What the false alarm rate is reported for.
SENDERS: Final[Mapping[str, frozenset[str]]] = {
    "all signals": frozenset(),
    "ten numbers of /predict": frozenset({"night", "roadType", "weather"}),
    "no position": frozenset({"latitude", "longitude"}),
    "no battery, no fuel": frozenset({"battery", "fuelLevel"}),
    "no limit, no road, no traffic": frozenset({"speedLimit", "roadType", "trafficLevel", "weather"}),
    "position and speed alone": frozenset(
        {"temperature", "battery", "fuelLevel", "speedLimit", "trafficLevel", "weather", "roadType", "night"}
    ),
    "speed and temperature alone": frozenset(
        {"latitude", "longitude", "battery", "fuelLevel", "speedLimit", "trafficLevel", "weather", "roadType", "night"}
    ),
}

# What a fleet is driven for; each has seeds of its own.
TRAINING, CALIBRATION, EVALUATION = range(3)
# Sampling intervals with their share of the vehicles, and for how long a fleet drives.
_INTERVALS: Final[Intervals] = ((1.0, 0.68), (2.0, 0.08), (5.0, 0.08), (10.0, 0.08), (30.0, 0.08))
_DRIVE_S: Final = 4500.0
_HOURS_APART: Final = 5
_NETWORK_DELAY_S: Final = (0.02, 0.3)


def plan_drives(
    seed: int,
    purpose: int,
    vehicle_hours: float,
    cities: Sequence[int],
    fault_rate: float,
    keep: float = 1.0,
    intervals: Intervals = _INTERVALS,
    duration_s: float = _DRIVE_S,
) -> list[Drive]:
    """Spread `vehicle_hours` over cities and the hours of a day: one fleet a city, with all sampling intervals.

    Vehicles for different purposes differ whatever the seeds: their fleet's seed modulo 3 is the purpose.
    """
    vehicles = max(len(cities), round(vehicle_hours * 3600 / duration_s))
    firsts = [vehicles * part // len(cities) for part in range(len(cities) + 1)]
    return [
        Drive(
            FleetRequest(3 * seed + purpose, first, beyond - first, city, fault_rate, (1 + _HOURS_APART * part) % 24),
            intervals,
            duration_s,
            keep,
        )
        for part, (city, first, beyond) in enumerate(zip(cities, firsts, firsts[1:], strict=False))
    ]


def collect(plan: FeaturePlan, make_fleet: MakeFleet, drives: Sequence[Drive], say: Say, what: str) -> Rows:
    """Drive the fleets and return all of their events as rows."""
    parts = []
    for number, drive in enumerate(drives, 1):
        parts.append(run_drive(plan, make_fleet(drive.request), drive))
        if number % max(1, len(drives) // 4) == 0 or number == len(drives):
            say(f"  {what}: fleet {number} of {len(drives)}, {sum(len(p.truth) for p in parts):,} events")
    return joined(parts)


def hide(plan: FeaturePlan, features: Features, fields: frozenset[str]) -> Features:
    """Return features float32[M, K] as a sender would give them that lacks some of the specification's fields."""
    names = [channel.name for channel in plan.spec.channels]
    lacking = [any(names[c] in fields for c in plan.needs(channel)) for channel in range(len(names))]
    hidden = np.array([channel >= 0 and lacking[channel] for channel in plan.columns[:, 1]])
    return np.where(hidden, np.float32(np.nan), features)


def run_drive(plan: FeaturePlan, fleet: Fleet, drive: Drive) -> Rows:
    """Drive one fleet; its events go through windows of their own, as those of a partition do."""
    request = drive.request
    windows = VehicleWindows(plan, idle_s=1e9, max_vehicles=request.count)
    ids = [str(index) for index in range(request.count)]
    vehicle = np.arange(request.count) + request.first
    rng = np.random.default_rng([request.seed, request.first])
    codes: dict[str | None, int] = {None: -1}
    parts = []
    steps_between = drive.steps_between
    for step in range(int(drive.duration_s / drive.step_s)):
        state = fleet.step(drive.step_s)
        sent = np.flatnonzero(state["is_sent"] & ((step + vehicle) % steps_between == 0))
        appended_s = fleet.time_s + rng.uniform(*_NETWORK_DELAY_S, len(sent))
        block = windows.push(
            [ids[i] for i in sent], state["timestamp"][sent], _signals(plan.spec, state)[sent], appended_s
        )
        truth = np.array([codes.setdefault(fault, len(codes) - 1) for fault in state["anomalyType"]], np.intp)[sent]
        counted = ~block.repeat
        if drive.keep < 1.0:
            counted &= rng.random(len(sent)) < drive.keep
        times_s = np.full(int(counted.sum()), fleet.time_s)
        parts.append(
            Rows(
                block.features[counted], block.warming_up[counted], vehicle[sent][counted], times_s, truth[counted], ()
            )
        )
    whole = joined(parts)
    names = tuple(name for name in codes if name is not None)
    return replace(whole, faults=names)


def _signals(spec: ChannelSpec, state: Mapping[str, Any]) -> Floats:
    """Return float64[n, S] in the order of the specification's fields; truth stays behind."""
    signals = np.empty((len(state["timestamp"]), len(spec.fields)))
    for column, field in enumerate(spec.fields):
        if field.is_word:
            signals[:, column] = [field.codes.get(word, np.nan) for word in state[field.name]]
        else:
            signals[:, column] = state[field.name]
    return signals


def joined(parts: Sequence[Rows]) -> Rows:
    """Return several parts as one; their fault names may differ."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.faults))
    truth = []
    for part in parts:
        number_of = np.array([*(names.index(name) for name in part.faults), -1], np.intp)
        truth.append(number_of[part.truth] if part.faults else part.truth)
    renumbered = [replace(part, truth=own) for part, own in zip(parts, truth, strict=True)]
    return replace(Rows.joined(renumbered), faults=names)
