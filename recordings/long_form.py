"""Recordings in long form, one reading on each line (time, name, value), turned into one row for each moment.

A row gathers readings of a vehicle until a signal comes for the second time or a second has passed, and has the time of
its last one. In rows without a reading of its own a signal keeps its latest one; before its first it is missing.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress
from typing import Final

import numpy as np

from fleet.errors import RecordingError
from recordings.column_names import LongForm, unit_of
from recordings.numbers import Floats, Indices
from recordings.rows import BLOCK_ROWS, Block, Rows, place_of
from recordings.times import TimeReader

_LONGEST_STEP_S: Final = 1.0
_MOST_SIGNALS: Final = 1000


def pivoted(rows: Rows, form: LongForm, day_first: bool | None = None) -> Rows:
    """Read all of a recording in long form, and return it with a column for each signal.

    Its rows are ordered by vehicle and time. Raises RecordingError as reading does.
    """
    readings = _Readings(rows, form, day_first)
    for block in rows.blocks:
        readings.add(block)
    header = [form.time, *form.vehicles, *readings.signals]
    return replace(
        rows, form=f"{rows.form}, one reading a line", header=header, blocks=readings.blocks(), units=readings.units
    )


class _Readings:
    """All readings of a recording, and the rows that they make."""

    def __init__(self, rows: Rows, form: LongForm, day_first: bool | None) -> None:
        self._path, self._name, self._passed_over = rows.path, form.name, rows.passed_over
        self._time_place = place_of(rows, form.time, "time")
        self._vehicle_places = [place_of(rows, column, "vehicle") for column in form.vehicles]
        self._name_place, self._value_place = place_of(rows, form.name, "name"), place_of(rows, form.value, "value")
        self._unit_place = None if form.unit is None else place_of(rows, form.unit, "unit")
        self._times = TimeReader(form.time, rows.marks, day_first)
        self._vehicles: dict[tuple[str, ...], int] = {}
        self._values_seen: dict[str, str] = {}  # one object for each text that repeats
        self._time_s: list[Floats] = []
        self._time_text: list[str] = []
        self._vehicle, self._signal = array("q"), array("q")
        self._value: list[str] = []
        self.signals: dict[str, int] = {}
        self.units: dict[str, str] = {}

    def add(self, block: Block) -> None:
        """Take in further lines. Raises RecordingError where there are too many signals."""
        columns = self._whole_readings(block)
        self._time_s.append(self._times.read(columns[self._time_place]))
        self._time_text.extend(columns[self._time_place])
        keys = list(zip(*(columns[place] for place in self._vehicle_places), strict=True)) or [()] * len(columns[0])
        self._vehicle.extend(self._vehicles.setdefault(key, len(self._vehicles)) for key in keys)
        names = [name.strip() for name in columns[self._name_place]]
        self._signal.extend(self.signals.setdefault(name, len(self.signals)) for name in names)
        self._value.extend(self._values_seen.setdefault(value, value) for value in columns[self._value_place])
        if self._unit_place is not None:
            said = set(zip(names, columns[self._unit_place], strict=True))
            self.units |= {name: unit_of(unit) for name, unit in said}
        if len(self.signals) > _MOST_SIGNALS:
            raise RecordingError(
                f"{self._path} has more than {_MOST_SIGNALS:,} different names in its column {self._name!r}:"
                " is it really one reading a line?"
            )

    def blocks(self) -> Iterator[Block]:
        """Yield the rows that the readings make."""
        if not self._time_text:
            return
        order, step = self._in_steps()
        last = np.flatnonzero(np.diff(step, append=-1))  # of each row, among the ordered readings
        vehicle = np.array(self._vehicle)[order]
        begins = np.searchsorted(vehicle, vehicle[last])  # where the row's vehicle has its first reading
        signals = np.array(self._signal)[order]
        mine = (np.flatnonzero(signals == signal) for signal in self.signals.values())
        held = [_held(places, step, begins, order) for places in mine]
        keys = list(self._vehicles)
        for first in range(0, len(last), BLOCK_ROWS):
            some = slice(first, first + BLOCK_ROWS)
            who = [keys[number] for number in vehicle[last[some]].tolist()]
            columns = [
                [self._time_text[place] for place in order[last[some]].tolist()],
                *zip(*who, strict=True),
                *([self._value[place] if place >= 0 else "" for place in places[some].tolist()] for places in held),
            ]
            yield Block(columns, first, [0] * len(who))

    def _whole_readings(self, block: Block) -> list[Sequence[str]]:
        """Return the columns of a block without lines that are cut or name no signal."""
        whole = [
            not surplus and bool(name.strip())
            for surplus, name in zip(block.surplus, block.columns[self._name_place], strict=True)
        ]
        if without := len(whole) - sum(whole):
            self._passed_over["no reading"] += without
        return [list(compress(column, whole)) for column in block.columns]

    def _in_steps(self) -> tuple[Indices, Indices]:
        """Return the readings in order of vehicle and time, and the number of the row that each belongs to, intp[N]."""
        time_s = self._times.seconds(np.concatenate(self._time_s))
        vehicle, signal = np.array(self._vehicle), np.array(self._signal)
        order = np.lexsort((time_s, vehicle))
        timed = order[~np.isnan(time_s[order])]
        if without := len(order) - len(timed):
            self._passed_over["no time"] += without
        return timed, _steps(vehicle[timed].tolist(), time_s[timed].tolist(), signal[timed].tolist())


def _held(mine: Indices, step: Indices, begins: Indices, order: Indices) -> Indices:
    """Return the reading that each of S rows has of a signal, by its place in the file intp[S]; -1 before the first.

    `mine` are the places of the signal's readings among the ordered ones, `begins` intp[S] is where those of the row's
    vehicle begin.
    """
    latest = np.full(len(begins), -1)
    latest[step[mine]] = mine
    latest = np.maximum.accumulate(latest)
    return np.where(latest >= begins, order[latest], -1)


def _steps(vehicle: list[int], time_s: list[float], signal: list[int]) -> Indices:
    """Return the number of the row that each of the ordered readings falls into, intp[N]."""
    numbers, number, seen = array("q"), -1, set[int]()
    began = (-1, 0.0)
    for who, when_s, what in zip(vehicle, time_s, signal, strict=True):
        if who != began[0] or what in seen or when_s - began[1] >= _LONGEST_STEP_S:
            number, began = number + 1, (who, when_s)
            seen.clear()
        seen.add(what)
        numbers.append(number)
    return np.array(numbers, np.intp)
