import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.events.event_time import event_time_s, mended_time, why_no_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-11-30T20:17:45.500Z", 1764533865.5),
        ("2025-11-30T20:17:45.5", 1764533865.5),
        ("2025-11-30T17:17:45-03:00", 1764533865.0),
        ("20251130T201745Z", 1764533865.0),
        ("20251130", 1764460800.0),
    ],
)
def test_event_time_s_reads_iso_8601(text: str, seconds: float) -> None:
    assert event_time_s(text) == seconds


@pytest.mark.parametrize("text", ["1764533865", "1801012120000", "1970010112345", "2025", "yesterday", "0001-01-01"])
def test_event_time_s_takes_no_text_of_digits_for_a_date(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        event_time_s(text)


@given(st.datetimes(), st.sampled_from(["", "z", "Z", "+02:00", " utc"]), st.sampled_from(["T", "t", " "]))
def test_mended_time_says_the_time_that_was_meant(moment, zone, between) -> None:
    text = moment.isoformat(between) + zone
    mended = mended_time(text)
    plain = moment.isoformat() + zone.strip().replace("z", "Z").replace("utc", "Z")
    assert mended is not None
    try:
        expected = event_time_s(plain)
    except (ValueError, OverflowError):
        return  # before 1970, however it is written
    assert event_time_s(mended) == expected


@given(st.text(st.sampled_from("0123456789-:.TtZz +60 24")))
def test_mended_time_is_a_time_or_none(text: str) -> None:
    if (mended := mended_time(text)) is not None:
        assert mended_time(mended) == mended


@pytest.mark.parametrize(
    ("timestamp", "says"),
    [
        (1796067000123, "milliseconds since 1970: send seconds, 1796067000.123, or ISO-8601, 2026-11-30T19:30:00Z."),
        (1796067000123456, "microseconds since 1970: send seconds, 1796067000.12346, or"),
        (1796067000123456789, "nanoseconds since 1970: send seconds, 1796067000.12346, or"),
        (1e25, "timestamp is 1e+25, which lies outside the years 1970 to 9999: send Unix seconds"),
        (10**400, "more than 38 digits, which lies outside"),
        (-1, "timestamp is -1, which lies outside the years 1970 to 9999: send Unix seconds"),
        ("1e3", 'timestamp is "1e3", which is not read as a time'),
    ],
)
def test_why_no_time_says_what_it_looks_like(timestamp, says) -> None:
    assert says in why_no_time(timestamp).detail
