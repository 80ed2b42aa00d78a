"""The model's features: their names, order, groups and causes, laid out from a channel specification.

`fleet.detection.windows` computes them, `training.autoencoder` reconstructs each group from the others,
`fleet.detection.verdicts` names the causes. Raw coordinates are never a feature: they would make every other city an
anomaly. A sender's own claims (`previousSpeed`, `acceleration`) are not features either: what changed is taken from the
vehicle's history.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fleet.detection.calibration import run_error
from fleet.detection.weighing import RUN_UNIT
from fleet.events.channels import METRES_PER_SECOND, Channel, ChannelSpec

# Opcodes of the window kernel: features of a channel, then of the event's time, then what the model is told.
KINDS: Final = (
    "level", "fast", "medium", "slow", "drift", "mean5", "mean30", "rough", "frozen", "lost", "stepped", "peak",
    "outside",
    "interval", "interval_mean", "ahead", "behind",
    "is_code", "log_interval", "history",
)  # fmt: skip
FORMULAS: Final = (None, "excess_ratio", "rate", "place", "travelled", "travel_error", "step_excess")
TIMING: Final = "timing"
_TIMING_CAUSES: Final = {
    "interval": "message_loss",
    "interval_mean": "message_loss",
    "ahead": "clock_skew",
    "behind": "clock_skew",
}
TIMING_CAUSES: Final = frozenset(_TIMING_CAUSES.values())
"""What is wrong with a vehicle's link or clock, and with no signal of its."""
# Of these only too much is a finding: nothing is wrong with a value that changes more often than it used to.
_ONE_SIDED: Final = frozenset(
    {"frozen", "lost", "stepped", "peak", "outside", "interval", "interval_mean", "ahead", "behind"}
)
_ONE_SIDED_FORMULAS: Final = frozenset({"excess_ratio", "step_excess"})
# What moves with a channel's value, up and down.
_LEVELLED: Final = frozenset({"level", "fast", "medium", "slow", "drift", "mean5", "mean30"})
_SIDES: Final = {"both": 0, "low": -1, "high": 1}
# Signs of a broken sensor, sender or clock. They explain whatever else is unusual, and are not explained by it.
_BREAKS: Final = frozenset({"frozen", "lost", "interval", "interval_mean", "ahead", "behind"})
# How surprising a run of events is, by the vehicle's own past.
_RUNS: Final = frozenset({"frozen", "lost"})
# Signs that explain whatever else is unusual in their group.
_JUMPS: Final = frozenset({"stepped", "peak"})
# Wheels that turn are not read more slowly than this.
STANDSTILL_MPS: Final = 0.3
# Differences that mean nothing, for the features whose unit is no channel's (natural logarithms, mostly).
_SMALLEST: Final = {
    "frozen": RUN_UNIT, "lost": RUN_UNIT, "outside": 0.02,
    "interval": 1.0, "interval_mean": 0.4, "ahead": 0.4, "behind": 0.4,
    "is_code": 0.5, "log_interval": 0.5, "history": 0.5,
}  # fmt: skip


class Aspect(NamedTuple):
    """What one cause would show in one channel."""

    group: str
    channel: int
    cause: str
    is_level: bool  # where a value stands, and not what it has done lately


class Feature(NamedTuple):
    """One column of the features float32[N, K]."""

    name: str
    kind: str
    channel: int  # index into the specification's channels; -1 for the event's time
    group: str  # hidden from each other's predictions; empty: told to all
    cause: str  # empty: told to the model and never judged
    smallest: float  # differences below it mean nothing
    parameter: float = 0.0

    @property
    def aspect(self) -> Aspect:
        """The aspect that a judged feature belongs to."""
        return Aspect(self.group, self.channel, self.cause, self.kind == "level")


