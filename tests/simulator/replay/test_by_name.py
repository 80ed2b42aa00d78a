"""Recordings without a mapping: what the names of their columns say."""

from pathlib import Path

import pytest

from fleet.errors import MappingError
from recordings.rows import opened_rows
from simulator.replay.by_name import mapping_by_name
from simulator.replay.mapping import RecordingMapping


def mapping_of(folder: Path, header: str) -> RecordingMapping:
    path = folder / "recording.csv"
    path.write_text(header + "\n", encoding="utf-8")
    with opened_rows(path) as rows:
        return mapping_by_name(rows)


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("time,lat,lon,speed", {"latitude": "lat", "longitude": "lon", "speed": "speed"}),
        ("t,gps_lat,gps_long,speed_mph", {"latitude": "gps_lat", "longitude": "gps_long", "speed": "speed_mph"}),
        ("t,GPS Speed (m/s),Speed (OBD)(km/h)", {"speed": "Speed (OBD)(km/h)"}),
        ("t,GPS Speed (m/s)", {"speed": "GPS Speed (m/s)"}),
        ("t,coolant_temp,ambient_temp", {"temperature": "coolant_temp"}),
        ("t,battery (V),soc", {"battery": "soc"}),
        ("t,fuel (gal),fuelLevel", {"fuelLevel": "fuelLevel"}),
        ("t,speed,engine speed,speed limit", {"speed": "speed", "speedLimit": "speed limit"}),
    ],
)
def test_columns_are_mapped_where_name_and_unit_leave_no_doubt(
    tmp_path: Path, header: str, fields: dict[str, str]
) -> None:
    mapping = mapping_of(tmp_path, header)
    assert {name: field.column for name, field in mapping.fields.items()} == fields


def test_units_of_names_are_taken_over_and_missing_ones_are_the_signals_own(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, "t,speed_mph,coolant [°F],fuel")
    assert {name: field.unit for name, field in mapping.fields.items()} == {
        "speed": "mph",
        "temperature": "°F",
        "fuelLevel": "%",
    }
    assert mapping.described() == ["speed_mph → speed", "coolant [°F] → temperature", "fuel in % → fuelLevel"]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("a,speed", "is the time: give a --mapping; its columns are a, speed"),
        ("time,speed (rpm),battery_v", "is a signal: give a --mapping"),
    ],
)
def test_names_that_say_too_little_are_refused(tmp_path: Path, header: str, sentence: str) -> None:
    with pytest.raises(MappingError) as refused:
        mapping_of(tmp_path, header)
    assert sentence in str(refused.value)
