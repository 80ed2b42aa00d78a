"""The time of an event: what is read as it stands, what is mended first, and what looks like another unit.

Whether a sender's clock is right is not asked here: that is the detector's.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fleet.events.refusals import RefusedError, shown

END_OF_TIME_S: Final = 253_402_300_800.0  # the year 10000; Unix milliseconds of today lie beyond it
# Unix times of this age by the size of their number: from a value on, units in one second, and what they are called.
_OTHER_UNITS: Final = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (END_OF_TIME_S, 1e3, "milliseconds"))
_END_OF_NANOSECONDS: Final = 1e20
_BASIC_DATE_DIGITS: Final = 8  # "20261130" is a date; any other text of digits is a number
_EXAMPLE: Final = "Unix seconds, as 1796067000.5, or ISO-8601, as 2026-11-30T19:30:00Z"
_is_number: Final = re.compile(r"[0-9]{1,40}(?:\.[0-9]{0,40})?").fullmatch
_parts_of_iso: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})[T ](?P<hour>[0-9]{2})(?P<minute>:?[0-9]{2})"
    r"(?:(?P<second>:?[0-9]{2})(?P<fraction>[.,][0-9]{1,12})?)?\s?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?",
    re.IGNORECASE,
).fullmatch


def event_time_s(timestamp: float | str) -> float:
    """Read a timestamp: Unix seconds, or ISO-8601 (without a zone it is UTC). Raises ValueError, OverflowError."""
    if isinstance(timestamp, str):
        if timestamp.isdigit() and len(timestamp) != _BASIC_DATE_DIGITS:
            raise ValueError("digits alone are no ISO-8601")
        moment = datetime.fromisoformat(timestamp)
        timestamp = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0.0 <= timestamp < END_OF_TIME_S:
        raise ValueError("a timestamp lies outside the years 1970 to 9999")
    return timestamp


def seconds_in_text(text: str) -> float | None:
    """Read a text of digits as Unix seconds; None where it is none, or looks like another unit."""
    seconds = float(text) if _is_number(text) else math.nan
    return seconds if 0.0 <= seconds < END_OF_TIME_S else None


def mended_time(text: str) -> str | None:
    """Write an ISO-8601 time as every reader reads it; None where it is none.

    Mended are lower case, the leap second (it is the next second), 24 o'clock (the next midnight), and UTC in letters.
    """
    if (parts := _parts_of_iso(text.strip())) is None:
        return None
    hour, second, later = parts["hour"], parts["second"] or "", timedelta()
    if hour == "24":
        hour, later = "00", timedelta(days=1)
        if (parts["minute"] + second + (parts["fraction"] or "")).strip(":.,0"):
            return None
    if second.endswith("60"):
        second, later = second[:-2] + "59", later + timedelta(seconds=1)
    zone = (parts["zone"] or "").upper().replace("UTC", "Z").replace("GMT", "Z")
    try:
        moment = datetime.fromisoformat(
            f"{parts['date']}T{hour}{parts['minute']}{second}{parts['fraction'] or ''}{zone}"
        )
        return (moment + later).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


def why_no_time(timestamp: Any) -> RefusedError:
    """Say why a timestamp, a number or a text, is no event's time, and what to send."""
    wrong = f"timestamp is {shown(timestamp)}"
    if not isinstance(timestamp, str):
        return _why_no_unix_time(wrong, timestamp)
    if _is_number(timestamp):
        return _why_no_unix_time(f"{wrong}, a number as text", float(timestamp))
    return RefusedError("bad_timestamp", f"{wrong}, which is not read as a time", _EXAMPLE)


def _why_no_unix_time(wrong: str, number: float) -> RefusedError:
    if 0 <= number < END_OF_TIME_S:
        return RefusedError("bad_timestamp", wrong, f"the number, {number:.15g}, without quotes")
    for least, in_a_second, unit in _OTHER_UNITS:
        if least <= number < _END_OF_NANOSECONDS:
            seconds = number / in_a_second
            said = datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
            wrong = f"{wrong}, and looks like {unit} since 1970"
            return RefusedError("bad_timestamp", wrong, f"seconds, {seconds:.15g}, or ISO-8601, {said}")
    return RefusedError("bad_timestamp", f"{wrong}, which lies outside the years 1970 to 9999", _EXAMPLE)
