import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.numbers import Marks, is_missing, marks_of, numbers

POINT, COMMA, POINT_GROUPS = Marks(), Marks(decimal_comma=True), Marks(decimal_comma=True, point_groups=True)


@pytest.mark.parametrize(
    ("cell", "marks", "number"),
    [
        ("30.5", POINT, 30.5),
        (" -7 ", POINT, -7.0),
        ("1e-3", POINT, 0.001),
        ("30,5", POINT, 30.5),
        ("0,125", POINT, 0.125),
        ("1,000", POINT, 1000.0),
        ("1,000.5", POINT, 1000.5),
        ("-12,345,678", POINT, -12_345_678.0),
        ("30,5", COMMA, 30.5),
        ("-31,410", COMMA, -31.41),
        ("1,5e-07", COMMA, 1.5e-07),
        ("2.5", COMMA, 2.5),
        ("1.250", COMMA, 1.25),
        ("1,000.5", COMMA, 1000.5),
        ("1.250", POINT_GROUPS, 1250.0),
        ("1.000,5", POINT_GROUPS, 1000.5),
        ("1.234.567", POINT, 1_234_567.0),
        ("1 000,5", COMMA, 1000.5),
        ("1\u202f234\u202f567", POINT, 1_234_567.0),
        ("1'000.5", POINT, 1000.5),
    ],
)
def test_a_cell_is_the_number_that_its_writer_meant(cell, marks, number):
    values, unreadable = numbers([cell, ""], marks)
    np.testing.assert_array_equal(values, [number, math.nan])
    assert not unreadable.any()


@pytest.mark.parametrize("cell", ["", " ", "-", "--", "NA", "n/a", "NaN", "null", "None", "\\N", "?"])
def test_a_missing_value_is_unknown_and_no_mistake(cell):
    values, unreadable = numbers([cell, "1"], POINT)
    assert is_missing(cell)
    assert np.isnan(values).tolist() == [True, False]
    assert not unreadable.any()


@pytest.mark.parametrize("cell", ["fast", "inf", "10.0.0.1", "48.1,11.5", "12:30", "1,2,3"])
def test_anything_else_is_unknown_and_told(cell):
    values, unreadable = numbers(["1", cell], POINT)
    assert np.isnan(values).tolist() == [False, True]
    assert unreadable.tolist() == [False, True]


@pytest.mark.parametrize(
    ("cells", "delimiter", "marks"),
    [
        (["1", "30.5"], ",", POINT),
        (["1,000"], ",", POINT),
        (["1,000"], ";", COMMA),
        (["1,000", "30.5"], ";", POINT),
        (["1,000,000"], "\t", POINT),
        (["30,5", "1,000"], ",", COMMA),
        (["30,5", "2.5"], ";", COMMA),
        (["1.000,5"], ";", POINT_GROUPS),
        (["1.000.000"], ";", POINT_GROUPS),
        (["1.250"], ";", POINT),
        (["a,b", ""], ";", POINT),
    ],
)
def test_marks_are_those_that_the_cells_show(cells, delimiter, marks):
    assert marks_of(cells, delimiter) == marks


@given(st.lists(st.floats(-1e9, 1e9) | st.none(), min_size=1), st.sampled_from([POINT, COMMA, POINT_GROUPS]))
def test_numbers_are_read_as_they_were_written(values, marks):
    decimal = "," if marks.decimal_comma else "."
    cells = ["" if value is None else repr(value).replace(".", decimal) for value in values]
    read, unreadable = numbers(cells, marks)
    np.testing.assert_array_equal(read, [math.nan if value is None else value for value in values])
    assert not unreadable.any()


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1), st.sampled_from([",", ".", " ", "'"]))
def test_thousands_are_read_as_they_were_written(values, group):
    marks = POINT_GROUPS if group == "." else POINT
    read, _ = numbers([f"{value:,}".replace(",", group) for value in values], marks)
    assert read.tolist() == values
