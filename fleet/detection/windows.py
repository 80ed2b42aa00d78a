"""Each vehicle's recent past, and the features of its next event: columns in, float32[N, K] out.

Neighbours on the event's way: `fleet.events.telemetry` hands over the columns of one partition in log order, the scorer
takes the features that `fleet.detection.features` lays out. `VehicleWindows` is the only memory between two events of a
vehicle: a struct of arrays, one row per vehicle.

The past is held as exponential means over 5, 30, 120 and 480 seconds, not as the last events themselves: that says as
much to the detector with a fraction of the memory, of the snapshots and of the work, and an event costs the same
whether ten vehicles send everything or ten thousand do. What is done to each event stands in `fleet.detection.past`,
compiled by numba: every event depends on its vehicle's last one, and columns would need a pass per event of the busiest
vehicle.

The result does not depend on how the stream is cut into blocks, except that vehicles are forgotten only between two
blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.columns import Columns
from fleet.detection.features import FeaturePlan
from fleet.detection.past.kernel import advance
from fleet.detection.past.records import Answers, Events, KernelPlan, Vehicles
from fleet.records.scored import Standing

Floats: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]

# A reading may be anything that JSON can say; products of two clipped readings still fit a float64.
SIGNAL_LIMIT: Final = 1e30
LATE_HORIZON_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class WindowedBlock(Columns):
    """The features of one block of N events, in the order of the events."""

    features: Features
    """float32[N, K] in the order of the plan; NaN = unknown, otherwise finite."""
    warming_up: Flags
    """bool[N]: no usable history (the vehicle's first event, one after a gap, or a late one of no known silence)."""
    repeat: Flags
    """bool[N]: same time and same signals as one of the vehicle's latest events; it did not enter the history."""
    is_doubtful: Flags
    """bool[N]: a reading, a position or a time so far from those before that the next events have to confirm it."""
    usual_interval_s: Floats
    """float64[N]: how often the vehicle reports; 0 = not known."""
    stands: Flags
    """bool[N]: the vehicle stands, or stood when its speed was last known."""

    def standing(self) -> Standing:
        """Say it as a scored record does."""
        flags = self.warming_up.tolist(), self.repeat.tolist(), self.is_doubtful.tolist()
        return Standing(*flags, self.usual_interval_s.tolist(), self.stands.tolist())


class VehicleWindows:
    """The recent past of one partition's vehicles, at most `max_vehicles` of them.

    Vehicles that were idle for `idle_s` of the log's time are forgotten (where there is no log, by the median time
    of a block); when there are more than `max_vehicles`, those seen longest ago are. Both are counted in `evictions`.
    What comes up to `late_horizon_s` late of a vehicle's silence is scored against what was known before it.
    """

    def __init__(
        self,
        plan: FeaturePlan,
        idle_s: float = 1800.0,
        max_vehicles: int = 200_000,
        *,
        late_horizon_s: float = LATE_HORIZON_S,
    ) -> None:
        if max_vehicles < 1 or not idle_s > 0:
            message = f"idle_s must be above 0 and max_vehicles at least 1, but they are {idle_s} and {max_vehicles}."
            raise ValueError(message)
        self.plan = plan
        self.idle_s = max(idle_s, plan.spec.gap_s)
        self.max_vehicles = max_vehicles
        self.late_horizon_s = late_horizon_s
        self.evictions = 0
        self._kernel_plan = KernelPlan.of(plan, late_horizon_s)
        self._row_of: dict[str, int] = {}
        self._free_rows: Indices = np.empty(0, np.intp)
        self._free_count = 0  # of these, from the front
        self._swept_at_s = -np.inf
        self._capacity = 0
        self._allocate(min(1024, max_vehicles))

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, vehicle_id: object) -> bool:
        return vehicle_id in self._row_of

    @property
    def bytes_per_vehicle(self) -> int:
        """Size of one vehicle's row in the arrays."""
        return sum(int(array[:1].nbytes) for array in (*self._vehicles, self._seen_s))

    def push(
        self, vehicle_ids: Sequence[str], timestamp_s: Floats, signals: Floats, appended_at_s: Floats | None = None
    ) -> WindowedBlock:
        """Take the next N events of the partition and return their features.

        `timestamp_s` float64[N] is event time in Unix seconds, `signals` float64[N, S] has the columns of the
        specification's fields with NaN for what is unknown, `appended_at_s` float64[N] is the log's time, unknown
        where there is no log.
        """
        count = len(vehicle_ids)
        if count > self.max_vehicles:  # a block's own vehicles must all fit at once
            return self._push_in_parts(vehicle_ids, timestamp_s, signals, appended_at_s)
        features = np.empty((count, len(self.plan.features)), np.float32)
        warming_up, repeats, is_doubtful, stands = np.empty((4, count), np.bool_)
        block = WindowedBlock(features, warming_up, repeats, is_doubtful, np.empty(count), stands)
        if count == 0:
            return block
        # By the log's time, where there is one: in a block of a few events, one sender's wrong clock is the median.
        clock_s = float(np.median(timestamp_s) if appended_at_s is None else np.max(appended_at_s))
        self._forget_idle(clock_s)
        rows = self._rows(vehicle_ids)
        appended_s = np.full(count, np.nan) if appended_at_s is None else appended_at_s
        free_rows, taken = self._free_rows[: self._free_count][::-1], np.zeros(1, np.int64)
        events = Events(rows, timestamp_s, appended_s, np.clip(signals, -SIGNAL_LIMIT, SIGNAL_LIMIT), free_rows)
        answers = Answers(features, warming_up, repeats, is_doubtful, block.usual_interval_s, stands, taken)
        advance(self._kernel_plan, events, self._vehicles, answers)
        self._seen_s[rows] = clock_s
        self._seen_s[self._take_free(int(taken[0]))] = clock_s
        return block

    def heard_since(self, since_s: float, slot: int, slots: int) -> list[tuple[str, int]]:
        """Return the vehicles that were heard since then, of every `slots`-th row from `slot` on, with their rows."""
        seen_s, late_of = self._seen_s[slot::slots], self._vehicles.clocks["late_of"][slot::slots]
        rows = np.flatnonzero((seen_s >= since_s) & (late_of == 0.0)) * slots + slot
        return list(zip(self._id_of[rows].tolist(), rows.tolist(), strict=True))

    def past_of(self, row: int) -> Vehicles:
        """Return what is remembered of one vehicle: a view of its row, without the first axis."""
        return Vehicles(*(column[row] for column in self._vehicles))

    def snapshot(self) -> dict[str, Any]:
        """Return everything that `restore` needs: the vehicles' ids, and their rows as arrays.

        Further rows follow those of the vehicles: pasts before a silence.
        """
        own = np.fromiter(self._row_of.values(), np.intp, len(self._row_of))
        rows = np.concatenate([own, self._rows_before_silences(own)])
        place_of = np.zeros(self._capacity + 1)
        place_of[rows + 1] = np.arange(1, len(rows) + 1)
        kept = Vehicles(*(column[rows] for column in self._vehicles))
        _renumber(kept.clocks, place_of)
        return {
            "vehicle_ids": list(self._row_of),
            **{name: _plain(column) for name, column in kept._asdict().items()},
            "seen_s": self._seen_s[rows],
            "swept_at_s": self._swept_at_s,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where the windows were that `snapshot` was taken of; what was here before is forgotten.

        Raises ValueError when it was taken under another channel specification or holds too many vehicles.
        """
        ids = list(snapshot["vehicle_ids"])
        kept = {name: snapshot[name] for name in self._vehicles._fields}
        fits = all(kept[name].shape[1:] == _plain(own[:0]).shape[1:] for name, own in self._vehicles._asdict().items())
        count = max(len(ids), min(len(snapshot["seen_s"]), self.max_vehicles))  # of pasts, as many as there is room for
        if not fits or len(ids) > self.max_vehicles:
            message = f"the snapshot of {len(ids)} vehicles does not fit these windows: another specification, or bound"
            raise ValueError(message)
        self._row_of, self._free_count, self._capacity = {}, 0, 0
        self._allocate(min(max(1024, count), self.max_vehicles))
        rows = self._take_free(count)
        self._assign(ids, rows[: len(ids)])
        for name, own in self._vehicles._asdict().items():
            own[rows] = np.ascontiguousarray(kept[name][:count]).view(own.dtype).reshape(count, *own.shape[1:])
        row_of = np.zeros(len(snapshot["seen_s"]) + 1)
        row_of[1 : count + 1] = rows + 1
        restored = self._vehicles.clocks[rows]
        _renumber(restored, row_of)
        self._vehicles.clocks[rows] = restored
        self._seen_s[rows] = snapshot["seen_s"][:count]
        self._swept_at_s = float(snapshot["swept_at_s"])

    def _push_in_parts(
        self, vehicle_ids: Sequence[str], timestamp_s: Floats, signals: Floats, appended_at_s: Floats | None
    ) -> WindowedBlock:
        parts = []
        for start in range(0, len(vehicle_ids), self.max_vehicles):
            run = slice(start, start + self.max_vehicles)
            appended = None if appended_at_s is None else appended_at_s[run]
            parts.append(self.push(vehicle_ids[run], timestamp_s[run], signals[run], appended))
        return WindowedBlock.joined(parts)

    def _rows(self, vehicle_ids: Sequence[str]) -> Indices:
        rows = np.fromiter(map(self._row_of.get, vehicle_ids, repeat(-1)), np.intp, len(vehicle_ids))
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            newcomers = dict.fromkeys(vehicle_ids[i] for i in unknown.tolist())
            self._make_room(len(newcomers), rows[rows >= 0])
            self._assign(list(newcomers), self._take_free(len(newcomers)))
            rows = np.fromiter(map(self._row_of.__getitem__, vehicle_ids), np.intp, len(vehicle_ids))
        return rows

    def _assign(self, vehicle_ids: list[str], rows: Indices) -> None:
        self._row_of.update(zip(vehicle_ids, rows.tolist(), strict=True))
        self._id_of[rows] = vehicle_ids

    def _rows_before_silences(self, rows: Indices) -> Indices:
        """Return the rows of the pasts before silences that these vehicles' rows still lead to."""
        kept: Indices = self._vehicles.clocks["late_row"][rows].astype(np.intp)
        rows, kept = rows[kept > 0], kept[kept > 0] - 1
        leads: Flags = self._vehicles.clocks["late_of"][kept] == rows + 1
        return kept[leads]

    def _make_room(self, wanted: int, rows_in_use: Indices) -> None:
        """Have `wanted` free rows: grow up to `max_vehicles`, then forget those seen longest ago."""
        while self._free_count <= wanted and self._capacity < self.max_vehicles:
            self._allocate(min(2 * self._capacity, self.max_vehicles))
        lacking = wanted - self._free_count
        if lacking <= 0:
            return
        # More than needed, so that a fleet slightly too large does not pay for this at every block.
        age_order_s = self._seen_s.copy()
        age_order_s[rows_in_use] = np.inf
        age_order_s[self._free_rows[: self._free_count]] = np.inf
        evictable = int((age_order_s < np.inf).sum())
        count = min(max(lacking, self.max_vehicles // 16), evictable)
        self._forget(np.argpartition(age_order_s, count - 1)[:count])

    def _forget_idle(self, clock_s: float) -> None:
        if abs(clock_s - self._swept_at_s) < self.idle_s / 16:
            return
        self._swept_at_s = clock_s
        kept_for_s = np.where(self._vehicles.clocks["late_of"] > 0.0, self.late_horizon_s, self.idle_s)
        # Seen far in the future means that the clock itself ran ahead; it is as useless as far in the past.
        self._forget(np.flatnonzero(np.isfinite(self._seen_s) & (np.abs(clock_s - self._seen_s) > kept_for_s)))

    def _forget(self, rows: Indices) -> None:
        if not len(rows):
            return
        doomed = set(rows.tolist())
        self._row_of = {vehicle_id: row for vehicle_id, row in self._row_of.items() if row not in doomed}
        self._give_back(rows)
        self._seen_s[rows] = -np.inf
        self.evictions += int((self._vehicles.clocks["late_of"][rows] == 0.0).sum())
        for column, nothing in zip(self._vehicles, Vehicles.none(self.plan, 1), strict=True):
            column[rows] = nothing

    def _allocate(self, capacity: int) -> None:
        """Grow the arrays to `capacity` rows; the first call creates them."""
        used, plan = self._capacity, self.plan
        grown = Vehicles.none(plan, capacity)
        seen_s, id_of = np.full(capacity, -np.inf), np.empty(capacity, object)
        if used:
            for new, old in zip((*grown, seen_s, id_of), (*self._vehicles, self._seen_s, self._id_of), strict=True):
                new[:used] = old
        self._vehicles, self._seen_s, self._id_of = grown, seen_s, id_of
        self._capacity = capacity
        self._free_rows = np.concatenate(
            [self._free_rows[: self._free_count], np.empty(capacity - self._free_count, np.intp)]
        )
        self._give_back(np.arange(capacity - 1, used - 1, -1))

    def _give_back(self, rows: Indices) -> None:
        self._free_rows[self._free_count : self._free_count + len(rows)] = rows
        self._free_count += len(rows)

    def _take_free(self, count: int) -> Indices:
        """Take so many free rows, which must be there; they are taken in the kernel's order."""
        end, self._free_count = self._free_count, self._free_count - count
        return self._free_rows[self._free_count : end][::-1]

    _vehicles: Vehicles
    _seen_s: Floats
    _id_of: npt.NDArray[np.object_]
    """object[rows]: whose row it is, where it is one's."""


def warm_up(plan: FeaturePlan) -> None:
    """Compile the kernel, or load it from disk, before the first event has to wait for it."""
    VehicleWindows(plan, max_vehicles=1).push(["nobody"], np.zeros(1), np.full((1, len(plan.spec.fields)), np.nan))


def _renumber(clocks: Any, new_of: Floats) -> None:
    """Give rows that clocks name other numbers: `new_of` float64[R + 1] by 1 + the old one, 0 = none."""
    for name in ("late_row", "late_of"):
        clocks[name] = new_of[clocks[name].astype(np.intp)]


def _plain(records: Any) -> Any:
    """Return records of any shape as bytes [..., B]: a snapshot has no names."""
    if records.dtype.names is None:
        return records
    return np.ascontiguousarray(records).view(np.uint8).reshape(*records.shape, records.dtype.itemsize)
