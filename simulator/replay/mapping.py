"""How a recorded data set's columns become telemetry: the typed form of a mapping file, checked once.

Neighbours: `recording` reads with it, `by_name` makes one of the names of columns. A mapping says which channel
specification its events are for, and in which unit or words each column stands; they are brought into the
specification's. It has no constants: what a recording lacks is left out.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from fleet.errors import ChannelSpecError, MappingError
from fleet.events.channels import BUILT_IN, Channel, ChannelSpec, read_spec
from fleet.events.fields import IDENTITY_FIELDS, VERDICT_FIELDS
from recordings.column_names import parsed

MAPPINGS_FOLDER = Path(__file__).parent.with_name("mappings")

# Units of one quantity -> (factor, offset) into its first one.
_QUANTITIES: Final[tuple[Mapping[str, tuple[float, float]], ...]] = (
    {"km/h": (1.0, 0.0), "mph": (1.609344, 0.0), "m/s": (3.6, 0.0), "knots": (1.852, 0.0)},
    {"°C": (1.0, 0.0), "°F": (5 / 9, -160 / 9), "K": (1.0, -273.15)},
    {"%": (1.0, 0.0), "fraction": (100.0, 0.0)},
    {"kPa": (1.0, 0.0), "hPa": (0.1, 0.0), "bar": (100.0, 0.0), "psi": (6.894757, 0.0)},
    {"g": (1.0, 0.0), "m/s²": (1 / 9.80665, 0.0)},
    {"degrees": (1.0, 0.0), "radians": (57.29577951308232, 0.0)},
    {"degrees/s": (1.0, 0.0), "radians/s": (57.29577951308232, 0.0)},
    {"1/min": (1.0, 0.0), "1/s": (60.0, 0.0)},
    {"l": (1.0, 0.0), "gal": (3.785412, 0.0)},
    {"V": (1.0, 0.0), "mV": (0.001, 0.0)},
    {"g/s": (1.0, 0.0), "kg/h": (1 / 3.6, 0.0)},
)


def units_of(channel: Channel) -> Mapping[str, tuple[float, float]]:
    """Return the units that a column for this channel may have, with (factor, offset) into the channel's own."""
    for quantity in _QUANTITIES:
        if channel.unit in quantity:
            own_factor, own_offset = quantity[channel.unit]
            return {
                unit: (factor / own_factor, (offset - own_offset) / own_factor)
                for unit, (factor, offset) in quantity.items()
            }
    return {channel.unit: (1.0, 0.0)}


class TimeColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an event's time stands, in any form; its kind says what numbers are, where their size may deceive."""

    column: str
    kind: Literal["unix_s", "relative_s"] | None = None
    """Unix time, or seconds since some moment of the vehicle's own."""
    day_first: bool | None = None
    """Whether 01/11/2026 is in November."""


class FieldColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a field stands: a number with its unit, or a word with what it means in the specification's words."""

    column: str
    unit: str | None = None
    values: dict[str, str | bool] | None = None


class ExtraColumns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns that are carried through under their own names."""

    columns: tuple[str, ...] = ()


class LongColumns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a recording with one reading on each line: the columns with its name and its value."""

    name: str
    value: str


class _MappingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a mapping file says."""

    time: TimeColumn
    fields: dict[str, FieldColumn]
    vehicle_columns: tuple[str, ...] | None = None
    """None: the recording is of one vehicle."""
    long: LongColumns | None = None
    spec: str = BUILT_IN
    """The channel specification of the events, by name, or a .toml file; a path is relative to the mapping's folder."""
    description: str = ""
    vehicle_prefix: str = ""
    extra: ExtraColumns = ExtraColumns()


