"""How a recorded data set's columns become telemetry: the typed form of a mapping file, checked once.

Neighbour: `replay` reads recordings with it. A mapping has no constants: what a recording lacks is left out.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from fleet.errors import MappingError
from fleet.telemetry import CATEGORIES, NUMERIC_SIGNALS, SIGNALS, VERDICT_FIELDS

MAPPINGS_FOLDER = Path(__file__).with_name("mappings")
_IDENTITY_FIELDS = frozenset({"vehicleId", "timestamp", "tenantId"})

# Unit of a column -> (factor, offset) into the contract's unit of the field.
_SPEEDS = {"km/h": (1.0, 0.0), "mph": (1.609344, 0.0), "m/s": (3.6, 0.0), "knots": (1.852, 0.0)}
_TEMPERATURES = {"°C": (1.0, 0.0), "°F": (5 / 9, -160 / 9), "K": (1.0, -273.15)}
_SHARES = {"%": (1.0, 0.0), "fraction": (100.0, 0.0)}
_ANGLES = {"degrees": (1.0, 0.0)}
_LEVELS = {"1 to 5": (1.0, 0.0)}
UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "latitude": _ANGLES,
    "longitude": _ANGLES,
    "speed": _SPEEDS,
    "previousSpeed": _SPEEDS,
    "acceleration": _SPEEDS,
    "temperature": _TEMPERATURES,
    "battery": _SHARES,
    "fuelLevel": _SHARES,
    "speedLimit": _SPEEDS,
    "trafficLevel": _LEVELS,
}


class TimeColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an event's time stands: Unix seconds, or seconds since some moment of the vehicle's own."""

    column: str
    kind: Literal["unix_s", "relative_s"]


class FieldColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a field stands: a number with its unit, or a word with what it means in the contract's words."""

    column: str
    unit: str | None = None
    values: dict[str, str | bool] | None = None


class ExtraColumns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns that are carried through under their own names."""

    columns: tuple[str, ...] = ()


class RecordingMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a mapping file says."""

    vehicle_columns: tuple[str, ...]
    time: TimeColumn
    fields: dict[str, FieldColumn]
    description: str = ""
    vehicle_prefix: str = ""
    extra: ExtraColumns = ExtraColumns()

    @property
    def columns(self) -> list[str]:
        """Every column of the recording that the mapping reads."""
        fields = [field.column for field in self.fields.values()]
        return [*self.vehicle_columns, self.time.column, *fields, *self.extra.columns]

    def conversion(self, field: str) -> tuple[float, float]:
        """Return (factor, offset) that bring the field's column into the contract's unit."""
        return UNITS[field][self.fields[field].unit or ""]


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
        mapping = msgspec.convert(tomllib.loads(text), RecordingMapping)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MappingError(f"Mapping {path.name}: {error}.") from None
    if mistake := _mistake(mapping):
        raise MappingError(f"Mapping {path.name}: {mistake}.")
    return mapping


def own_mappings() -> list[str]:
    """Name the mappings that come with the project."""
    return sorted(path.stem for path in MAPPINGS_FOLDER.glob("*.toml"))


def _mistake(mapping: RecordingMapping) -> str | None:
    """Say the first thing that is wrong with a mapping, None when nothing is."""
    if not mapping.vehicle_columns:
        return "vehicle_columns is empty; name the columns that tell vehicles apart"
    if not mapping.fields:
        return f"it maps no field; map at least one of {', '.join(SIGNALS)}"
    reserved = _IDENTITY_FIELDS | set(SIGNALS) | VERDICT_FIELDS
    if taken := sorted(reserved & set(mapping.extra.columns)):
        return f"extra column {taken[0]} has the name of a field of the contract; map it under [fields] or leave it out"
    return next(filter(None, (_field_mistake(name, field) for name, field in mapping.fields.items())), None)


def _field_mistake(name: str, field: FieldColumn) -> str | None:
    if name in NUMERIC_SIGNALS:
        known = ", ".join(UNITS[name])
        return None if field.unit in UNITS[name] and not field.values else f"fields.{name}.unit must be one of {known}"
    if name in CATEGORIES:
        known = ", ".join(str(value).lower() for value in CATEGORIES[name])
        fits = field.values and not field.unit and set(field.values.values()) <= set(CATEGORIES[name])
        return None if fits else f"fields.{name}.values must translate the column's words to {known}"
    return f"fields.{name} is no signal; the signals are {', '.join(SIGNALS)}"
