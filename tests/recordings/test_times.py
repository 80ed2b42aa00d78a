import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import RecordingError
from recordings.numbers import Marks
from recordings.times import TimeReader


def seconds(cells, name="time", **told):
    reader = TimeReader(name, Marks(), **told)
    return reader.seconds(reader.read(cells)).tolist()


MOMENT = datetime(2026, 11, 9, 10, 26, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cell", "after_s"),
    [
        ("2026-11-09T10:26:00Z", 0),
        ("2026-11-09 10:26:00", 0),
        ("2026-11-09T10:26", 0),
        ("2026-11-09T11:26:00.250+01:00", 0.25),
        ("2026-11-09 11:26:00 +0100", 0),
        ("2026/11/09 10:26:00", 0),
        ("2026-11-9 9:26:00 UTC", -3600),
        ("Mon Nov 09 10:26:00 GMT+01:00 2026", -3600),
        ("Mon Nov 09 10:26:00 UTC 2026", 0),
        ("09-Nov-2026 10:26:00.463", 0.463),
        ("9 November 2026 10:26", 0),
        ("Mon, 09 Nov 2026 11:26:00 +0100", 0),
        ("Nov 9, 2026 10:26:00 AM", 0),
        ("13/11/2026 10:26:00", 4 * 86_400),
        ("11/13/2026 10:26:00 PM", 4.5 * 86_400),
        ("11.11.2026, 10:26", 2 * 86_400),
    ],
)
def test_text_is_seconds_since_1970(cell, after_s):
    assert seconds([cell]) == [pytest.approx(MOMENT + after_s, abs=1e-6)]


@pytest.mark.parametrize(("day_first", "month", "day"), [(True, 11, 1), (False, 1, 11)])
@pytest.mark.parametrize("form", ["01/11/2026 10:00:00", "01.11.2026 10:00", "1-11-2026 10:00:00.0"])
def test_day_or_month_comes_first_as_told(form, day_first, month, day):
    assert seconds([form], day_first=day_first) == [datetime(2026, month, day, 10, tzinfo=UTC).timestamp()]


def test_a_date_that_may_begin_with_either_is_refused_with_what_to_say():
    with pytest.raises(RecordingError, match=r"'01/11/2026' in the column 'time' may .* --day-first or --month-first"):
        seconds(["13/11/2026", "01/11/2026"])


@pytest.mark.parametrize("factor", [1, 1e3, 1e6, 1e9])
def test_units_of_unix_times_are_told_apart_by_size(factor):
    cells = [f"{(MOMENT + second) * factor:.0f}" for second in range(3)]
    assert seconds(["", *cells, "garbage"]) == pytest.approx(
        [math.nan, MOMENT, MOMENT + 1, MOMENT + 2, math.nan], nan_ok=True, abs=1e-3
    )


def test_one_wild_time_does_not_change_the_unit_of_all():
    assert seconds(["1", "2", "1e18"])[:2] == [1, 2]


@pytest.mark.parametrize(
    ("name", "told", "read"),
    [
        ("t", {}, [0, 1500]),
        ("t_ms", {}, [0, 1.5]),
        ("Time (µs)", {}, [0, 0.0015]),
        ("t_ms", {"is_relative": True}, [0, 1500]),
    ],
)
def test_small_numbers_are_relative_seconds_unless_the_name_says_otherwise(name, told, read):
    assert seconds(["0", "1500"], name, **told) == pytest.approx(read)


def test_relative_seconds_may_be_large_where_they_are_told():
    reader = TimeReader("t", Marks(), is_relative=True)
    read = reader.seconds(reader.read(["1500000000000"]))
    assert read.tolist() == [1.5e12]
    assert not reader.is_unix(read)


@pytest.mark.parametrize(("cell", "is_unix"), [("12.5", False), ("1796060000", True), ("2026-11-09", True)])
def test_times_since_1970_are_told_from_relative_ones(cell, is_unix):
    reader = TimeReader("t", Marks())
    assert reader.is_unix(reader.seconds(reader.read([cell]))) is is_unix


@pytest.mark.parametrize(
    "cell", ["", "-", "yesterday", "2026-13-45", "32-Nov-2026 10:00:00", "Mon Nob 09 10:26:00 2026"]
)
def test_what_is_no_time_is_unknown(cell):
    assert np.isnan(seconds(["2026-11-09", "2026-11-10", cell])).tolist() == [False, False, True]


MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=-3))))
FORMS = ["%Y-%m-%dT%H:%M:%S.%f%z", "%d-%b-%Y %H:%M:%S.%f %z", "%a, %d %b %Y %H:%M:%S.%f %z", "%d/%m/%Y %H:%M:%S.%f %z"]


@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from(FORMS))
def test_times_are_read_as_they_were_written(moments, form):
    read = seconds([moment.strftime(form) for moment in moments], day_first=True)
    assert read == pytest.approx([moment.timestamp() for moment in moments], abs=1e-5)
