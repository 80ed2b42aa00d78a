"""Telemetry of many vehicles -> rows of features with their truth, through the product's own feature code.

Neighbours: a `Fleet` (in practice `simulator.senders`, handed in by `commands.train`) is the source,
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
from fleet.events.positions import forget_false_fixes

Floats: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]


class Fleet(Protocol):
    """A source of telemetry: each step returns what arrives at the log meanwhile."""

    def step(self, dt_s: float) -> Mapping[str, Any]:
        """Go on by `dt_s` seconds; return N events in the order of arrival, as columns named as in the telemetry JSON.

        Beside them: `vehicle` intp[N], the place in the fleet, `measured_s` and `arrives_s` float64[N], Unix time of
        the event and of the log.
        """


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """Which vehicles a data set wants: `count` from `first` on of the fleet `seed`, in the city number `city`."""

    seed: int
    first: int
    count: int
    city: int
    fault_rate: float
    start_hour: int
    habits: Mapping[str, float] | None = None
    """Share of the senders that have each habit, by its name; None is a usual fleet's, {} are ideal senders."""
    blocks: tuple[str, ...] = ()
    """In place of `habits`: as many blocks of vehicles, each with one habit; a name that is no habit has none."""


@dataclass(frozen=True, slots=True)
class Drive:
    """A fleet, and for how long it drives."""

    request: FleetRequest
    duration_s: float
    keep: float = 1.0
    """Share of the events that become rows; all of them enter the windows."""


MakeFleet: TypeAlias = Callable[[FleetRequest], Fleet]


@dataclass(frozen=True, slots=True)
class Rows(Columns):
    """M events of many vehicles, fleet by fleet in the order in which they arrived."""

    features: Features
    """float32[M, K], NaN = unknown."""
    warming_up: Flags
    is_doubtful: Flags
    vehicle: Indices
    """intp[M]: which vehicle, unique over all fleets."""
    timestamp_s: Floats
    """float64[M]: when it was so; the sender's clock and the log may say otherwise."""
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
_DRIVE_S: Final = 4500.0
_STEP_S: Final = 1.0
_HOURS_APART: Final = 5


def plan_drives(
    seed: int,
    purpose: int,
    vehicle_hours: float,
    cities: Sequence[int],
    fault_rate: float,
    keep: float = 1.0,
    habits: Mapping[str, float] | None = None,
    duration_s: float = _DRIVE_S,
) -> list[Drive]:
    """Spread `vehicle_hours` over cities and the hours of a day: one fleet a city.

    Vehicles for different purposes differ whatever the seeds: their fleet's seed modulo 3 is the purpose.
    """
    vehicles = max(len(cities), round(vehicle_hours * 3600 / duration_s))
    firsts = [vehicles * part // len(cities) for part in range(len(cities) + 1)]
    return [
        Drive(
            FleetRequest(
                3 * seed + purpose, first, beyond - first, city, fault_rate, (1 + _HOURS_APART * part) % 24, habits
            ),
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
    windows = VehicleWindows(plan, idle_s=1e9)
    ids = [str(index) for index in range(request.count)]
    rng = np.random.default_rng([request.seed, request.first])
    codes: dict[str | None, int] = {None: -1}
    parts = []
    for _ in range(int(drive.duration_s / _STEP_S)):
        arrived = fleet.step(_STEP_S)
        signals = _signals(plan.spec, arrived)
        forget_false_fixes(plan.spec, signals)
        taken = _taken(plan.spec, signals)
        vehicle, timestamp_s, arrives_s, measured_s = (
            arrived[name][taken] for name in ("vehicle", "timestamp", "arrives_s", "measured_s")
        )
        block = windows.push([ids[place] for place in vehicle.tolist()], timestamp_s, signals[taken], arrives_s)
        faults = arrived["anomalyType"][taken]
        truth = np.array([codes.setdefault(fault, len(codes) - 1) for fault in faults], np.intp)
        counted = ~block.repeat
        if drive.keep < 1.0:
            counted &= rng.random(len(vehicle)) < drive.keep
        rows = Rows(block.features, block.warming_up, block.is_doubtful, vehicle + request.first, measured_s, truth, ())
        parts.append(rows.picked(np.flatnonzero(counted)))
    names = tuple(name for name in codes if name is not None)
    return replace(joined(parts), faults=names)


def _signals(spec: ChannelSpec, arrived: Mapping[str, Any]) -> Floats:
    """Return float64[N, S] in the order of the specification's fields; truth stays behind."""
    signals = np.empty((len(arrived["timestamp"]), len(spec.fields)))
    for column, field in enumerate(spec.fields):
        if field.is_word:
            signals[:, column] = [field.codes.get(word, np.nan) for word in arrived[field.name]]
        else:
            signals[:, column] = arrived[field.name]
    return signals


def _taken(spec: ChannelSpec, signals: Floats) -> Indices:
    """Say which events say anything that is judged; the decoder refuses the others."""
    judged = [spec.field_names.index(name) for name in spec.judged_fields]
    return np.flatnonzero(~np.isnan(signals[:, judged]).all(axis=1))


def joined(parts: Sequence[Rows]) -> Rows:
    """Return several parts as one; their fault names may differ."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.faults))
    truth = []
    for part in parts:
        number_of = np.array([*(names.index(name) for name in part.faults), -1], np.intp)
        truth.append(number_of[part.truth] if part.faults else part.truth)
    renumbered = [replace(part, truth=own) for part, own in zip(parts, truth, strict=True)]
    return replace(Rows.joined(renumbered), faults=names)