@dataclass(frozen=True)
class FeaturePlan:
    """The features of a specification (K of them, G groups), and what the kernel needs to compute them."""

    spec: ChannelSpec
    features: tuple[Feature, ...]

    @classmethod
    def of(cls, spec: ChannelSpec) -> "FeaturePlan":
        """Lay out the features of a specification."""
        judged = [f for c, channel in enumerate(spec.channels) for f in _judged(c, channel)]
        timing = [Feature(kind, kind, -1, TIMING, cause, _SMALLEST[kind]) for kind, cause in _TIMING_CAUSES.items()]
        judged += timing if spec.timing else []
        judged += [f for c, channel in enumerate(spec.channels) for f in _witnessed(c, channel)]
        told = [f for c, channel in enumerate(spec.channels) for f in _told(c, channel)]
        told += [Feature(kind, kind, -1, "", "", _SMALLEST[kind]) for kind in ("log_interval", "history")]
        return cls(spec, (*judged, *told))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each feature."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(dict.fromkeys(feature.group for feature in self.features if feature.group))

    @cached_property
    def aspects(self) -> tuple["Aspect", ...]:
        """The features of a channel that stand for one cause are an aspect of it: A of them."""
        return tuple(dict.fromkeys(feature.aspect for feature in self.features if feature.cause))

    @cached_property
    def aspect_of(self) -> npt.NDArray[np.int64]:
        """int64[J]: index into `aspects` of each judged feature; the judged ones come first."""
        return np.array([self.aspects.index(f.aspect) for f in self.features if f.cause], np.int64)

    @cached_property
    def aspect_group(self) -> npt.NDArray[np.int64]:
        """int64[A]: index into `groups`."""
        return np.array([self.groups.index(aspect.group) for aspect in self.aspects], np.int64)

    @cached_property
    def aspect_is_break(self) -> npt.NDArray[np.bool_]:
        """bool[A]: the sign of a broken sensor, sender or clock: it explains whatever else is unusual."""
        return self._aspects_of(_BREAKS)

    @cached_property
    def aspect_is_jump(self) -> npt.NDArray[np.bool_]:
        """bool[A]: the sign of a jump: it explains whatever else is unusual in its group."""
        channels = self.spec.channels
        is_far = [a.channel >= 0 and channels[a.channel].formula == "step_excess" for a in self.aspects]
        return np.logical_or(self._aspects_of(_JUMPS), is_far)

    def _aspects_of(self, kinds: frozenset[str]) -> npt.NDArray[np.bool_]:
        found = {feature.aspect for feature in self.features if feature.cause and feature.kind in kinds}
        return np.array([aspect in found for aspect in self.aspects])

    @cached_property
    def is_surprise(self) -> npt.NDArray[np.bool_]:
        """bool[K]: features that are surprises already, in natural logarithms, and need no unit from the data."""
        return np.array([f.kind in _SMALLEST and bool(f.cause) for f in self.features])

    @cached_property
    def is_run(self) -> npt.NDArray[np.bool_]:
        """bool[J]: log(1 + surprise) of a run, the surprise in nats: a measure of its own rarity."""
        return np.array([f.kind in _RUNS for f in self.features if f.cause])

    @cached_property
    def aspect_is_run(self) -> npt.NDArray[np.bool_]:
        """bool[A]: aspects that consist of runs alone."""
        all_of_it: npt.NDArray[np.bool_] = np.bincount(self.aspect_of, self.is_run) == self.aspect_sizes
        return all_of_it

    @property
    def error_is_run(self) -> npt.NDArray[np.bool_]:
        """bool[4 A + 1]: errors of runs, in the order of `fleet.detection.calibration.aspect_errors`."""
        return np.append(np.repeat(self.aspect_is_run, 4), False)

    def least_errors(self, rarity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the errors float64[4 A + 1, M] that an event of a rarity float64[M] has at least, by aspect.

        The squares of noise of unit variance reach about four times their rarity. No error is taken to be quieter than
        a quarter of that, however constant it was: what is then unusual would mean nothing. A run is as rare as it says
        itself: that no sensor was ever silent among the calibrating vehicles does not make a second's silence a fault.
        """
        by_aspect = np.where(self.aspect_is_run[:, None], np.maximum(run_error(rarity), rarity), rarity)
        return np.concatenate([np.repeat(by_aspect, 4, axis=0), rarity[None]])

    @cached_property
    def tier_of(self) -> npt.NDArray[np.int64]:
        """int64[K]: 0 for a channel's level, 1 for what it has done lately, which its level may help to explain."""
        return np.array([0 if f.kind == "level" or not f.group else 1 for f in self.features], np.int64)

    @cached_property
    def resolutions(self) -> npt.NDArray[np.float64]:
        """float64[C]: each channel's smallest difference that means something; 0 where none was given."""
        return np.array([channel.resolution for channel in self.spec.channels])

    @cached_property
    def aspect_sizes(self) -> npt.NDArray[np.int64]:
        """int64[A]: features of each aspect."""
        return np.bincount(self.aspect_of, minlength=len(self.aspects))

    @cached_property
    def group_of(self) -> npt.NDArray[np.int64]:
        """int64[K]: index into `groups`, -1 for what is told to all."""
        return np.array([self.groups.index(f.group) if f.group else -1 for f in self.features], np.int64)

    @cached_property
    def smallest(self) -> npt.NDArray[np.float64]:
        """float64[K]: differences below it mean nothing."""
        return np.array([feature.smallest for feature in self.features])

    @cached_property
    def sides(self) -> npt.NDArray[np.int64]:
        """int64[K]: 1 for features of which only too much is a finding, -1 where only too little is, else 0."""
        return np.array([_side(feature, self.spec.channels) for feature in self.features])

    @cached_property
    def columns(self) -> npt.NDArray[np.int64]:
        """int64[K, 2]: kind as an index into `KINDS`, channel."""
        return np.array([(KINDS.index(f.kind), f.channel) for f in self.features], np.int64)

    @cached_property
    def parameters(self) -> npt.NDArray[np.float64]:
        """float64[K]: what a kind needs beside its channel."""
        return np.array([feature.parameter for feature in self.features])

    @cached_property
    def sources(self) -> npt.NDArray[np.int64]:
        """int64[C, 4]: per channel its formula as an index into `FORMULAS`, and up to three columns of the signals."""
        place = {name: index for index, name in enumerate(self.spec.field_names)}
        rows = []
        for channel in self.spec.channels:
            inputs = [place[name] for name in channel.of] if channel.formula else [place[channel.name]]
            rows.append([FORMULAS.index(channel.formula), *inputs, *[0] * (3 - len(inputs))])
        return np.array(rows, np.int64)

    @cached_property
    def name(self) -> str:
        """Name what a state's columns depend on: the channels, their formulas, the features that remember them."""
        told = (
            self.names,
            self.spec.field_names,
            *map(np.ndarray.tolist, (self.sources, self.remembered, self.resolutions)),
        )
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]

    def needs(self, channel: int) -> frozenset[int]:
        """Return the channels, itself or those of its formula, without which a channel is unknown."""
        own = self.spec.channels[channel]
        names = [other.name for other in self.spec.channels]
        return frozenset(names.index(name) for name in own.of) or frozenset({channel})

    @cached_property
    def metres_per_second(self) -> npt.NDArray[np.float64]:
        """float64[C]: what one unit of its speed, or of that in its formula, is in m/s; 0 where there is none."""
        units = [self.spec.field(c.of[-1]).unit if c.of else c.unit for c in self.spec.channels]
        return np.array([METRES_PER_SECOND.get(unit, 0.0) for unit in units])

    @property
    def motion(self) -> int:
        """Column of the speed that says whether a vehicle stands: the first field in a unit of speed; -1 for none."""
        speeds = [number for number, field in enumerate(self.spec.fields) if field.unit in METRES_PER_SECOND]
        return speeds[0] if speeds else -1

    @property
    def standstill(self) -> float:
        """Speed below which a vehicle stands, in the unit of its speed."""
        return STANDSTILL_MPS / METRES_PER_SECOND[self.spec.fields[self.motion].unit] if self.motion >= 0 else 0.0

    @cached_property
    def remembered(self) -> npt.NDArray[np.int64]:
        """int64[M]: channels whose past a feature looks at, which is therefore kept."""
        return np.unique([f.channel for f in self.features if f.channel >= 0 and f.kind not in ("level", "is_code")])


