"""A recording of the tests' own, and the mapping that it is read by."""

import gzip
from pathlib import Path

import pytest

MAPPING = """
vehicle_columns = ["car"]
vehicle_prefix = "test-"
[time]
column = "t"
kind = "relative_s"
[fields]
speed = { column = "mph", unit = "mph" }
temperature = { column = "oil_f", unit = "°F" }
fuelLevel = { column = "tank", unit = "fraction" }
night = { column = "lights", values = { on = true, off = false } }
[extra]
columns = ["rpm", "note"]
"""
RECORDING = """\
car,t,mph,oil_f,tank,lights,rpm,note
1.0,5,0,212,0.5,on,900,
1.0,6,10,,0.25,off,,cold
b,100,100,32,,,1500.5,
b,101,fast,32,,dusk,,
,7,1,1,1,on,1,
b,,1,1,1,on,1,
b,102,,,,,800,
b,103,1
b,104,nan,50,1,on,1,
"""


@pytest.fixture
def mapping_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(MAPPING, encoding="utf-8")
    return path


@pytest.fixture
def recording_file(tmp_path: Path) -> Path:
    path = tmp_path / "a recording.csv.gz"
    path.write_bytes(gzip.compress(RECORDING.encode()))
    return path
