"""Streams a recorded data set through the live system: each recording becomes a vehicle.

Neighbours: `replay_mapping` says which column is which field, `pacing` when to send, `sender` hands over to Kafka,
`commands/replay.py` runs it. A recording is held as columns of numbers while it is sent, some 100 bytes a row.
"""

import csv
import gzip
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.errors import MappingError
from simulator.pacing import SteadyClock, Stop, due_slices
from simulator.replay_mapping import RecordingMapping
from simulator.sender import Sender

MOST_ROWS = 10_000_000
ROWS_BETWEEN_PROGRESS = 50_000
_GAP_IN_SEQUENCE_S = 1.0

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """How to send a recording.

    `speed_up` is the pace relative to the recording's own (infinity: as fast as it goes); event times keep their own
    spacing whatever the pace. `start_s` is the event time of the first event, None keeps the recorded times.
    """

    speed_up: float
    start_s: float | None
    in_sequence: bool = False


@dataclass
class Recording:
    """A data set in columns, R rows in the order of the file; see `schedule` for the order of sending."""

    vehicle_ids: list[str]
    vehicle: NDArray[np.int64]
    """int64[R]: index into `vehicle_ids`."""
    time_s: NDArray[np.float64]
    """float64[R]: as recorded, Unix or relative seconds."""
    numbers: dict[str, NDArray[np.float64]]
    """Field or extra column -> float64[R], NaN where the cell is empty."""
    texts: dict[str, list[Any]]
    """Field or extra column -> values of length R, None where the cell is empty."""
    rows_read: int
    skipped: Counter[str]
    """Reason -> rows that are not sent."""
    left_out: Counter[str]
    """Column -> cells that hold neither nothing nor a usable value; the row is sent without them."""

    def __len__(self) -> int:
        return len(self.time_s)


