"""Plans to try windows with, and short ways to push events and to read their features."""

import math
from typing import Any, get_args

import numpy as np

from fleet.detection.features import FeaturePlan
from fleet.detection.past.values import METRES_PER_DEGREE
from fleet.detection.windows import VehicleWindows, WindowedBlock
from fleet.events.channels import VEHICLE_DATA, Channel, ChannelSpec, FeatureKind

NAN = math.nan
GAP_S = 100.0
START_S = 1.7e9
ONE = FeaturePlan.of(ChannelSpec("one", (Channel("x", features=get_args(FeatureKind)),), gap_s=GAP_S))
DRIVE = FeaturePlan.of(
    ChannelSpec(
        "drive",
        (
            Channel("latitude", features=()),
            Channel("longitude", features=()),
            Channel("speed", unit="km/h", features=("level", "fast", "frozen")),
            Channel("limit", unit="km/h", role="context"),
            Channel("road", role="context", codes={"urban": 1, "rural": 2}),
            Channel("night", role="context", kind="flag"),
            Channel("over", formula="excess_ratio", of=("speed", "limit"), features=("level",)),
            Channel("change", formula="rate", of=("speed",), features=("level",)),
            Channel("travelled", formula="travelled", of=("latitude", "longitude"), features=("level",)),
            Channel("error", formula="travel_error", of=("latitude", "longitude", "speed"), features=("level",)),
            Channel("step", formula="step_excess", of=("latitude", "longitude", "speed"), features=("level",)),
        ),
        gap_s=GAP_S,
    )
)
BUILT_IN = FeaturePlan.of(VEHICLE_DATA)


def push(windows: VehicleWindows, *events: tuple[str, float, dict[str, float]]) -> WindowedBlock:
    ids, times, signals = zip(*events, strict=True)
    names = windows.plan.spec.field_names
    rows = [[known.get(name, NAN) for name in names] for known in signals]
    return windows.push(list(ids), np.array(times), np.array(rows))


def of_one(plan: FeaturePlan, time_s: Any, appended_s: Any = None, **signals: Any) -> WindowedBlock:
    """Push events of one vehicle: its times float64[N], and each signal as one value or float64[N]."""
    rows = np.full((len(time_s), len(plan.spec.fields)), NAN)
    for name, values in signals.items():
        rows[:, plan.spec.field_names.index(name)] = values
    return VehicleWindows(plan, idle_s=1e9).push(["v"] * len(time_s), time_s, rows, appended_s)


def drive(*events: tuple[str, float, dict[str, float]]) -> WindowedBlock:
    return push(VehicleWindows(DRIVE), *events)


def feature(block: WindowedBlock, name: str, plan: FeaturePlan = DRIVE) -> list[float]:
    return block.features[:, plan.names.index(name)].tolist()


def column(block: WindowedBlock, name: str, plan: FeaturePlan) -> Any:
    return block.features[:, plan.names.index(name)]


def at(speed: float, latitude: float = -31.0, longitude: float = -64.0, **others: float) -> dict[str, float]:
    return {"speed": speed, "latitude": latitude, "longitude": longitude, **others}


def usual_drive(count: int, interval_s: float = 1.0) -> tuple[Any, dict[str, Any]]:
    """Return times and signals of a vehicle that drives north, with every signal as noisy as sensors are."""
    rng = np.random.default_rng(0)
    driven_s = interval_s * np.arange(float(count))
    speed_kmh = 50 + 10 * np.sin(driven_s / 40) + rng.normal(0, 0.5, count)
    degrees_north = np.cumsum(speed_kmh / 3.6 * interval_s) / METRES_PER_DEGREE
    return START_S + driven_s, {
        "latitude": -31.0 + degrees_north,
        "longitude": np.full(count, -64.0),
        "speed": speed_kmh,
        "speedLimit": np.full(count, 60.0),
        "temperature": 88 + rng.normal(0, 0.3, count),
        "battery": 80 - 0.002 * driven_s + rng.normal(0, 0.05, count),
        "fuelLevel": 60 - 0.0005 * driven_s + rng.normal(0, 0.3, count),
    }


def driven(count: int = 900, interval_s: float = 1.0, **changed: Any) -> WindowedBlock:
    """Push a usual drive of one vehicle of the built-in message, with some of its signals changed."""
    time_s, signals = usual_drive(count, interval_s)
    return of_one(BUILT_IN, time_s, time_s + 0.2, **{**signals, **changed})


def changed(name: str, at: slice | int, to: Any, count: int = 900) -> dict[str, Any]:
    """Return one signal of a usual drive that is something else for a while."""
    values = usual_drive(count)[1][name].copy()
    values[at] = to
    return {name: values}


def built_in(block: WindowedBlock, name: str) -> Any:
    """Return a feature of the built-in message float32[N]."""
    return column(block, name, BUILT_IN)
