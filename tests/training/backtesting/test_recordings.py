import csv
import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import RecordingError
from recordings import rows as rows_module
from training.backtesting.recordings import SINGLE_VEHICLE, read_recordings


@pytest.fixture
def file(tmp_path):
    def write(text: str, name: str = "recording.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def test_recordings_take_every_numeric_column_that_has_no_other_role(file):
    text = "trip,note,t,rpm,fault,coolant_c\nb,slow,3,800,0,21.5\na,,1,900,1,\nb,fast,2,n/a,,x\n"
    read = read_recordings(file(text), "t", "trip", "fault")
    assert read.channels == ("rpm", "coolant_c")
    np.testing.assert_array_equal(read.values, [[800, 21.5], [900, np.nan], [np.nan, np.nan]])
    assert read.vehicle_names == ("b", "a")
    assert read.vehicle_text == ["b", "a", "b"]
    assert read.time_s.tolist() == [3, 1, 2]
    assert read.time_text == ["3", "1", "2"]
    assert read.label.tolist() == [False, True, False]


def test_a_column_mostly_of_numbers_is_numeric_and_its_other_cells_are_counted(file):
    rows = "".join(f"{second},{second * 2}\n" for second in range(18))
    read = read_recordings(file(f"t,a\n{rows}18,oops\n19,inf\n20,nan\n"), "t")
    assert read.channels == ("a",)
    assert read.unreadable_cells == {"a": 2}
    assert np.isnan(read.values[18:, 0]).all()


def test_named_channels_come_in_the_order_asked_for(file):
    read = read_recordings(file("t,a,b,c\n0,1,2,3\n"), "t", channels=["c", "a"])
    assert read.channels == ("c", "a")
    assert read.values.tolist() == [[3, 1]]


def test_without_a_vehicle_column_there_is_one_vehicle(file):
    read = read_recordings(file("t,a\n0,1\n1,2\n"), "t")
    assert (read.vehicle_names, read.vehicle.tolist(), read.label) == ((SINGLE_VEHICLE,), [0, 0], None)


def test_recordings_are_read_gzipped_whatever_their_name(tmp_path):
    path = tmp_path / "recording.data"
    path.write_bytes(gzip.compress("\ufefft,a\r\n0,1\r\n\r\n1,2\r\n".encode()))
    read = read_recordings(path, "t")
    assert read.values[:, 0].tolist() == [1, 2]
    assert len(read) == 2


def test_semicolons_separate_and_allow_decimal_commas(file):
    read = read_recordings(file("t;a;label\n0,5;1,25;0,0\n1;2.5;1,0\n"), "t", None, "label")
    assert read.time_s.tolist() == [0.5, 1.0]
    assert read.values[:, 0].tolist() == [1.25, 2.5]
    assert read.label.tolist() == [False, True]


def test_columns_that_nobody_names_are_found_by_their_names(file):
    text = "vehicle_id,recorded_at,speed_kph,broken\na,2026-11-09T08:00:00Z,50,1\nb,2026-11-09T08:01:00Z,51,0\n"
    read = read_recordings(file(text), ignored={"broken"})
    assert read.roles == ("recorded_at", "vehicle_id")
    assert (read.vehicle_names, read.channels) == (("a", "b"), ("speed_kph",))


def test_lines_of_single_readings_become_rows(file):
    text = '"SECONDS";"PID";"VALUE"\n"1,1";"rpm";"900"\n"1,2";"map";"35,5"\n"2,1";"rpm";"950"\n'
    read = read_recordings(file(text))
    assert read.channels == ("rpm", "map")
    assert read.values.tolist() == [[900, 35.5], [950, 35.5]]
    assert (read.time_s.tolist(), read.time_text) == ([1.2, 2.1], ["1,2", "2,1"])
    assert read.form == "semicolons, decimal commas, UTF-8, one reading a line"


def test_a_value_that_is_judged_or_a_sensor_that_is_a_vehicle_leave_the_lines_as_they_are(file):
    path = file("time,sensor,value\n0,x,1\n0,y,2\n")
    assert read_recordings(path, "time", "sensor").channels == ("value",)
    assert read_recordings(path, channels=["value"]).values[:, 0].tolist() == [1, 2]


def test_days_come_first_when_told(file):
    path = file("t,a\n02/01/1970,1\n")
    assert read_recordings(path, day_first=True).time_s.tolist() == [86_400]
    with pytest.raises(RecordingError, match="--day-first"):
        read_recordings(path)


def test_short_rows_lack_their_last_cells(file):
    assert np.isnan(read_recordings(file("t,a,b\n0,1,2\n1,2\n"), "t").values[1, 1])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01 00:01:00", 60.0),
        ("1970-01-01T00:01:00.5", 60.5),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T02:01:00+02:00", 60.0),
        ("1970-01-02", 86_400.0),
        ("1558644851.25", 1558644851.25),
        ("1558644851250", 1558644851.25),
        (" 7 ", 7.0),
        ("-3", -3.0),
    ],
)
def test_times_are_seconds_or_iso_8601(file, text, seconds):
    read = read_recordings(file(f"t,a\n{text},1\n"), "t")
    assert read.time_s.tolist() == [seconds]
    assert read.time_text == [text]


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("", {}, "no header"),
        ("t,a\n", {}, "no rows"),
        ("t,word\n0,x\n", {}, "no numeric column"),
        ("a,b\n0,1\n", {}, "has no column 't' for the time; its columns are a, b"),
        ("t,a,a\n0,1,2\n", {}, "has 2 columns 'a'"),
        ("when,a\n0,1\n", {"time_column": None}, "is the time: name it with --time; its columns are when, a"),
        ("t,a\n0,1\n", {"vehicle_column": "trip"}, "no column 'trip' for the vehicle"),
        ("t,a\n0,1\n", {"label_column": "fault"}, "no column 'fault' for the label"),
        ("t,a\n0,1\n", {"channels": ["b"]}, "no column 'b' for the channel"),
        ("t,a,b\n0,1,x\n", {"channels": ["a", "b"]}, "channel 'b' holds no number"),
        ("t,a\n0,1\n,1\n", {}, "row 2: the time '' is not a number of seconds"),
        ("t,a\n2024-05-01,1\nyesterday,1\n", {}, "row 2: the time 'yesterday' is not ISO 8601 text"),
        ("t,a,fault\n0,1,maybe\n", {"label_column": "fault"}, "row 1: the label 'maybe' is neither 0 nor 1"),
        ("t,a\n0,1,2\n", {}, "row 1: 3 cells under 2 columns"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(file, text, options, sentence):
    with pytest.raises(RecordingError, match=sentence) as caught:
        read_recordings(file(text), **{"time_column": "t"} | options)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        read_recordings(tmp_path / "absent.csv", "t")
    with pytest.raises(RecordingError, match="cannot be read"):
        read_recordings(tmp_path, "t")
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(gzip.compress(b"t,a\n" + b"0,1\n" * 50_000)[:-20])
    with pytest.raises(RecordingError, match="cannot be read"):
        read_recordings(torn, "t")


def test_recordings_are_bounded(file, monkeypatch):
    monkeypatch.setattr(rows_module, "MOST_ROWS", 3)
    path = file("t,a\n0,1\n1,1\n2,1\n3,1\n")
    with pytest.raises(RecordingError, match="more than 3 rows"):
        read_recordings(path, "t")


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["x", "y, z", "1"]), st.floats(-1e9, 1e9), st.none() | st.floats(-1e9, 1e9), st.booleans()
    ),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.sampled_from(",;"), st.integers(1, 8))
def test_recordings_return_what_was_written(tmp_path, rows, delimiter, block):
    path = tmp_path / "written.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["who", "t", "a", "fault"])
        writer.writerows([who, time, "" if a is None else a, int(fault)] for who, time, a, fault in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "BLOCK_ROWS", block)
        if all(a is None for _, _, a, _ in rows):
            with pytest.raises(RecordingError, match="no numeric column"):
                read_recordings(path, "t", "who", "fault")
            return
        read = read_recordings(path, "t", "who", "fault")
    assert read.vehicle_text == [who for who, *_ in rows]
    assert read.time_s.tolist() == [time for _, time, _, _ in rows]
    np.testing.assert_array_equal(read.values[:, 0], [np.nan if a is None else a for _, _, a, _ in rows])
    assert read.label.tolist() == [fault for *_, fault in rows]
