"""Cells as times: seconds since 1970 or since some moment of the recorder's own.

Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size; small ones are relative.
Text is ISO 8601, or what phones and spreadsheets write. A text without an offset is in UTC.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import numpy as np

from fleet.errors import RecordingError
from recordings.column_names import parsed
from recordings.numbers import Floats, Marks, is_missing, numbers

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds since 1970 pass 1e11 in the year 5138; milliseconds passed it in 1973, and so on with the smaller units.
_UNIX_UNITS: Final = ((1e17, "nanoseconds", 1e-9), (1e14, "microseconds", 1e-6), (1e11, "milliseconds", 1e-3))
_RELATIVE_UNITS: Final = {"ms": ("milliseconds", 1e-3), "µs": ("microseconds", 1e-6), "ns": ("nanoseconds", 1e-9)}
_LEAST_UNIX_S: Final = 1e8
"""1973: no recording lasts for three years, and none is older."""

_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_WEEKDAY = r"(?:[A-Za-z]{3,9},? )?"
_MONTH = r"(?P<month_name>[A-Za-z]{3})[a-z]*\.?"
_CLOCK = r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?(?: ?(?P<half>[AaPp])[Mm])?"
_ZONE = r"(?:Z|UTC|GMT)?(?P<offset>[+-]\d\d:?\d\d)?"
_DATES = (
    r"(?P<year>\d{4})[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)",
    rf"(?P<day>\d\d?)[- ]{_MONTH}[-, ]+(?P<year>\d{{4}})",
    rf"{_MONTH} (?P<day>\d\d?),? (?P<year>\d{{4}})",
    r"(?P<first>\d\d?)[-/.](?P<other>\d\d?)[-/.](?P<year>\d{4})",
)
_PATTERNS: Final = (
    *(re.compile(rf"{_WEEKDAY}{date}(?:,?[ T]+{_CLOCK} ?{_ZONE})?") for date in _DATES),
    re.compile(rf"{_WEEKDAY}{_MONTH} +(?P<day>\d\d?) {_CLOCK} {_ZONE} ?(?P<year>\d{{4}})"),  # as Java writes it
)


class TimeReader:
    """Reads one column of times, block by block."""

    def __init__(self, name: str, marks: Marks, day_first: bool | None = None, is_relative: bool = False) -> None:
        """Read the column `name`.

        `day_first` says what 01/11/2026 is; None refuses it. `is_relative`: its numbers are seconds, of any size.
        """
        self._name, self._marks, self._day_first, self._is_relative = name, marks, day_first, is_relative
        self._holds_numbers: bool | None = None

    @property
    def wanted(self) -> str:
        """What a cell of this column should be."""
        return "ISO 8601 text (2024-05-01 12:00:00)" if self._holds_numbers is False else "a number of seconds"

    def read(self, cells: Sequence[str]) -> Floats:
        """Return what the cells say float64[R], in the column's own unit, NaN where they say no time.

        Raises RecordingError where the day and the month of a date cannot be told apart.
        """
        if self._holds_numbers is None:
            self._holds_numbers = self._are_numbers(cells)
        if self._holds_numbers is not False:
            return numbers(cells, self._marks)[0]
        return np.array([self._text_s(cell) for cell in cells])

    def seconds(self, read: Floats) -> Floats:
        """Turn all that was read of the column into seconds."""
        return read * self._unit(read)[1]

    def is_unix(self, seconds: Floats) -> bool:
        """Tell whether the column says times since 1970, and not since a moment of the recorder's own."""
        return self._holds_numbers is False or (not self._is_relative and _typical(seconds) >= _LEAST_UNIX_S)

    def describe(self, read: Floats) -> str:
        """Say what unit the column has, where that is no matter of course."""
        name, factor = self._unit(read)
        return f"times in {name}" if factor != 1 else ""

    def _are_numbers(self, cells: Sequence[str]) -> bool | None:
        """Tell whether most of the cells are numbers, None where all are empty."""
        said = [cell for cell in cells if not is_missing(cell)]
        return bool(np.mean(numbers(said, self._marks)[1]) <= 0.5) if said else None

    def _unit(self, read: Floats) -> tuple[str, float]:
        if self._holds_numbers is False or self._is_relative:
            return "seconds", 1.0
        typical = _typical(read)
        for least, name, factor in _UNIX_UNITS:
            if typical >= least:
                return name, factor
        of_name = _RELATIVE_UNITS.get(parsed(self._name).unit or "", ("seconds", 1.0))
        return of_name if typical < _LEAST_UNIX_S else ("seconds", 1.0)

    def _text_s(self, cell: str) -> float:
        text = cell.strip()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return self._other_text_s(text)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()

    def _other_text_s(self, text: str) -> float:
        found = next(filter(None, (pattern.fullmatch(text) for pattern in _PATTERNS)), None)
        if found is None:
            return math.nan
        parts = found.groupdict()
        if "first" in parts:
            parts |= self._day_and_month(text, parts["first"], parts["other"])
        try:
            return _since_epoch_s(parts)
        except ValueError:
            return math.nan

    def _day_and_month(self, text: str, first: str, other: str) -> dict[str, str]:
        day_first = self._day_first
        if day_first is None and first != other:
            if int(first) <= 12 and int(other) <= 12:
                raise RecordingError(
                    f"The date {text!r} in the column {self._name!r} may begin with the day or with the month:"
                    " say --day-first or --month-first, or day_first = true under [time] in a mapping."
                )
            day_first = int(first) > 12
        return {"day": first, "month": other} if day_first else {"day": other, "month": first}


def _typical(values: Floats) -> float:
    """Return the median size: one wild value does not make a recording one of nanoseconds."""
    known = np.abs(values[~np.isnan(values)])
    return float(np.median(known)) if len(known) else 0.0


def _since_epoch_s(parts: dict[str, str | None]) -> float:
    """Return the seconds since 1970 of a date's parts. Raises ValueError where there is no such day."""
    name = parts.get("month_name")
    month = _MONTHS.index(name.lower()) + 1 if name else int(parts["month"] or 0)
    year, day, hour, minute, second = (int(parts[unit] or 0) for unit in ("year", "day", "hour", "minute", "second"))
    if half := parts["half"]:
        hour = hour % 12 + 12 * (half in "Pp")
    moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(parts["offset"]))
    return (moment - _EPOCH).total_seconds() + float(f"0.{parts['fraction'] or 0}")


def _zone(offset: str | None) -> timezone:
    if not offset:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
