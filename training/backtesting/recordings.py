"""Recordings of anything, from a file into columns.

Neighbours: `recordings` reads the file, whatever its dialect; the backtest (`fleet backtest`) fits on one recording and
scores another; `injection`, beside it, puts faults into the columns. Rows keep the file's order and number, since every
input row gets one row of output; their times may be in any order. What a channel's name means is not known here.

A cell that is empty, missing or no finite number is unknown; those that hold anything else are counted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from fleet.columns import Columns
from fleet.errors import RecordingError
from recordings import column_names
from recordings.long_form import pivoted
from recordings.numbers import Flags, Floats, Indices, Marks, is_missing, numbers
from recordings.rows import Block, Rows, names_of, opened_rows, place_of
from recordings.times import TimeReader

SINGLE_VEHICLE: Final = "recording"
"""The vehicle's name where no column tells vehicles apart."""

# A column counts as numeric, when nobody has named it, if half of its cells with text are numbers.
_LEAST_NUMERIC_SHARE: Final = 0.5
_TRUTHS: Final[Mapping[str, bool]] = {"true": True, "yes": True, "false": False, "no": False}


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
    form: str = ""
    """What the file was taken for, in a few words."""
    roles: tuple[str, str] = ("time", "vehicle")
    """The columns of time and vehicle."""

    @property
    def vehicle_text(self) -> list[str]:
        """R vehicle names as they came."""
        return [self.vehicle_names[number] for number in self.vehicle]

    def __len__(self) -> int:
        """Return R."""
        return len(self.vehicle)


def read_recordings(
    path: Path,
    time_column: str | None = None,
    vehicle_column: str | None = None,
    label_column: str | None = None,
    channels: Sequence[str] | None = None,
    ignored: Collection[str] = (),
    day_first: bool | None = None,
) -> Recordings:
    """Read a recording of any dialect.

    Args:
        path: The file, at most 10 million rows.
        time_column: Times as numbers or text; None: the column whose name says so.
        vehicle_column: Which vehicle, trip or machine; None: the column whose name says so, or else one vehicle,
            `SINGLE_VEHICLE`.
        label_column: 0 or empty for ordinary rows, another number for anomalous ones; true, false, yes, no.
        channels: Columns to judge, in this order; None: all numeric ones without another role.
        ignored: Columns that have another role elsewhere.
        day_first: Whether 01/11/2026 is in November; None refuses such times.

    Raises:
        RecordingError: The file cannot be read, a column is missing or twice there, no channel is numeric, there are
            no rows or too many, a time or a label cannot be read.

    """
    told = _Roles(time_column, vehicle_column, label_column)
    others = {*ignored, *(channels or ())}
    with opened_rows(path) as opened:
        rows = _in_wide_form(opened, told, others, day_first)
        reading = _Reading(rows, _Places(rows, _found(rows, told, others), channels, ignored), day_first)
        for block in rows.blocks:
            reading.add(block)
        return reading.recordings()


class _Roles(NamedTuple):
    """Which columns are no channels."""

    time: str | None
    vehicle: str | None
    label: str | None


def _in_wide_form(rows: Rows, told: _Roles, others: set[str], day_first: bool | None) -> Rows:
    """Give a recording in long form one row for each moment."""
    vehicles = [told.vehicle] if told.vehicle else []
    form = column_names.long_form(rows.header, told.time, vehicles, {*others, told.label or ""})
    return rows if form is None else pivoted(rows, form, day_first)


def _found(rows: Rows, told: _Roles, others: set[str]) -> _Roles:
    """Find by their names the columns that nobody told. Raises RecordingError where none is the time."""
    free = [name for name in rows.header if name not in {*told, *others}]
    time = told.time or column_names.time_column(free)
    if time is None:
        raise RecordingError(
            f"{rows.path} has no column whose name says that it is the time: name it with --time;"
            f" its columns are {names_of(rows.header)}."
        )
    return _Roles(time, told.vehicle or column_names.vehicle_column(free), told.label)


