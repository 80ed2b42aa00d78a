"""Which signals a fleet's events carry, and what the detector makes of them: the channel specification.

A specification is a file. `fleet.events.telemetry` decodes the fields that it names, `fleet.detection.features` lays
out what the model sees of them, `fleet.detection.windows` computes it, a model bundle carries it, and the page
describes events with it. The built-in one, `vehicle_data`, is the origin system's message.

    name = "my_trucks"
    [[channels]]
    name = "oil_pressure"        # the field of the event, the column of a recording
    unit = "bar"
    range = [0, 8]               # plausible; outside is marked, and is a finding for the model, not a bad record
    finding = "low"              # only too little of it is a finding; or "high"; default: both
    role = "judged"              # "context": told to the model, never judged; "witness": told, but not to its group
    group = "oil"                # what is hidden together when the model predicts it; default: the name
    cause = "oil_pressure_low"   # what an alarm is called; default: the name
    safety = true                # shown first

Only `limits` refuse a record: beyond them there is no such place on Earth. Before the channels may stand

    no_fix = { latitude = 0, longitude = 0 }   # what a receiver sends that knows no position: read as unknown
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import msgspec

from fleet.errors import ChannelSpecError
from fleet.events.fields import IDENTITY_FIELDS, VERDICT_FIELDS

SPECS_FOLDER: Final = Path(__file__).with_name("channel_specs")
BUILT_IN: Final = "vehicle_data"

FeatureKind = Literal[
    "level",  # the value itself
    "told",  # the same, told to the other groups and not judged
    "fast",  # its distance from the mean of the last 5 events
    "medium",  # the mean of 5 less that of 30, by the vehicle's usual interval where that is above a second
    "slow",  # 30 less 120, likewise
    "drift",  # 120 less 480, likewise
    "mean5",
    "mean30",
    "rough",  # root mean square of what steps differ by from the step before them, over 30
    "frozen",  # how surprising the run of unchanged values is, for this vehicle
    "lost",  # how surprising it is that the value is missing, for this vehicle
    "stepped",  # the largest step from event to event, fading over 60 of them
    "peak",  # the largest value, fading over 60 events
    "outside",  # how far it lies outside of its range, in widths of the range
]
Formula = Literal["excess_ratio", "rate", "place", "travelled", "travel_error", "step_excess"]

# What a plain numeric channel is looked at with.
DEFAULT_FEATURES: Final[tuple[FeatureKind, ...]] = (
    "level", "fast", "medium", "slow", "drift", "rough", "frozen", "lost",
)  # fmt: skip
_CAUSE_OF_KIND: Final = {
    "frozen": "stuck_sensor",
    "lost": "drop_out",
    "rough": "sensor_noise",
    "stepped": "sensor_bias",
}
_INPUTS_OF_FORMULA: Final = {
    "excess_ratio": 2, "rate": 1, "place": 2, "travelled": 2, "travel_error": 3, "step_excess": 3,
}  # fmt: skip
_NAMES_TAKEN: Final = VERDICT_FIELDS | IDENTITY_FIELDS
METRES_PER_SECOND: Final = {"km/h": 1 / 3.6, "mph": 0.44704, "m/s": 1.0, "knots": 0.514444}


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One signal: a field of the event, or (with a `formula`) one computed from others."""

    name: str
    unit: str = ""
    kind: Literal["number", "flag"] = "number"
    codes: dict[str, float] = {}  # words and the numbers that stand for them
    range: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    role: Literal["judged", "witness", "context"] = "judged"
    group: str = ""
    cause: str = ""
    causes: dict[FeatureKind, str] = {}  # where some kinds of features mean another cause
    features: tuple[FeatureKind, ...] = DEFAULT_FEATURES
    finding: Literal["both", "low", "high"] = "both"
    """Which way its level, and what it has done lately, must be unusual."""
    resolution: float = 0.0
    """In the channel's unit: differences below it mean nothing, however steady the training data were."""
    safety: bool = False
    formula: Formula | None = None
    of: tuple[str, ...] = ()

    @property
    def is_word(self) -> bool:
        """Whether the event says it as a word."""
        return bool(self.codes)

    @property
    def is_number(self) -> bool:
        """Whether the event says it as a number."""
        return self.kind == "number" and not self.is_word

    @property
    def use(self) -> Literal["judged", "witness", "context", "carried"]:
        """What becomes of it: its role, or `carried` where no feature looks at it."""
        return self.role if self.features or self.role == "context" else "carried"

    @property
    def group_name(self) -> str:
        """The group that is hidden as a whole when the model predicts this channel."""
        return self.group or self.name

    def cause_of(self, kind: FeatureKind) -> str:
        """Name what an alarm of this channel's feature `kind` is called."""
        return self.causes.get(kind) or _CAUSE_OF_KIND.get(kind) or self.cause or self.name


class ChannelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """All channels of a fleet's events."""

    name: str
    channels: tuple[Channel, ...]
    description: str = ""
    gap_s: float = 120.0
    """A vehicle that was silent for longer starts a new history."""
    timing: bool = True
    """Whether lost messages and wrong clocks are findings; in a recording they may be the recorder's doing."""
    no_fix: dict[str, float] = {}
    """Numbers that a receiver sends where it knows none: an event with all of them is read as having none of them."""

    @cached_property
    def fields(self) -> tuple[Channel, ...]:
        """Channels that stand in the event, in the order of the columns of `signals`."""
        return tuple(channel for channel in self.channels if channel.formula is None)

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """Names of the columns of `signals` float64[N, S]."""
        return tuple(channel.name for channel in self.fields)

    @cached_property
    def judged_fields(self) -> tuple[str, ...]:
        """Numbers of which an event must have at least one."""
        return tuple(c.name for c in self.fields if c.role == "judged" and c.is_number)

    @cached_property
    def numbers(self) -> tuple[Channel, ...]:
        """Fields that the event says as numbers."""
        return tuple(channel for channel in self.fields if channel.is_number)

    def field(self, name: str) -> Channel:
        """Return a channel of the event by its name. Raises KeyError."""
        return self.fields[self.field_names.index(name)] if name in self.field_names else _missing(name)


def read_spec(name_or_path: str) -> ChannelSpec:
    """Read a specification of the project's own by its name, or any by its path (ending in .toml).

    Raises ChannelSpecError with a sentence that names the file and what to change.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else SPECS_FOLDER / f"{name_or_path}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ChannelSpecError(
            f"There is no channel specification {name_or_path!r}:"
            f" name one of {', '.join(own_specs())}, or a .toml file."
        ) from None
    try:
        return checked(msgspec.convert(tomllib.loads(text), ChannelSpec))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ChannelSpecError(f"Channel specification {path.name}: {error}.") from None


def own_specs() -> list[str]:
    """Name the specifications that come with the project."""
    return sorted(path.stem for path in SPECS_FOLDER.glob("*.toml"))


def plain_spec(name: str, channels: Sequence[str], gap_s: float, features: Iterable[FeatureKind]) -> ChannelSpec:
    """Describe recordings of which nothing is known but the names of their numeric columns."""
    kinds = tuple(features)
    return ChannelSpec(name, tuple(Channel(channel, features=kinds) for channel in channels), gap_s=gap_s, timing=False)


def checked(spec: ChannelSpec) -> ChannelSpec:
    """Return the specification as it is. Raises ValueError with what is wrong with it."""
    if mistake := _mistake(spec):
        raise ValueError(mistake)
    return spec


def _mistake(spec: ChannelSpec) -> str | None:
    names = [channel.name for channel in spec.channels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"channel {twice[0]} stands in it twice; rename or remove one"
    if not any(channel.role == "judged" and channel.features for channel in spec.channels):
        return "no channel is judged; give at least one the role judged, with features"
    if not 0 < spec.gap_s <= 1e9:
        return f"gap_s is {spec.gap_s:g}; give seconds above 0"
    if unknown := sorted(spec.no_fix.keys() - {channel.name for channel in spec.numbers}):
        return f"no_fix names {unknown[0]}, which is no number of the event"
    by_name = {channel.name: channel for channel in spec.fields}
    return next(filter(None, (_channel_mistake(channel, by_name) for channel in spec.channels)), None)


def _channel_mistake(channel: Channel, fields: Mapping[str, Channel]) -> str | None:
    here = f"channel {channel.name or '(without a name)'}"
    if not channel.name or channel.name in _NAMES_TAKEN:
        return f"{here}: the name is empty or taken by the event itself; choose another one"
    if any(letter in '"\\' or letter < " " for letter in channel.name):
        return f"{here}: quotes, backslashes and control characters cannot stand in a name; choose another one"
    for bounds in (channel.range, channel.limits):
        if bounds is not None and not bounds[0] < bounds[1]:
            return f"{here}: {list(bounds)} is no interval; put the smaller number first"
    if "outside" in channel.features and channel.range is None:
        return f"{here}: the feature outside needs a range; give one"
    if channel.role != "context" and (channel.is_word or channel.kind == "flag"):
        return f'{here}: words and flags cannot be judged; give it role = "context"'
    if channel.formula is None:
        return None
    if len(channel.of) != _INPUTS_OF_FORMULA[channel.formula]:
        return f"{here}: {channel.formula} takes {_INPUTS_OF_FORMULA[channel.formula]} fields in `of`"
    if unknown := [name for name in channel.of if name not in fields]:
        return f"{here}: `of` names {unknown[0]}, which is no field of the event"
    if channel.formula in ("travel_error", "step_excess") and fields[channel.of[2]].unit not in METRES_PER_SECOND:
        return f"{here}: the speed's unit must be one of {', '.join(METRES_PER_SECOND)}"
    return None


def _missing(name: str) -> Channel:
    raise KeyError(name)


VEHICLE_DATA: Final = read_spec(BUILT_IN)
