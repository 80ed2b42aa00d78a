"""What values beyond their channel's limits look like, and positions that are no fix, both by the specification."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fleet.events.channels import Channel, ChannelSpec
from fleet.events.refusals import named, sentence

_LEAST_DEGREES: Final = 0.01  # a whole number that comes to less of them is no position that was multiplied
_LEAST_MINUTES: Final = 200  # below it, a value beyond the limits is no degrees and minutes either


class _Value(NamedTuple):
    """What an event says where its channel has limits."""

    channel: Channel
    number: float

    def is_within(self, number: float) -> bool:
        assert self.channel.limits is not None
        return self.channel.limits[0] <= number <= self.channel.limits[1]


class _Notation(NamedTuple):
    """A way to write degrees as other numbers."""

    name: str
    is_it: Callable[[float], bool]
    degrees: Callable[[float], float]


def forget_false_fixes(spec: ChannelSpec, signals: NDArray[np.float64]) -> NDArray[np.intp]:
    """Make unknown what equals the specification's `no_fix`, in signals float64[N, S], and return the rows."""
    if not spec.no_fix:
        return np.empty(0, np.intp)
    places = [spec.field_names.index(name) for name in spec.no_fix]
    matches = [signals[:, place] == value for place, value in zip(places, spec.no_fix.values(), strict=True)]
    rows = np.flatnonzero(np.logical_and.reduce(matches))
    signals[rows[:, np.newaxis], places] = np.nan
    return rows


def why_beyond(spec: ChannelSpec, numbers: Mapping[str, float]) -> str:
    """Say which of an event's numbers, by field, lie beyond their channel's limits, and what they look like."""
    values = [_Value(field, float(numbers[field.name])) for field in spec.fields if field.limits]
    beyond = [value for value in values if not math.isnan(value.number) and not value.is_within(value.number)]
    wrong = ", ".join(f"{named(value.channel.name)} is {value.number:.10g}" for value in beyond[:2])
    first = beyond[0].channel
    assert first.limits is not None
    right = f"{first.unit or 'a number'} between {first.limits[0]:g} and {first.limits[1]:g}"
    if first.unit != "degrees":
        return sentence(wrong, right)
    looks, instead = _what_degrees_look_like(
        [v for v in values if v.channel.unit == "degrees" and v.number == v.number]
    )
    return sentence(wrong + looks, right + instead)


def _what_degrees_look_like(values: Sequence[_Value]) -> tuple[str, str]:
    """Return what values that are no degrees look like, and how to write the first of them right."""
    names = [named(value.channel.name) for value in values]
    backwards = [value.number for value in values[::-1]]
    if all(value.is_within(number) for value, number in zip(values, backwards, strict=True)):
        return f", which would fit if {' and '.join(names)} were swapped", f", perhaps {names[0]} {backwards[0]:.9g}"
    for notation in _NOTATIONS:
        if all(notation.is_it(v.number) and v.is_within(notation.degrees(v.number)) for v in values if v.number):
            degrees = notation.degrees(values[0].number)
            return f", which looks like {notation.name}", f", here {names[0]} {degrees:.9g}"
    return "", ""


def _multiplied(name: str, factor: float) -> _Notation:
    return _Notation(
        name,
        lambda number: number.is_integer() and abs(number) / factor >= _LEAST_DEGREES,
        lambda number: number / factor,
    )


def _from_minutes(number: float) -> float:
    """Read dddmm.mmmm, as receivers write it (NMEA 0183), as degrees."""
    degrees, minutes = divmod(abs(number), 100)
    return math.copysign(degrees + minutes / 60, number)


_NOTATIONS: Final = (
    _multiplied("degrees × 10^6 or × 10^7", 1e6),
    _multiplied("degrees × 10^7", 1e7),
    _multiplied("degrees × 10^9", 1e9),
    _Notation(
        "degrees and minutes, dddmm.mmmm",
        lambda number: abs(number) >= _LEAST_MINUTES and abs(number) % 100 < 60,
        _from_minutes,
    ),
)
