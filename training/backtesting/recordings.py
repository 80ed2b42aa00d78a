"""Recordings of anything, from a CSV file into columns.

Neighbours: the backtest (`fleet backtest`) fits on one recording and scores another; `injection`, beside it, puts
faults into the columns. Rows keep the file's order and number, since every input row gets one row of output; their
times may be in any order. What a channel's name means is not known here.

The file: UTF-8, gzipped or not (told by its first bytes, not by its name), columns separated by commas or
semicolons (whichever the header has more of; in a semicolon file a number may have a decimal comma), the first line
names the columns, blank lines are skipped. A cell that is empty or no finite number is unknown; those that are
neither empty nor "nan" are counted.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TextIO, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.columns import Columns
from fleet.errors import RecordingError

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]

MOST_ROWS: Final = 10_000_000
SINGLE_VEHICLE: Final = "recording"
"""The vehicle's name where no column tells vehicles apart."""

_BLOCK_ROWS: Final = 4096
_GZIP_MAGIC: Final = b"\x1f\x8b"
# A column counts as numeric, when nobody has named it, if half of its cells with text are numbers.
_LEAST_NUMERIC_SHARE: Final = 0.5
# Seconds since 1970 pass this in the year 5138; milliseconds passed it in 1973.
_MOST_SECONDS: Final = 1e11
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_VALUE: Final = frozenset({"", "nan", "null", "none", "na", "n/a"})
_TRUTHS: Final[Mapping[str, bool]] = {"true": True, "yes": True, "false": False, "no": False, "": False}


@dataclass(frozen=True, slots=True)
class Recordings(Columns):
    """R rows of C channels, in the file's order."""

    vehicle_names: tuple[str, ...]
    """As they came, in order of appearance."""
    vehicle: Indices
    """intp[R]: index into `vehicle_names`."""
    time_s: Floats
    """float64[R]: seconds as given, or since 1970 (UTC where the text names no offset)."""
    time_text: list[str]
    """R times as they came."""
    channels: tuple[str, ...]
    values: Floats
    """float64[R, C], NaN = unknown."""
    label: Flags | None
    """bool[R]: the row is labelled anomalous; None without a label column."""
    unreadable_cells: Mapping[str, int]
    """Cells by channel that hold text but no finite number."""

    @property
    def vehicle_text(self) -> list[str]:
        """R vehicle names as they came."""
        return [self.vehicle_names[number] for number in self.vehicle]

    def __len__(self) -> int:
        """Return R."""
        return len(self.vehicle)


def read_recordings(
    path: Path,
    time_column: str,
    vehicle_column: str | None = None,
    label_column: str | None = None,
    channels: Sequence[str] | None = None,
) -> Recordings:
    """Read a CSV file, gzipped or not.

    Args:
        path: The file, at most `MOST_ROWS` rows.
        time_column: Seconds as numbers, relative or since 1970, or ISO 8601 text ("2024-05-01 12:00:00").
        vehicle_column: Which vehicle, trip or machine; None: one vehicle, `SINGLE_VEHICLE`.
        label_column: 0 or empty for ordinary rows, another number for anomalous ones; true, false, yes, no.
        channels: Columns to judge, in this order; None: all numeric ones that are not time, vehicle or label.

    Raises:
        RecordingError: The file cannot be read, a column is missing or twice there, no channel is numeric, there are
            no rows or too many, a time or a label cannot be read.

    """
    with _opened(path) as file:
        delimiter, header = _header(path, file)
        places = _Places(path, header, time_column, vehicle_column, label_column, channels)
        reading = _Reading(path, places, decimal_comma=delimiter == ";")
        for block in _blocks(path, csv.reader(file, delimiter=delimiter), len(header)):
            reading.add(block)
    return reading.recordings()


def column_names(path: Path) -> list[str]:
    """Return the names of a file's columns. Raises RecordingError where it cannot be read or has no header."""
    with _opened(path) as file:
        return _header(path, file)[1]


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a file for reading text; what goes wrong with it until it is closed is told in one sentence."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP_MAGIC
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
                yield text
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"{path} cannot be read ({reason}): name a CSV file, gzipped or not.") from error
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path} is not UTF-8 text at byte {error.start}: save it as UTF-8.") from error
    except csv.Error as error:
        raise RecordingError(f"{path} is no CSV file ({error}): mend or leave out that line.") from error


