"""A recorded data set as telemetry in columns: what `sending` sends, read by a mapping.

Neighbours: `recordings` reads the file, whatever its dialect; `mapping` says which column is which field, or `by_name`
where nobody said it. A recording is held as columns of numbers while it is sent, some 100 bytes a row.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fleet.errors import MappingError, RecordingError
from recordings.long_form import pivoted
from recordings.numbers import Flags, Floats, Indices, Marks, is_missing, numbers
from recordings.rows import Block, Rows, names_of, opened_rows
from recordings.summary import summary
from recordings.times import TimeReader
from simulator.replay.by_name import long_form_of, mapping_by_name
from simulator.replay.mapping import RecordingMapping

ROWS_BETWEEN_PROGRESS = 50_000


@dataclass
class Recording:
    """A data set in columns, R rows in the order of the file; see `sending.schedule` for the order of sending."""

    vehicle_ids: list[str]
    vehicle: Indices
    """intp[R]: index into `vehicle_ids`."""
    time_s: Floats
    """float64[R]: as recorded, Unix or relative seconds."""
    numbers: dict[str, Floats]
    """Field or extra column -> float64[R], NaN where the cell is empty."""
    texts: dict[str, list[Any]]
    """Field or extra column -> values of length R, None where the cell is empty."""
    rows_read: int
    skipped: Counter[str]
    """Reason -> rows that are not sent."""
    left_out: Counter[str]
    """Column -> cells that hold neither nothing nor a usable value; the row is sent without them."""
    is_unix: bool = True
    """Whether `time_s` are Unix seconds."""
    description: str = ""
    """What the file was taken for."""

    def __len__(self) -> int:
        return len(self.time_s)


def read_recording(
    path: Path,
    mapping: RecordingMapping | None,
    limit_vehicles: int | None = None,
    label: str = "",
    say: Callable[[str], None] = lambda _: None,
    day_first: bool | None = None,
) -> Recording:
    """Read a recording of any dialect; without a mapping, by the names of its columns.

    `day_first` says whether 01/11/2026 is in November, where the mapping does not.

    Raises:
        RecordingError: The file cannot be read, is larger than 10 million rows, or no row of it gives an event.
        MappingError: It lacks a column of the mapping; or no name of a column says what it is.

    """
    if mapping is not None and mapping.time.day_first is not None:
        day_first = mapping.time.day_first
    with opened_rows(path) as rows:
        if (form := long_form_of(rows, mapping)) is not None:
            rows = pivoted(rows, form, day_first)
        reader = _Reader(rows, mapping or mapping_by_name(rows), limit_vehicles, day_first)
        for block in rows.blocks:
            reader.add(block)
            if reader.rows_read % ROWS_BETWEEN_PROGRESS < len(block.surplus):
                say(f"{reader.rows_read // ROWS_BETWEEN_PROGRESS * ROWS_BETWEEN_PROGRESS:,} rows read")
        return reader.recording(label)


class _Reader:
    """Takes in blocks of rows, and makes columns of those that give an event."""

    def __init__(
        self, rows: Rows, mapping: RecordingMapping, limit_vehicles: int | None, day_first: bool | None
    ) -> None:
        place = _places(rows, mapping)
        self._rows, self._mapping, self._limit_vehicles = rows, mapping, limit_vehicles
        self._times = TimeReader(mapping.time.column, rows.marks, day_first, mapping.time.kind == "relative_s")
        self._time_place = place[mapping.time.column]
        self._vehicle_places = [place[column] for column in mapping.vehicle_columns]
        self._fields = {name: _field(name, mapping, place, rows.marks) for name in mapping.fields}
        self._extra_places = {column: place[column] for column in mapping.extra_columns}
        self._extras: dict[str, list[str]] = {column: [] for column in self._extra_places}
        self._known: dict[str, str] = {}  # one object for each text that repeats
        self._names: dict[tuple[str, ...], str] = {}
        self._vehicles: dict[str, int] = {}
        self._vehicle: list[Indices] = []
        self._time: list[Floats] = []
        self._example_time = ""
        self.rows_read = 0
        self._skipped: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def add(self, block: Block) -> None:
        """Append the rows of a block to the columns, or count why they are skipped."""
        columns = block.columns
        self.rows_read += len(block.surplus)
        time = self._read_times(columns[self._time_place])
        names = self._vehicle_names(columns, len(time))
        cells = {name: field.read(columns[field.place]) for name, field in self._fields.items()}
        kept = self._select(
            {
                "another number of cells than the header": np.array(block.surplus) == 0,
                "no vehicle": np.array([bool(name) for name in names]),
                "no time": ~np.isnan(time),
                "no signal": np.any([read.known for read in cells.values()], axis=0),
            }
        )
        vehicle = np.array([self._vehicle_index(name) for name in compress(names, kept)], np.intp)
        kept[kept] = vehicle >= 0
        self._skipped["beyond the limit of vehicles"] += int(np.count_nonzero(vehicle < 0))
        self._vehicle.append(vehicle[vehicle >= 0])
        self._time.append(time[kept])
        for name, read in cells.items():
            self._fields[name].keep(read, kept)
            self._left_out[self._mapping.fields[name].column] += int(np.count_nonzero(read.unreadable & kept))
        for column, place in self._extra_places.items():
            texts = list(compress(columns[place], kept))
            self._extras[column].extend(map(self._known.setdefault, texts, texts))

    def recording(self, label: str) -> Recording:
        """Return what was read, extra columns as numbers where every cell of theirs is one."""
        time = np.concatenate([np.empty(0), *self._time])
        if not len(time):
            raise RecordingError(self._why_nothing())
        fields = {name: field.column() for name, field in self._fields.items()}
        extras = {name: _as_numbers(self._extras.pop(name), self._rows.marks) for name in self._extra_places}
        columns = {**fields, **extras}
        time_s = self._times.seconds(time)
        vehicle = np.concatenate(self._vehicle)
        ending = f"-{label}" if label else ""
        return Recording(
            [f"{self._mapping.vehicle_prefix}{name}{ending}" for name in self._vehicles],
            vehicle,
            time_s,
            {name: column for name, column in columns.items() if isinstance(column, np.ndarray)},
            {name: column for name, column in columns.items() if isinstance(column, list)},
            self.rows_read,
            +self._skipped,
            +self._left_out,
            self._mapping.time.kind == "unix_s" or self._times.is_unix(time_s),
            self._description(time, vehicle, time_s),
        )

    def _select(self, conditions: Mapping[str, Flags]) -> Flags:
        """Return which rows meet all conditions, and count each other row for the first that it does not."""
        kept = np.ones(len(next(iter(conditions.values()))), bool)
        for reason, met in conditions.items():
            self._skipped[reason] += int(np.count_nonzero(kept & ~met))
            kept &= met
        return kept

    def _read_times(self, cells: Sequence[str]) -> Floats:
        times = self._times.read(cells)
        if not self._example_time and np.isnan(times).any():
            self._example_time = next(cell for cell, time in zip(cells, times, strict=True) if math.isnan(time))
        return times

    def _vehicle_names(self, columns: Sequence[Sequence[str]], rows: int) -> list[str]:
        if not self._vehicle_places:
            return [Path(self._rows.path.name.removesuffix(".gz")).stem] * rows
        keys = zip(*(columns[place] for place in self._vehicle_places), strict=True)
        names = self._names
        return [names[key] if key in names else names.setdefault(key, _vehicle_name(key)) for key in keys]

    def _vehicle_index(self, name: str) -> int:
        if name in self._vehicles:
            return self._vehicles[name]
        if self._limit_vehicles is not None and len(self._vehicles) >= self._limit_vehicles:
            return -1
        return self._vehicles.setdefault(name, len(self._vehicles))

    def _description(self, time: Floats, vehicle: Indices, time_s: Floats) -> str:
        form = self._rows.described(self._times.describe(time))
        mapped = ", ".join(self._mapping.described())
        unused = [column for column in self._rows.header if column and column not in self._mapping.columns]
        rest = f"; not mapped: {names_of(unused)}" if unused else ""
        return f"{summary(form, vehicle, time_s)}; {mapped}{rest}"

    def _why_nothing(self) -> str:
        if not self.rows_read:
            return f"{self._rows.path} has a header and no rows."
        reasons = ", ".join(f"{count:,} have {reason}" for reason, count in (+self._skipped).most_common())
        path, time = self._rows.path, self._mapping.time.column
        hint = f"; the column {time!r} says {self._example_time!r}" if self._skipped["no time"] else ""
        fields = ", ".join(self._mapping.described())
        return (
            f"No row of {path} gives an event: of {self.rows_read:,} rows {reasons}{hint}."
            f" It was taken for {self._rows.form}; {fields}."
        )


class _Cells(NamedTuple):
    """What R cells of a field say."""

    values: Floats | list[Any]
    known: Flags
    unreadable: Flags
    """bool[R]: it holds neither nothing nor a usable value."""


@dataclass
class _NumberField:
    """Makes a column of numbers in the unit of the specification."""

    place: int
    marks: Marks
    factor: float
    offset: float
    parts: list[Floats] = field(default_factory=list)

    def read(self, cells: Sequence[str]) -> _Cells:
        """Read the field's cells of a block."""
        read, unreadable = numbers(cells, self.marks)
        values = read * self.factor + self.offset
        return _Cells(values, ~np.isnan(values), unreadable)

    def keep(self, read: _Cells, kept: Flags) -> None:
        """Append the values of some rows of a block."""
        self.parts.append(np.asarray(read.values)[kept])

    def column(self) -> Floats:
        """Return everything that was kept."""
        return np.concatenate(self.parts)


