import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import RecordingError
from recordings import long_form
from recordings.column_names import LongForm
from recordings.long_form import pivoted
from recordings.rows import opened_rows

FORM = LongForm("time", (), "name", "value")


def table(tmp_path, lines, form=FORM):
    """Return the header and the rows of a recording in long form, and why lines were passed over."""
    path = tmp_path / "long.csv"
    path.write_text("\n".join(lines))
    with opened_rows(path) as rows:
        wide = pivoted(rows, form)
        cells = [row for block in wide.blocks for row in zip(*block.columns, strict=True)]
    return list(wide.header), cells, wide


def test_a_row_gathers_readings_until_a_signal_comes_again(tmp_path):
    lines = ["time,name,value", "0.1,speed,40", "0.3,coolant,83", "0.5,speed,41", "0.6,rpm,900", "0.7,speed,42"]
    header, rows, _ = table(tmp_path, lines)
    assert header == ["time", "speed", "coolant", "rpm"]
    assert rows == [("0.3", "40", "83", ""), ("0.6", "41", "83", "900"), ("0.7", "42", "83", "900")]


def test_a_row_gathers_readings_for_less_than_a_second(tmp_path):
    _, rows, _ = table(tmp_path, ["time,name,value", "0,speed,40", "0.9,coolant,83", "1,rpm,900", "9,fuel,50"])
    assert rows == [("0.9", "40", "83", "", ""), ("1", "40", "83", "900", ""), ("9", "40", "83", "900", "50")]


def test_vehicles_are_kept_apart_and_times_put_in_order(tmp_path):
    lines = ["time,car,name,value", "5,a,speed,2", "5,b,speed,9", "1,a,coolant,80", "1,a,speed,1", "6,b,coolant,70"]
    header, rows, _ = table(tmp_path, lines, LongForm("time", ("car",), "name", "value"))
    assert header == ["time", "car", "speed", "coolant"]
    assert rows == [("1", "a", "1", "80"), ("5", "a", "2", "80"), ("5", "b", "9", ""), ("6", "b", "9", "70")]


def test_units_stand_beside_and_cut_lines_are_counted(tmp_path):
    lines = ["time,name,value,unit", "1,speed,40,km/h", "2,coolant,83,℃", "-,speed,41,km/h", "3,speed", "4,,1,V"]
    _, rows, wide = table(tmp_path, lines, LongForm("time", (), "name", "value", "unit"))
    assert len(rows) == 2
    assert wide.units == {"speed": "km/h", "coolant": "°C"}
    assert wide.passed_over == {"no reading": 2, "no time": 1}
    assert wide.form == "commas, UTF-8, one reading a line"


def test_a_file_without_readings_has_no_rows(tmp_path):
    assert table(tmp_path, ["time,name,value"])[1] == []
    assert table(tmp_path, ["time,name,value", "-,speed,1"])[1] == []


def test_signals_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(long_form, "_MOST_SIGNALS", 2)
    with pytest.raises(RecordingError, match="more than 2 different names in its column 'name'"):
        table(tmp_path, ["time,name,value", "1,a,1", "1,b,1", "1,c,1"])


READINGS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 99)))


@given(READINGS)
def test_every_row_holds_what_was_known_by_then_and_every_reading_is_in_one(tmp_path, readings):
    lines = [f"{time},{car},{name},{value}" for time, car, name, value in readings]
    form = LongForm("time", ("car",), "name", "value")
    header, rows, _ = table(tmp_path, ["time,car,name,value", *lines], form)
    for time, car, *cells in rows:
        for name, cell in zip(header[2:], cells, strict=True):
            mine = [(when, value) for when, who, what, value in readings if (who, what) == (car, name)]
            if cell:
                assert int(cell) in [value for when, value in mine if when <= int(time)]
            else:
                assert not [when for when, _ in mine if when < int(time)]
    held = {(car, name, cell) for _, car, *cells in rows for name, cell in zip(header[2:], cells, strict=True)}
    assert {(car, name, str(value)) for _, car, name, value in readings} <= held
