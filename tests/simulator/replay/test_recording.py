"""Reading recordings by a mapping: small ones of the tests' own, and the real ones."""

import math
from pathlib import Path

import numpy as np
import pytest

from fleet.errors import MappingError, RecordingError
from simulator.replay.mapping import read_mapping
from simulator.replay.recording import read_recording


def test_recording_is_read_with_units_converted_and_reasons_counted(mapping_file: Path, recording_file: Path) -> None:
    recording = read_recording(recording_file, read_mapping(str(mapping_file)))
    assert recording.rows_read == 9
    assert recording.vehicle_ids == ["test-1", "test-b"]
    assert recording.time_s.tolist() == [5, 6, 100, 101, 104]
    assert recording.skipped == {
        "no vehicle": 1,
        "no time": 1,
        "no signal": 1,
        "another number of cells than the header": 1,
    }
    assert recording.left_out == {"mph": 1, "lights": 1}
    speeds = [0.0, 16.09344, 160.9344, math.nan, math.nan]
    assert recording.numbers["speed"].tolist() == pytest.approx(speeds, nan_ok=True)
    assert recording.numbers["temperature"].tolist() == pytest.approx([100, math.nan, 0, 0, 10], nan_ok=True)
    assert recording.numbers["fuelLevel"].tolist() == pytest.approx(
        [50.0, 25.0, math.nan, math.nan, 100.0], nan_ok=True
    )
    assert recording.texts["night"] == [True, False, None, None, True]
    assert recording.texts["note"] == [None, "cold", None, None, None]


def test_recording_can_be_limited_in_vehicles_and_labelled(mapping_file: Path, recording_file: Path) -> None:
    recording = read_recording(recording_file, read_mapping(str(mapping_file)), 1, "again")
    assert recording.vehicle_ids == ["test-1-again"]
    assert recording.skipped["beyond the limit of vehicles"] == 3