def _side(feature: Feature, channels: Sequence[Channel]) -> int:
    if feature.kind in _ONE_SIDED:
        return 1
    channel = channels[feature.channel]
    if feature.channel < 0 or feature.kind not in _LEVELLED:
        return 0
    return 1 if channel.formula in _ONE_SIDED_FORMULAS else _SIDES[channel.finding]


def _judged(index: int, channel: Channel) -> list[Feature]:
    if channel.role != "judged":
        return []
    return [
        Feature(
            f"{channel.name}_{kind}",
            kind,
            index,
            channel.group_name,
            channel.cause_of(kind),
            _SMALLEST.get(kind, channel.resolution),
        )
        for kind in channel.features
        if kind != "told"
    ]


def _witnessed(index: int, channel: Channel) -> list[Feature]:
    if channel.role == "context" or (channel.role == "judged" and "told" not in channel.features):
        return []
    name = channel.name if channel.role == "witness" else f"{channel.name}_level"
    return [Feature(name, "level", index, channel.group_name, "", max(channel.resolution, 1e-3))]


def _told(index: int, channel: Channel) -> list[Feature]:
    if channel.role != "context":
        return []
    if not channel.is_word:
        return [Feature(channel.name, "level", index, "", "", max(channel.resolution, 1e-3))]
    return [
        Feature(f"{channel.name}_{word}", "is_code", index, "", "", _SMALLEST["is_code"], code)
        for word, code in channel.codes.items()
    ]