def read_recording(
    path: Path,
    mapping: RecordingMapping,
    limit_vehicles: int | None = None,
    label: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Recording:
    """Read a CSV file, gzip-compressed or plain.

    Raises MappingError: the file cannot be read, has no rows, lacks a column, or is larger than 10 million rows.
    """
    try:
        with _opened(path) as file:
            return _read(csv.reader(file), path, mapping, limit_vehicles, label, say)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise MappingError(f"The recording {path} cannot be read ({error}): give a CSV file, plain or .gz.") from None


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


@dataclass
class _Reader:
    """Takes rows one by one into growing columns."""

    mapping: RecordingMapping
    header: list[str]
    limit_vehicles: int | None
    label: str
    vehicles: dict[str, int] = field(default_factory=dict)
    vehicle: "array[int]" = field(default_factory=lambda: array("q"))
    time_s: "array[float]" = field(default_factory=lambda: array("d"))
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        place = {column: index for index, column in enumerate(self.header)}
        mapping = self.mapping
        self.vehicle_places = [place[column] for column in mapping.vehicle_columns]
        self.time_place = place[mapping.time.column]
        self.number_places = {
            name: (place[mapped.column], *mapping.conversion(name))
            for name, mapped in mapping.fields.items()
            if mapped.values is None
        }
        self.word_places = {
            name: (place[mapped.column], mapped.values)
            for name, mapped in mapping.fields.items()
            if mapped.values is not None
        }
        self.extra_places = {column: place[column] for column in mapping.extra_columns}
        self.numbers: dict[str, array[float]] = {name: array("d") for name in self.number_places}
        self.texts: dict[str, list[Any]] = {name: [] for name in [*self.word_places, *self.extra_places]}
        self.known: dict[str, str] = {}  # one object for each text that repeats

    def take(self, row: list[str]) -> None:
        """Append a row to the columns, or count why it is skipped."""
        if len(row) != len(self.header):
            self.skipped["another number of cells than the header"] += 1
            return
        time_s, name = _number(row[self.time_place]), self._vehicle_name(row)
        if not name or time_s is None:
            self.skipped["no time" if name else "no vehicle"] += 1
            return
        signals = self._signals(row)
        if not any(value is not None for value in signals.values()):
            self.skipped["no signal"] += 1
            return
        if (index := self._vehicle_index(name)) is None:
            self.skipped["beyond the limit of vehicles"] += 1
            return
        self.vehicle.append(index)
        self.time_s.append(time_s)
        self._append(signals, row)

    def _append(self, signals: dict[str, Any], row: list[str]) -> None:
        for name, column in self.numbers.items():
            column.append(math.nan if signals[name] is None else signals[name])
        for name in self.word_places:
            self.texts[name].append(signals[name])
        for name, place in self.extra_places.items():
            text = row[place].strip()
            self.texts[name].append(self.known.setdefault(text, text) if text else None)

    def _vehicle_name(self, row: list[str]) -> str:
        parts = [_without_fraction(row[place].strip()) for place in self.vehicle_places]
        return "-".join(parts) if all(parts) else ""

    def _vehicle_index(self, name: str) -> int | None:
        if name in self.vehicles:
            return self.vehicles[name]
        if self.limit_vehicles is not None and len(self.vehicles) >= self.limit_vehicles:
            return None
        return self.vehicles.setdefault(name, len(self.vehicles))

    def _signals(self, row: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, (place, factor, offset) in self.number_places.items():
            value = _number(row[place])
            found[name] = None if value is None else value * factor + offset
            self._note_unusable(name, row[place], found[name])
        for name, (place, words) in self.word_places.items():
            found[name] = words.get(row[place].strip())
            self._note_unusable(name, row[place], found[name])
        return found

    def _note_unusable(self, name: str, cell: str, value: object) -> None:
        if value is None and cell.strip():
            self.left_out[self.mapping.fields[name].column] += 1

    def recording(self, rows_read: int) -> Recording:
        """Return what was read, extra columns as numbers where every cell of theirs is one."""
        numbers = {name: np.array(column) for name, column in self.numbers.items()}
        texts = dict(self.texts)
        for name in self.extra_places:
            if (column := _as_numbers(texts[name])) is not None:
                numbers[name] = column
                del texts[name]
        prefix = self.mapping.vehicle_prefix
        suffix = f"-{self.label}" if self.label else ""
        return Recording(
            [f"{prefix}{name}{suffix}" for name in self.vehicles],
            np.array(self.vehicle, np.int64),
            np.array(self.time_s),
            numbers,
            texts,
            rows_read,
            self.skipped,
            self.left_out,
        )


def _read(
    rows: Iterator[list[str]],
    path: Path,
    mapping: RecordingMapping,
    limit_vehicles: int | None,
    label: str,
    say: Callable[[str], None],
) -> Recording:
    header = [column.strip() for column in next(rows, [])]
    if missing := [column for column in mapping.columns if column not in header]:
        raise MappingError(
            f"The recording {path} has no column {missing[0]!r}: correct the mapping, or take another one; "
            f"its columns are {', '.join(header) or 'none'}."
        )
    reader = _Reader(mapping, header, limit_vehicles, label)
    count = 0
    for count, row in enumerate((row for row in rows if row), start=1):
        if count > MOST_ROWS:
            raise MappingError(f"The recording {path} has more than {MOST_ROWS:,} rows: split it into several files.")
        reader.take(row)
        if count % ROWS_BETWEEN_PROGRESS == 0:
            say(f"{count:,} rows read")
    return reader.recording(count)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _without_fraction(name: str) -> str:
    """Write the vehicle number 7.0 as 7: tables turn whole numbers into floats."""
    whole, _, fraction = name.partition(".")
    return whole if whole.isdigit() and fraction.strip("0") == "" else name


def _as_numbers(values: list[str | None]) -> NDArray[np.float64] | None:
    """Return float64[R] with NaN for None, or None when a value is no number."""
    try:
        column = np.array([math.nan if value is None else float(value) for value in values])
    except ValueError:
        return None
    return column


def schedule(recording: Recording, plan: ReplayPlan) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Decide the order of sending and each row's seconds since the first: (intp[R], float64[R]), both in that order.

    Every recording begins at 0 (side by side), or one second after the end of the one before it (in sequence).
    """
    count = len(recording.vehicle_ids)
    first_s = np.full(count, np.inf)
    np.minimum.at(first_s, recording.vehicle, recording.time_s)
    last_s = np.full(count, -np.inf)
    np.maximum.at(last_s, recording.vehicle, recording.time_s)
    begins_s = np.zeros(count)
    if plan.in_sequence:
        begins_s[1:] = np.cumsum(last_s - first_s + _GAP_IN_SEQUENCE_S)[:-1]
    since_s = recording.time_s - (first_s - begins_s)[recording.vehicle]
    order = np.argsort(since_s, kind="stable")
    return order, since_s[order]


def start_without_future_s(recording: Recording, plan: ReplayPlan, now_s: float) -> float:
    """Return the event time to start at (Unix seconds) so that no event is sent before it happened.

    Sent faster than recorded, events have to begin in the past: the last one is then sent at its own time. At the
    recorded pace or slower they begin now.
    """
    _, since_s = schedule(recording, plan)
    lasts_s = float(since_s[-1]) if len(since_s) else 0.0
    return now_s - max(lasts_s - lasts_s / plan.speed_up, 0.0)


def replay(recording: Recording, plan: ReplayPlan, sender: Sender, stop: Stop) -> int:
    """Send a recording at the plan's pace; returns how many rows were handed over before `stop` was set."""
    order, since_s = schedule(recording, plan)
    clock = SteadyClock()
    time_s = recording.time_s[order] if plan.start_s is None else plan.start_s + since_s
    pace = np.full(len(order), -np.inf) if math.isinf(plan.speed_up) else clock.now_s() + since_s / plan.speed_up
    handed_over = 0
    for rows in due_slices(pace, clock.now_s, stop):
        keys, values = _encoded(recording, order[rows], time_s[rows])
        sender.send(keys, values)
        handed_over += len(keys)
    return handed_over


def _encoded(
    recording: Recording, rows: NDArray[np.intp], time_s: NDArray[np.float64]
) -> tuple[list[str], list[bytes]]:
    keys = [recording.vehicle_ids[index] for index in recording.vehicle[rows]]
    columns: dict[str, Iterable[Any]] = {
        **{
            name: [None if math.isnan(x) else x for x in column[rows].tolist()]
            for name, column in recording.numbers.items()
        },
        **{name: [column[row] for row in rows] for name, column in recording.texts.items()},
    }
    return keys, [
        _encode({"vehicleId": key, "timestamp": time, **_known(columns, values)})
        for key, time, values in zip(keys, time_s.tolist(), zip(*columns.values(), strict=True), strict=True)
    ]


def _known(columns: Iterable[str], values: tuple[Any, ...]) -> dict[str, Any]:
    """Leave out what a row does not know: an unknown value is not zero."""
    return {name: value for name, value in zip(columns, values, strict=True) if value is not None}