def _header(path: Path, file: TextIO) -> tuple[str, list[str]]:
    line = file.readline(1_000_000)
    delimiter = ";" if line.count(";") > line.count(",") else ","
    header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    if not any(header):
        raise RecordingError(f"{path} has no header: its first line must name the columns.")
    return delimiter, header


class _Places:
    """Where in a row the wanted columns are."""

    def __init__(
        self,
        path: Path,
        header: Sequence[str],
        time: str,
        vehicle: str | None,
        label: str | None,
        channels: Sequence[str] | None,
    ) -> None:
        self._path, self._header = path, header
        self.time = self._place(time, "time")
        self.vehicle = None if vehicle is None else self._place(vehicle, "vehicle")
        self.label = None if label is None else self._place(label, "label")
        self.chosen = channels is not None
        if channels is None:
            taken = {self.time, self.vehicle, self.label}
            self.channels = {name: at for at, name in enumerate(header) if name and at not in taken}
            for name in self.channels:
                self._place(name, "channel")
        else:
            self.channels = {name: self._place(name, "channel") for name in channels}

    def _place(self, name: str, role: str) -> int:
        count = self._header.count(name)
        if count == 1:
            return self._header.index(name)
        what = "has no column" if not count else f"has {count} columns"
        names = ", ".join(self._header[:30]) + (", …" if len(self._header) > 30 else "")
        raise RecordingError(f"{self._path} {what} {name!r} for the {role}; its columns are {names}.")


def _blocks(path: Path, rows: Iterable[list[str]], width: int) -> Iterator[tuple[list[tuple[str, ...]], int]]:
    """Yield the columns of up to `_BLOCK_ROWS` rows each, and the number of the block's first row."""
    filled = (row for row in rows if row)
    first = 0
    while block := list(islice(filled, _BLOCK_ROWS)):
        if first + len(block) > MOST_ROWS:
            raise RecordingError(f"{path} has more than {MOST_ROWS:,} rows: split it.")
        for number, row in enumerate(block, first + 1):
            if len(row) > width:
                raise RecordingError(f"{path}, row {number}: {len(row)} cells under {width} columns; quote its text.")
            if len(row) < width:
                row.extend([""] * (width - len(row)))
        yield list(zip(*block, strict=True)), first
        first += len(block)