@dataclass(frozen=True, slots=True)
class RecordingMapping:
    """A mapping with the specification that its events follow."""

    spec: ChannelSpec
    vehicle_columns: tuple[str, ...]
    """Empty: the recording is of one vehicle."""
    vehicle_prefix: str
    time: TimeColumn
    fields: Mapping[str, FieldColumn]
    extra_columns: tuple[str, ...] = ()
    description: str = ""
    long: LongColumns | None = None

    @property
    def columns(self) -> list[str]:
        """Every column of the recording that the mapping reads."""
        fields = [field.column for field in self.fields.values()]
        return [*self.vehicle_columns, self.time.column, *fields, *self.extra_columns]

    def described(self) -> list[str]:
        """Say for each field which column it comes from, and in which unit where the column's name does not say it."""
        return [f"{_column_and_unit(field)} → {name}" for name, field in self.fields.items()]

    def conversion(self, field: str) -> tuple[float, float]:
        """Return (factor, offset) that bring the field's column into the specification's unit."""
        return units_of(self.spec.field(field))[self.fields[field].unit or ""]


def read_mapping(name_or_path: str) -> RecordingMapping:
    """Read a mapping of the project's own by its name, or any by its path (ending in .toml).

    Raises MappingError with a sentence that names the file and what to change.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else MAPPINGS_FOLDER / f"{name_or_path}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise MappingError(
            f"There is no mapping {name_or_path!r}: name one of {', '.join(own_mappings())}, or a .toml file."
        ) from None
    try:
        file = msgspec.convert(tomllib.loads(text), _MappingFile)
        spec = read_spec(str(path.parent / file.spec) if file.spec.endswith(".toml") else file.spec)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MappingError(f"Mapping {path.name}: {error}.") from None
    except ChannelSpecError as error:
        raise MappingError(f"Mapping {path.name}: {error}") from None
    if mistake := _mistake(file, spec):
        raise MappingError(f"Mapping {path.name}: {mistake}.")
    return RecordingMapping(
        spec,
        file.vehicle_columns or (),
        file.vehicle_prefix,
        file.time,
        file.fields,
        file.extra.columns,
        file.description,
        file.long,
    )


def _column_and_unit(field: FieldColumn) -> str:
    is_told = field.unit is None or parsed(field.column).unit == field.unit
    return field.column if is_told else f"{field.column} in {field.unit}"


def own_mappings() -> list[str]:
    """Name the mappings that come with the project."""
    return sorted(path.stem for path in MAPPINGS_FOLDER.glob("*.toml"))


def _mistake(mapping: _MappingFile, spec: ChannelSpec) -> str | None:
    """Say the first thing that is wrong with a mapping, None when nothing is."""
    if mapping.vehicle_columns == ():
        return "vehicle_columns is empty; name the columns that tell vehicles apart, or leave it out for one vehicle"
    if not mapping.fields:
        return f"it maps no field; map at least one of {', '.join(spec.field_names)}"
    reserved = IDENTITY_FIELDS | set(spec.field_names) | VERDICT_FIELDS
    if taken := sorted(reserved & set(mapping.extra.columns)):
        return f"extra column {taken[0]} has the name of a field of the contract; map it under [fields] or leave it out"
    return next(filter(None, (_field_mistake(name, field, spec) for name, field in mapping.fields.items())), None)


def _field_mistake(name: str, field: FieldColumn, spec: ChannelSpec) -> str | None:
    if name not in spec.field_names:
        return f"fields.{name} is no field of {spec.name}; its fields are {', '.join(spec.field_names)}"
    channel = spec.field(name)
    if channel.is_word or channel.kind == "flag":
        words: list[str | bool] = list(channel.codes) if channel.is_word else [True, False]
        known = ", ".join(str(word).lower() for word in words)
        # True equals 1: a word is of a flag's type or it is none.
        fits = field.values and not field.unit and all(_is_among(value, words) for value in field.values.values())
        return None if fits else f"fields.{name}.values must translate the column's words to {known}"
    units = units_of(channel)
    if (field.unit or "") in units and not field.values:
        return None
    return f"fields.{name}.unit must be {'one of ' if len(units) > 1 else ''}{', '.join(units) or 'left out'}"


def _is_among(value: str | bool, words: list[str | bool]) -> bool:
    return any(type(value) is type(word) and value == word for word in words)
