"""Plans to try windows with, and short ways to push events and to read their features."""

import math
from typing import get_args

import numpy as np

from fleet.detection.features import FeaturePlan
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


def drive(*events: tuple[str, float, dict[str, float]]) -> WindowedBlock:
    return push(VehicleWindows(DRIVE), *events)


def feature(block: WindowedBlock, name: str, plan: FeaturePlan = DRIVE) -> list[float]:
    return block.features[:, plan.names.index(name)].tolist()


def at(speed: float, latitude: float = -31.0, longitude: float = -64.0, **others: float) -> dict[str, float]:
    return {"speed": speed, "latitude": latitude, "longitude": longitude, **others}
