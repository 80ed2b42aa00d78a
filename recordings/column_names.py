"""What the name of a column says: its words, its unit, and whether it is the time, the vehicle, a name or a value.

Neighbours: `times` and `long_form` ask here; `simulator.replay.by_name` finds signals among the words.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

# As units are written -> as channel specifications write them.
_UNITS: Final = {
    spelling: unit
    for unit, spellings in {
        "km/h": "km/h kmh kph kmph km/hr",
        "mph": "mph mi/h",
        "m/s": "m/s mps meters/second metres/second",
        "knots": "knots knot kn kt kts",
        "°C": "°c c degc celsius ℃",
        "°F": "°f f degf fahrenheit ℉",
        "K": "k kelvin",
        "%": "% pct percent percentage",
        "fraction": "fraction ratio",
        "degrees": "deg degrees °",
        "radians": "rad radians",
        "V": "v volt volts",
        "mV": "mv",
        "A": "a amps",
        "kPa": "kpa",
        "hPa": "hpa mbar",
        "bar": "bar",
        "psi": "psi",
        "l": "l liter litre liters litres",
        "gal": "gal gallons",
        "1/min": "rpm 1/min",
        "g": "g",
        "g/s": "g/s gs",
        "m/s²": "m/s2 m/s²",
        "m": "m meters metres",
        "km": "km",
        "s": "s sec",
        "ms": "ms msec",
        "µs": "us µs μs",
        "ns": "ns",
    }.items()
    for spelling in spellings.split()
}
_SUFFIX: Final = re.compile(rf"(.+?)[\s_,./-]+({'|'.join(map(re.escape, sorted(_UNITS, key=len, reverse=True)))})")
_BRACKETS: Final = re.compile(r"\s*[(\[{]([^()\[\]{}]*)[)\]}]")
_REMARKS: Final = frozenset({"obd", "obd2", "gps", "ecu", "can"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# In order of preference.
_TIME: Final = (
    "timestamp", "time stamp", "timestamp utc", "unix time", "epoch", "datetime", "date time", "time utc", "utc time",
    "time", "event time", "recorded at", "measured at", "created at", "gps time", "device time", "local time",
    "elapsed time", "elapsed", "seconds", "utc", "ts", "t", "date",
)  # fmt: skip
_VEHICLE: Final = (
    "vehicle id", "vehicle", "vehicle name", "car", "car id", "truck", "truck id", "device", "device id", "unit id",
    "asset", "asset id", "machine", "imei", "vin", "trip", "trip id", "drive", "drive id",
)  # fmt: skip
_NAME: Final = (
    "pid", "name", "signal", "signal name", "parameter", "parameter name", "sensor", "sensor name", "channel",
    "channel name", "metric", "variable", "measurement", "field", "key", "tag",
)  # fmt: skip
_VALUE: Final = ("value", "reading", "val")
_UNIT: Final = ("unit", "units", "uom")


class ColumnName(NamedTuple):
    """A column's name, taken apart."""

    words: str
    """In small letters, with single blanks: `Engine Coolant Temp(°C)` is `engine coolant temp`."""
    unit: str | None
    """As channel specifications write it; as it came where it is not known, None where the name has none."""


class LongForm(NamedTuple):
    """The columns of a recording with one reading on each line."""

    time: str
    vehicles: tuple[str, ...]
    name: str
    value: str
    unit: str | None = None


@lru_cache(maxsize=1024)
def parsed(name: str) -> ColumnName:
    """Take a column's name apart: words and unit."""
    outside = _CAMEL.sub(" ", _BRACKETS.sub("", name)).lower().strip()
    if unit := _unit_in_brackets(name):
        return ColumnName(_words(outside), unit)
    if suffixed := _SUFFIX.fullmatch(outside):
        return ColumnName(_words(suffixed[1]), _UNITS[suffixed[2]])
    return ColumnName(_words(outside), None)


def unit_of(text: str) -> str:
    """Return a unit as channel specifications write it, as it came where it is not known."""
    return _UNITS.get(text.strip().lower(), text.strip())


def time_column(header: Iterable[str]) -> str | None:
    """Return the column whose name says that it holds the time."""
    return _first_of(_TIME, header)


def vehicle_column(header: Iterable[str]) -> str | None:
    """Return the column whose name says that it tells vehicles apart."""
    return _first_of(_VEHICLE, header)


def long_form(
    header: Sequence[str], time: str | None, vehicles: Sequence[str], others: Collection[str] = ()
) -> LongForm | None:
    """Return the columns of the long form, if the names of all columns say that they have a part in it.

    `others` are columns that somebody has named as something else.
    """
    free = [column for column in header if column not in {time, *vehicles, *others}]
    time = time or time_column(free)
    name, value, unit = (_first_of(names, free) for names in (_NAME, _VALUE, _UNIT))
    if time is None or name is None or value is None:
        return None
    vehicles = tuple(vehicles) or tuple(filter(None, [vehicle_column(free)]))
    is_whole = set(header) <= {time, name, value, unit, *vehicles}
    return LongForm(time, tuple(vehicles), name, value, unit) if is_whole else None


def _unit_in_brackets(name: str) -> str | None:
    """Return the last bracket's content, unless it is a remark: `Speed (OBD)(km/h)`."""
    brackets = [text.strip() for text in _BRACKETS.findall(name)]
    return unit_of(brackets[-1]) if brackets and brackets[-1].lower() not in _REMARKS else None


def _words(text: str) -> str:
    return " ".join(re.split(r"[\W_]+", text)).strip()


def _first_of(names: Sequence[str], header: Iterable[str]) -> str | None:
    """Return the column of the name that stands first in `names`."""
    ranks = {name: rank for rank, name in enumerate(names)}
    named = [(ranks[words], column) for column in header if (words := parsed(column).words) in ranks]
    return min(named, key=lambda one: one[0])[1] if named else None
