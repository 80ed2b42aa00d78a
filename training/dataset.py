"""Telemetry of many vehicles -> rows of features with their truth, through the product's own feature code.

Neighbours: a `Fleet` (in practice `simulator.vehicles`, handed in by `commands.train`) is the source,
`training.train` and `training.evaluate` are the readers. Truth is kept beside the rows and never enters them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.features import FEATURES, VehicleWindows
from fleet.telemetry import CATEGORIES, NUMERIC_SIGNALS, SIGNALS

Floats: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]


class Fleet(Protocol):
    """A source of telemetry: each step returns one event per vehicle."""

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


MakeFleet: TypeAlias = Callable[[FleetRequest], Fleet]


@dataclass(frozen=True, slots=True)
class Rows:
    """M events of many vehicles, in order of time within each vehicle."""

    features: Features
    """float32[M, K], NaN = unknown."""
    warming_up: Flags
    vehicle: Indices
    """intp[M]: which vehicle, unique over all fleets."""
    timestamp_s: Floats
    truth: list[str | None]
    """The injected fault, or None."""

    @property
    def faulty(self) -> Flags:
        """bool[M]: the event lies in a labelled fault."""
        return np.array([fault is not None for fault in self.truth])


# What each feature is computed from. Hiding a signal hides the features that need it.
_NEEDS: Final[Mapping[str, frozenset[str]]] = {
    "speed_over_limit": frozenset({"speed", "limit"}),
    "speed_kmh": frozenset({"speed"}),
    "acceleration_kmh_s": frozenset({"speed", "history"}),
    "position_speed_error_kmh": frozenset({"speed", "position", "history"}),
    "step_excess_m": frozenset({"speed", "position", "history"}),
    "temperature_c": frozenset({"temperature"}),
    "temperature_slope_c_s": frozenset({"temperature", "history"}),
    "battery_pct": frozenset({"battery"}),
    "battery_slope_pct_s": frozenset({"battery", "history"}),
    "fuel_pct": frozenset({"fuel"}),
    "fuel_slope_pct_s": frozenset({"fuel", "history"}),
    "traffic_level": frozenset({"traffic"}),
    "road_highway": frozenset({"road"}),
    "road_rural": frozenset({"road"}),
    "night": frozenset({"night"}),
    "weather_adverse": frozenset({"weather"}),
}
SOURCES: Final = tuple(sorted(frozenset().union(*_NEEDS.values())))
_NEEDED = np.array([[source in _NEEDS[name] for name in FEATURES] for source in SOURCES])

# Senders as they occur: what is hidden from the model, by name. Calibration must hold for each of them.
SENDERS: Final[Mapping[str, frozenset[str]]] = {
    "all signals": frozenset(),
    "first event": frozenset({"history"}),
    "ten numbers of /predict": frozenset({"night", "road", "weather"}),
    "no position": frozenset({"position"}),
    "no battery, no fuel": frozenset({"battery", "fuel"}),
    "no limit, no road, no traffic": frozenset({"limit", "road", "traffic", "weather"}),
    "position and speed alone": frozenset(SOURCES) - {"position", "speed", "history"},
    "speed and temperature alone": frozenset(SOURCES) - {"speed", "temperature", "history"},
}

# Some vehicles send what cheap sensors read: (signal, unit of its last digit).
_COARSE: Final = (("speed", 1.0), ("temperature", 1.0), ("battery", 1.0), ("fuelLevel", 0.5))
_COARSE_SHARE: Final = 0.25
_EVERY_S: Final = (1.0, 1.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # sampling intervals, one after another over the fleets
_LONGEST_DRIVE_S: Final = 1600.0  # fleets that report seldom give fewer events, instead of driving for hours


# What a fleet is driven for; each has seeds of its own.
TRAINING, CALIBRATION, EVALUATION = range(3)


def plan_fleets(
    seed: int,
    purpose: int,
    vehicles: int,
    cities: Sequence[int],
    fault_rate: float,
    intervals_s: Sequence[float] = _EVERY_S,
) -> list[tuple[FleetRequest, float]]:
    """Spread about `vehicles` over cities, sampling intervals and the hours of a day.

    Vehicles for different purposes differ whatever the seeds: their fleet's seed modulo 3 is the purpose.
    """
    fleets = len(cities) * len(intervals_s)
    count = max(1, vehicles // fleets)
    return [
        (
            FleetRequest(3 * seed + purpose, k * count, count, cities[k % len(cities)], fault_rate, (1 + 5 * k) % 24),
            intervals_s[k // len(cities)],
        )
        for k in range(fleets)
    ]


def collect(
    make_fleet: MakeFleet, plan: Sequence[tuple[FleetRequest, float]], events_per_vehicle: int, say: Say, what: str
) -> Rows:
    """Run the fleets of a plan and return all of their events as rows."""
    parts = []
    for number, (request, interval_s) in enumerate(plan, 1):
        parts.append(_run(make_fleet(request), request, interval_s, events_per_vehicle))
        if number % max(1, len(plan) // 4) == 0 or number == len(plan):
            say(f"  {what}: fleet {number} of {len(plan)}, {sum(len(p.truth) for p in parts):,} events")
    return _joined(parts)


def hide(features: Features, hidden: frozenset[str]) -> Features:
    """Return features float32[M, K] as a sender would give them that lacks the sources named in `hidden`."""
    lacking = np.array([source in hidden for source in SOURCES])
    return np.where((_NEEDED & lacking[:, None]).any(axis=0), np.float32(np.nan), features)


def hide_at_random(features: Features, rng: np.random.Generator) -> Features:
    """Hide sources from each row at random: half of the rows keep all, the others lose few or most of them."""
    rows = len(features)
    share = rng.choice([0.0, 0.15, 0.6], size=rows, p=[0.5, 0.35, 0.15])
    lacking = rng.random((rows, len(SOURCES)), dtype=np.float32) < share[:, None]
    masked = lacking.astype(np.float32) @ _NEEDED.astype(np.float32) > 0
    return np.where(masked, np.float32(np.nan), features)


def _run(fleet: Fleet, request: FleetRequest, interval_s: float, events_per_vehicle: int) -> Rows:
    windows = VehicleWindows(max_vehicles=request.count)
    ids = [str(index) for index in range(request.count)]
    # City and first vehicle make it unique among the fleets of a plan.
    vehicle = np.arange(request.count) + request.first
    coarse = np.random.default_rng([request.seed, request.first]).random(request.count) < _COARSE_SHARE
    parts = []
    for _ in range(min(events_per_vehicle, int(_LONGEST_DRIVE_S / interval_s))):
        state = fleet.step(interval_s)
        signals = _signals(state)
        _coarsen(signals, coarse)
        block = windows.push(ids, state["timestamp"], signals)
        parts.append(Rows(block.features, block.warming_up, vehicle, state["timestamp"], state["anomalyType"]))
    return _joined(parts)


def _signals(state: Mapping[str, Any]) -> Floats:
    """Return float64[n, S] in the order of `SIGNALS`; truth and claims of other kinds stay behind."""
    signals = np.empty((len(state["timestamp"]), len(SIGNALS)))
    for column, name in enumerate(SIGNALS):
        if name in NUMERIC_SIGNALS:
            signals[:, column] = state[name]
        else:
            codes = CATEGORIES[name]
            signals[:, column] = [codes[value] for value in _listed(state[name])]
    return signals


def _listed(values: Any) -> Iterator[Any]:
    return iter(values.tolist() if isinstance(values, np.ndarray) else values)


def _coarsen(signals: Floats, coarse: Flags) -> None:
    for name, unit in _COARSE:
        column = SIGNALS.index(name)
        signals[coarse, column] = np.round(signals[coarse, column] / unit) * unit


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.warming_up for part in parts]),
        np.concatenate([part.vehicle for part in parts]),
        np.concatenate([part.timestamp_s for part in parts]),
        [fault for part in parts for fault in part.truth],
    )