class _Reading:
    """What has been read of a file so far."""

    def __init__(self, path: Path, places: _Places, decimal_comma: bool) -> None:
        self._path, self._places, self._decimal_comma = path, places, decimal_comma
        self._time_text: list[str] = []
        self._time_s: list[Floats] = []
        self._times_are_numbers: bool | None = None
        self._names: dict[str, int] = {}
        self._vehicle: list[Indices] = []
        self._label: list[Flags] = []
        self._values: dict[str, list[Floats]] = {name: [] for name in places.channels}
        self._numbers = dict.fromkeys(places.channels, 0)
        self._unreadable = dict.fromkeys(places.channels, 0)

    def add(self, block: tuple[list[tuple[str, ...]], int]) -> None:
        """Take in the columns of further rows."""
        columns, first = block
        times = columns[self._places.time]
        self._time_text.extend(times)
        self._time_s.append(self._times(times, first))
        if self._places.vehicle is not None:
            names = self._names
            numbers = [names.setdefault(name, len(names)) for name in columns[self._places.vehicle]]
            self._vehicle.append(np.array(numbers, np.intp))
        if self._places.label is not None:
            self._label.append(self._labels(columns[self._places.label], first))
        for name, place in self._places.channels.items():
            numbers_of, unreadable = _numbers(columns[place], self._decimal_comma)
            self._values[name].append(numbers_of)
            self._numbers[name] += int(np.count_nonzero(~np.isnan(numbers_of)))
            self._unreadable[name] += unreadable

    def recordings(self) -> Recordings:
        """Return all rows."""
        if not self._time_text:
            raise RecordingError(f"{self._path} has a header and no rows.")
        channels = self._numeric_channels()
        single = self._places.vehicle is None
        time_s = np.concatenate(self._time_s)
        self._check_seconds(time_s)
        return Recordings(
            vehicle_names=(SINGLE_VEHICLE,) if single else tuple(self._names),
            vehicle=np.zeros(len(time_s), np.intp) if single else np.concatenate(self._vehicle),
            time_s=time_s,
            time_text=self._time_text,
            channels=channels,
            values=np.column_stack([np.concatenate(self._values[name]) for name in channels]),
            label=np.concatenate(self._label) if self._label else None,
            unreadable_cells={name: self._unreadable[name] for name in channels},
        )

    def _times(self, cells: tuple[str, ...], first: int) -> Floats:
        if self._times_are_numbers is None:
            self._times_are_numbers = _number(cells[0], self._decimal_comma) is not None
        if self._times_are_numbers:
            numbers, _ = _numbers(cells, self._decimal_comma)
        else:
            numbers = np.array([_since_epoch(cell) for cell in cells])
        unreadable = np.flatnonzero(np.isnan(numbers))
        if len(unreadable):
            row = int(unreadable[0])
            wanted = "a number of seconds" if self._times_are_numbers else "ISO 8601 text (2024-05-01 12:00:00)"
            raise RecordingError(f"{self._path}, row {first + row + 1}: the time {cells[row]!r} is not {wanted}.")
        return numbers

    def _check_seconds(self, time_s: Floats) -> None:
        if self._times_are_numbers and np.abs(time_s).max() > _MOST_SECONDS:
            largest = float(np.abs(time_s).max())
            raise RecordingError(f"{self._path}: times up to {largest:.4g} look like milliseconds; give seconds.")

    def _labels(self, cells: tuple[str, ...], first: int) -> Flags:
        meaning = {cell: _truth(cell, self._decimal_comma) for cell in set(cells)}
        if None in meaning.values():
            row = next(number for number, cell in enumerate(cells) if meaning[cell] is None)
            raise RecordingError(f"{self._path}, row {first + row + 1}: the label {cells[row]!r} is neither 0 nor 1.")
        return np.array([meaning[cell] for cell in cells], bool)

    def _numeric_channels(self) -> tuple[str, ...]:
        names = tuple(self._values)
        if self._places.chosen:
            for name in names:
                # Empty cells alone are a signal that was lost; words are another kind of column.
                if not self._numbers[name] and self._unreadable[name]:
                    raise RecordingError(f"{self._path}: the channel {name!r} holds no number; leave it out.")
        else:
            names = tuple(name for name in names if self._is_numeric(name))
        if not names:
            raise RecordingError(f"{self._path} has no numeric column beside time, vehicle and label.")
        return names

    def _is_numeric(self, name: str) -> bool:
        numbers = self._numbers[name]
        return numbers > 0 and numbers >= _LEAST_NUMERIC_SHARE * (numbers + self._unreadable[name])


def _numbers(cells: tuple[str, ...], decimal_comma: bool) -> tuple[Floats, int]:
    """Return the cells' numbers float64[R], NaN for others, and how many of those hold text all the same."""
    try:
        numbers = np.array([float(cell) if cell else math.nan for cell in cells])
        unreadable = 0
    except ValueError:
        # A column of words has few different ones: read each once.
        meaning = {cell: _number(cell, decimal_comma) for cell in set(cells)}
        wrong = {cell for cell, number in meaning.items() if number is None and cell.strip().lower() not in _NO_VALUE}
        numbers = np.array([math.nan if (number := meaning[cell]) is None else number for cell in cells])
        unreadable = sum(cell in wrong for cell in cells)
    infinite = np.isinf(numbers)
    numbers[infinite] = math.nan
    return numbers, unreadable + int(np.count_nonzero(infinite))


def _number(cell: str, decimal_comma: bool) -> float | None:
    """Return a cell's finite number, None where it holds none."""
    try:
        number = float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _since_epoch(cell: str) -> float:
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        return math.nan
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()


def _truth(cell: str, decimal_comma: bool) -> bool | None:
    number = _number(cell, decimal_comma)
    return _TRUTHS.get(cell.strip().lower()) if number is None else number != 0