class _Places:
    """Where in a row the wanted columns are."""

    def __init__(self, rows: Rows, roles: _Roles, channels: Sequence[str] | None, ignored: Collection[str]) -> None:
        self.time = place_of(rows, roles.time or "", "time")
        self.vehicle = None if roles.vehicle is None else place_of(rows, roles.vehicle, "vehicle")
        self.label = None if roles.label is None else place_of(rows, roles.label, "label")
        self.chosen = channels is not None
        if channels is None:
            channels = [name for name in rows.header if name and name not in {*roles, *ignored}]
        self.channels = {name: place_of(rows, name, "channel") for name in channels}


class _Reading:
    """Takes in blocks of rows, one by one."""

    def __init__(self, rows: Rows, places: _Places, day_first: bool | None) -> None:
        self._rows, self._places, self._path = rows, places, rows.path
        self._times = TimeReader(rows.header[places.time], rows.marks, day_first)
        self._time_text: list[str] = []
        self._time: list[Floats] = []
        self._names: dict[str, int] = {}
        self._vehicle: list[Indices] = []
        self._label: list[Flags] = []
        self._values: dict[str, list[Floats]] = {name: [] for name in places.channels}
        self._numbers = dict.fromkeys(places.channels, 0)
        self._unreadable = dict.fromkeys(places.channels, 0)

    def add(self, block: Block) -> None:
        """Take in the columns of further rows."""
        self._refuse_long_rows(block)
        columns = block.columns
        times = columns[self._places.time]
        self._time_text.extend(times)
        self._time.append(self._times_of(times, block.first))
        if self._places.vehicle is not None:
            names = self._names
            numbers_of = [names.setdefault(name, len(names)) for name in columns[self._places.vehicle]]
            self._vehicle.append(np.array(numbers_of, np.intp))
        if self._places.label is not None:
            self._label.append(self._labels(columns[self._places.label], block.first))
        for name, place in self._places.channels.items():
            values, unreadable = numbers(columns[place], self._rows.marks)
            self._values[name].append(values)
            self._numbers[name] += int(np.count_nonzero(~np.isnan(values)))
            self._unreadable[name] += int(np.count_nonzero(unreadable))

    def recordings(self) -> Recordings:
        """Return all rows."""
        if not self._time_text:
            raise RecordingError(f"{self._path} has a header and no rows.")
        channels = self._numeric_channels()
        single = self._places.vehicle is None
        time = np.concatenate(self._time)
        return Recordings(
            vehicle_names=(SINGLE_VEHICLE,) if single else tuple(self._names),
            vehicle=np.zeros(len(time), np.intp) if single else np.concatenate(self._vehicle),
            time_s=self._times.seconds(time),
            time_text=self._time_text,
            channels=channels,
            values=np.column_stack([np.concatenate(self._values[name]) for name in channels]),
            label=np.concatenate(self._label) if self._label else None,
            unreadable_cells={name: self._unreadable[name] for name in channels},
            form=self._rows.described(self._times.describe(time)),
            roles=self._role_names(),
        )

    def _role_names(self) -> tuple[str, str]:
        vehicle = self._places.vehicle
        return self._rows.header[self._places.time], "vehicle" if vehicle is None else self._rows.header[vehicle]

    def _refuse_long_rows(self, block: Block) -> None:
        if max(block.surplus) > 0:
            row = next(place for place, surplus in enumerate(block.surplus) if surplus > 0)
            cells, width = len(self._rows.header) + block.surplus[row], len(self._rows.header)
            raise RecordingError(
                f"{self._path}, row {block.first + row + 1}: {cells} cells under {width} columns; quote its text."
            )

    def _times_of(self, cells: Sequence[str], first: int) -> Floats:
        times = self._times.read(cells)
        unreadable = np.flatnonzero(np.isnan(times))
        if len(unreadable):
            row = int(unreadable[0])
            raise RecordingError(
                f"{self._path}, row {first + row + 1}: the time {cells[row]!r} is not {self._times.wanted}."
            )
        return times

    def _labels(self, cells: Sequence[str], first: int) -> Flags:
        meaning = {cell: _truth(cell, self._rows.marks) for cell in set(cells)}
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


def _truth(cell: str, marks: Marks) -> bool | None:
    """Return what a label says, None where it is neither a number nor a word for it."""
    if is_missing(cell):
        return False
    [number], [unreadable] = numbers([cell], marks)
    return _TRUTHS.get(cell.strip().lower()) if unreadable else bool(number)