def test_recording_without_a_mapped_column_is_refused_by_name(mapping_file: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("car,t,kmh\n1,2,3\n")
    with pytest.raises(MappingError, match=r"no column 'mph'.*its columns are car, t, kmh"):
        read_recording(tmp_path / "other.csv", read_mapping(str(mapping_file)))


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b broken", b"car,t\n\0,1\n"])
def test_recording_that_is_no_csv_is_refused(mapping_file: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"broken\.csv"):
        read_recording(path, read_mapping(str(mapping_file)))


def test_recording_that_is_absent_is_refused(mapping_file: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be read"):
        read_recording(tmp_path / "absent.csv", read_mapping(str(mapping_file)))


def written(folder: Path, text: str, mapping: str = "") -> tuple[Path, Path]:
    """Write a recording and a mapping; return their paths."""
    (folder / "trip 7.csv").write_text(text, encoding="utf-8")
    (folder / "plain.toml").write_text(mapping or PLAIN, encoding="utf-8")
    return folder / "trip 7.csv", folder / "plain.toml"


PLAIN = """
[time]
column = "t"
[fields]
speed = { column = "v", unit = "km/h" }
"""


def test_recording_without_a_vehicle_column_is_one_vehicle_named_as_the_file(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, "t,v\n0,1\n1,2\n")
    recording = read_recording(path, read_mapping(str(mapping)), label="b")
    assert recording.vehicle_ids == ["trip 7-b"]
    assert recording.vehicle.tolist() == [0, 0]
    assert not recording.is_unix


def test_recording_says_what_it_was_taken_for(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, "t;v;w\n1796060000000;1,5;\nt;v;w\n1796060002000;2;\n")
    recording = read_recording(path, read_mapping(str(mapping)))
    assert recording.description == (
        "semicolons, decimal commas, UTF-8, times in milliseconds, lines passed over: 1 (header repeated);"
        " 1 vehicle, 2 rows, a row every 2 s; v in km/h → speed; not mapped: w"
    )
    assert recording.time_s.tolist() == [1796060000, 1796060002]
    assert recording.is_unix


def test_mapping_says_whether_dates_begin_with_the_day(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, "t,v\n01/02/1970,1\n", PLAIN.replace('"t"', '"t"\nday_first = true'))
    assert read_recording(path, read_mapping(str(mapping))).time_s.tolist() == [31 * 86_400]
    path, mapping = written(tmp_path, "t,v\n01/02/1970,1\n")
    assert read_recording(path, read_mapping(str(mapping)), day_first=False).time_s.tolist() == [86_400]
    with pytest.raises(RecordingError, match="--day-first"):
        read_recording(path, read_mapping(str(mapping)))


def test_numbers_of_a_relative_time_are_seconds_of_any_size(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, "t,v\n200000000000,1\n", PLAIN.replace('"t"', '"t"\nkind = "relative_s"'))
    assert read_recording(path, read_mapping(str(mapping))).time_s.tolist() == [2e11]


def test_mapping_names_the_columns_of_the_long_form(tmp_path: Path) -> None:
    text = "t,what,reads,by\n0,v,10,x\n0,w,1,x\n1,v,20,x\n"
    path, mapping = written(
        tmp_path, text, PLAIN + '[long]\nname = "what"\nvalue = "reads"\n[extra]\ncolumns = ["w"]\n'
    )
    recording = read_recording(path, read_mapping(str(mapping)))
    assert {name: column.tolist() for name, column in recording.numbers.items()} == {"speed": [10, 20], "w": [1, 1]}


def test_long_form_with_obvious_names_is_read_by_a_mapping_of_its_signals(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, "t,name,value\n0,v,10\n1,v,20\n")
    assert read_recording(path, read_mapping(str(mapping))).numbers["speed"].tolist() == [10, 20]


def test_extra_columns_are_numbers_where_every_cell_is_one(tmp_path: Path) -> None:
    text = "t,v,load,note\n0,1,7,a\n1,1,-,-\n2,1,8.5,3\n"
    path, mapping = written(tmp_path, text, PLAIN + '[extra]\ncolumns = ["load", "note"]\n')
    recording = read_recording(path, read_mapping(str(mapping)))
    np.testing.assert_array_equal(recording.numbers["load"], [7, np.nan, 8.5])
    assert recording.texts == {"note": ["a", "-", "3"]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("t,v\n", "has a header and no rows"),
        ("t,v\nsoon,1\nlater,2\n", "of 2 rows 2 have no time; the column 't' says 'soon'"),
        ("t,v\n1,fast\n2,-\n", "of 2 rows 2 have no signal. It was taken for commas, UTF-8; v in km/h → speed"),
    ],
)
def test_recording_without_an_event_is_refused_with_the_reason(tmp_path: Path, text: str, sentence: str) -> None:
    path, mapping = written(tmp_path, text)
    with pytest.raises(RecordingError) as refused:
        read_recording(path, read_mapping(str(mapping)))
    assert sentence in str(refused.value)


def test_progress_is_said_while_a_large_recording_is_read(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, "t,v\n" + "1,1\n" * 101_000)
    said: list[str] = []
    read_recording(path, read_mapping(str(mapping)), say=said.append)
    assert len(said) == 2


@pytest.mark.parametrize(
    ("data_set", "rows", "vehicles", "signals"),
    [
        ("kit_obd", 222_666, 77, {"speed", "temperature"}),
        ("nds_blackbox", 23_187, 28, {"speed", "latitude", "longitude"}),
    ],
)
def test_real_recordings_are_read_completely(
    project_folder: Path, data_set: str, rows: int, vehicles: int, signals: set[str]
) -> None:
    path = project_folder.parent / "shared" / "data" / data_set / f"{data_set}_1hz.csv.gz"
    if not path.exists():
        pytest.skip(f"the real recording {data_set} is not on this machine")
    mapping = read_mapping(data_set)
    recording = read_recording(path, mapping)
    assert (recording.rows_read, len(recording), len(recording.vehicle_ids)) == (rows, rows, vehicles)
    assert set(mapping.fields) == signals
    assert not recording.skipped
    assert not recording.left_out
    assert np.nanmax(recording.numbers["speed"]) < 250
