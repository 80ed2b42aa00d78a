"""A mapping made from the names of a recording's columns, for the built-in specification, where nobody wrote one.

Only names that leave no doubt are taken: `Engine Coolant Temperature(°C)`, `speed_kmh`, `lat`. A unit that does not fit
the signal leaves its column out; without a unit the column is taken to be in the signal's own.
"""

from typing import Final

from fleet.errors import MappingError
from fleet.events.channels import VEHICLE_DATA, Channel
from recordings.column_names import LongForm, long_form, parsed, time_column, vehicle_column
from recordings.rows import Rows, names_of
from simulator.replay.mapping import FieldColumn, RecordingMapping, TimeColumn, units_of

# In order of preference.
_NAMES: Final = {
    "latitude": ("latitude", "lat", "gps latitude", "gps lat"),
    "longitude": ("longitude", "lon", "lng", "long", "gps longitude", "gps lon", "gps lng", "gps long"),
    "speed": (
        "speed", "vehicle speed", "car speed", "obd speed", "speed obd", "gps speed", "speed gps", "ground speed",
        "speed over ground", "velocity",
    ),
    "temperature": (
        "engine coolant temperature", "coolant temperature", "engine coolant", "coolant", "engine temperature",
        "temperature",
    ),
    "battery": ("battery", "battery level", "state of charge", "soc", "battery soc"),
    "fuelLevel": ("fuel level", "fuel", "fuel tank level", "tank level", "fuel level input"),
    "speedLimit": ("speed limit",),
}  # fmt: skip


def mapping_by_name(rows: Rows) -> RecordingMapping:
    """Return the mapping that the names of the columns suggest. Raises MappingError where they say too little."""
    time, vehicle = time_column(rows.header), vehicle_column(rows.header)
    fields = {name: field for name in _NAMES if (field := _field(VEHICLE_DATA.field(name), rows)) is not None}
    if time is None or not fields:
        raise MappingError(
            f"No name of a column of {rows.path} says that it is {'the time' if time is None else 'a signal'}:"
            f" give a --mapping; its columns are {names_of(rows.header)}."
        )
    return RecordingMapping(VEHICLE_DATA, (vehicle,) if vehicle else (), "", TimeColumn(time), fields)


def long_form_of(rows: Rows, mapping: RecordingMapping | None) -> LongForm | None:
    """Return the columns of the long form, as the mapping says or the names of the columns; None for another form."""
    if mapping is None:
        return long_form(rows.header, None, ())
    if mapping.long is not None:
        return LongForm(mapping.time.column, mapping.vehicle_columns, mapping.long.name, mapping.long.value)
    return long_form(rows.header, mapping.time.column, mapping.vehicle_columns, mapping.columns)


def _field(channel: Channel, rows: Rows) -> FieldColumn | None:
    """Return the column that is certainly this channel, the one with the best name of several."""
    ranks = {name: rank for rank, name in enumerate(_NAMES[channel.name])}
    found = []
    for column in rows.header:
        name = parsed(column)
        unit = name.unit or rows.units.get(column) or channel.unit
        words = " ".join("temperature" if word == "temp" else word for word in name.words.split())
        if words in ranks and unit in units_of(channel):
            found.append((ranks[words], FieldColumn(column, unit)))
    return min(found, key=lambda one: one[0])[1] if found else None