@dataclass
class _WordField:
    """Makes a column of the specification's words."""

    place: int
    words: Mapping[str, str | bool]
    values: list[Any] = field(default_factory=list)

    def read(self, cells: Sequence[str]) -> _Cells:
        """Read the field's cells of a block."""
        values = [self.words.get(cell.strip()) for cell in cells]
        known = np.array([value is not None for value in values])
        return _Cells(values, known, ~known & ~np.array([is_missing(cell) for cell in cells]))

    def keep(self, read: _Cells, kept: Flags) -> None:
        """Append the values of some rows of a block."""
        self.values.extend(compress(read.values, kept))

    def column(self) -> list[Any]:
        """Return everything that was kept."""
        return self.values


def _field(name: str, mapping: RecordingMapping, place: Mapping[str, int], marks: Marks) -> _NumberField | _WordField:
    mapped = mapping.fields[name]
    if mapped.values is not None:
        return _WordField(place[mapped.column], mapped.values)
    return _NumberField(place[mapped.column], marks, *mapping.conversion(name))


def _places(rows: Rows, mapping: RecordingMapping) -> dict[str, int]:
    place = {column: index for index, column in enumerate(rows.header)}
    if missing := [column for column in mapping.columns if column not in place]:
        raise MappingError(
            f"The recording {rows.path} has no column {missing[0]!r}: correct the mapping, or take another one; "
            f"its columns are {names_of(rows.header)}."
        )
    return place


def _vehicle_name(cells: Sequence[str]) -> str:
    parts = [_without_fraction(cell.strip()) for cell in cells]
    return "-".join(parts) if all(parts) else ""


def _without_fraction(name: str) -> str:
    """Write the vehicle number 7.0 as 7: tables turn whole numbers into floats."""
    whole, _, fraction = name.partition(".")
    return whole if whole.isdigit() and fraction.strip("0") == "" else name


def _as_numbers(cells: list[str], marks: Marks) -> Floats | list[str | None]:
    """Return float64[R] with NaN for missing values; or where one holds something else the texts, None for empty."""
    column, unreadable = numbers(cells, marks)
    return [cell.strip() or None for cell in cells] if unreadable.any() else column
