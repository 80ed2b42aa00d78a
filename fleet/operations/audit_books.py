"""The books of an audit: every telemetry record of a stretch of the log against what came out for it.

Pure bookkeeping over numpy arrays; `fleet.operations.audit` walks the topics and enters what it reads here, block by
block. Memory is a byte for each offset of the stretch, an entry for each vehicle, and 32 bytes for each
discrepancy that is kept.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Flags = NDArray[np.bool_]


class DiscrepancyKind(StrEnum):
    """What can be wrong with an event or with a record that came out."""

    MISSING = "missing"
    DOUBLED = "doubled"
    REORDERED = "reordered"
    MISPLACED = "misplaced"
    UNSOURCED = "unsourced"
    UNSIGNED = "unsigned"
    MISMATCHED = "mismatched"


MEANING: Final = {
    DiscrepancyKind.MISSING: "events without a result or a dead letter",
    DiscrepancyKind.DOUBLED: "results or dead letters of an event that already had one",
    DiscrepancyKind.REORDERED: "results behind a later one of the same vehicle",
    DiscrepancyKind.MISPLACED: "records in another partition than their source",
    DiscrepancyKind.UNSOURCED: "records whose source is not in the log",
    DiscrepancyKind.UNSIGNED: "records without a readable header `source`",
    DiscrepancyKind.MISMATCHED: "results whose body names another source than their header",
}


class Outcome(StrEnum):
    """How an event comes out; names one of the two topics."""

    SCORED = "scored"
    DEAD_LETTERED = "dead-lettered"


class Stretch(NamedTuple):
    """What is audited of one telemetry partition: the offsets from `first` up to and without `next`.

    `end` is the end of the partition's log; from `next` on nothing need have come out yet. A partition of which
    nothing is audited has an empty stretch: without one it does not exist.
    """

    first: int
    next: int
    end: int


class Results(NamedTuple):
    """N records of one partition of the scored or the dead-letter topic, in log order."""

    outcome: Outcome
    partition: int
    offsets: Int64s  # int64[N]: their own
    source_partitions: Int64s  # int64[N]; -1 where the header cannot be read
    source_offsets: Int64s  # int64[N]
    keys: Sequence[bytes | None]
    mismatched: Flags  # bool[N]: the body names another source


class Discrepancy(NamedTuple):
    """What is wrong: with a telemetry record (partition -1: unknown), and with what came out of it, if anything did."""

    kind: DiscrepancyKind
    source_partition: int
    source_offset: int
    outcome: Outcome | None
    partition: int
    offset: int


class Books:
    """Takes the records of all audited partitions, telemetry first, and knows what does not balance.

    At most `kept_discrepancies` of each kind are remembered (None: all); all are counted. One thread.
    """

    def __init__(self, stretches: Mapping[int, Stretch], kept_discrepancies: int | None = None) -> None:
        self.stretches = dict(stretches)
        self.discrepancies: Counter[DiscrepancyKind] = Counter()
        self.outcomes: Counter[tuple[int, Outcome]] = Counter()
        self.events: Counter[int] = Counter()
        self.not_yet: Counter[int] = Counter()
        self._kept_discrepancies = kept_discrepancies
        self._rows: dict[tuple[DiscrepancyKind, Outcome | None], list[Int64s]] = {}
        self._kept: Counter[DiscrepancyKind] = Counter()
        self._state = {p: np.zeros(max(s.next - s.first, 0), np.uint8) for p, s in self.stretches.items()}
        self._orders: dict[tuple[Outcome, int], _VehicleOrder] = {}

    def take_telemetry(self, partition: int, offsets: Int64s) -> None:
        """Enter records that stand in the telemetry log: int64[N], ascending, not before the stretch."""
        stretch = self.stretches[partition]
        inside = offsets[offsets < stretch.next]
        self._state[partition][inside - stretch.first] = _EXPECTED
        self.events[partition] += len(inside)
        self.not_yet[partition] += len(offsets) - len(inside)

    def take_results(self, results: Results) -> None:
        """Enter what came out, partition by partition in log order."""
        unsigned = results.source_partitions < 0
        self._note(DiscrepancyKind.UNSIGNED, results, unsigned)
        for partition in np.unique(results.source_partitions[~unsigned]).tolist():
            self._take_results_of(partition, results, results.source_partitions == partition)

    def close(self) -> None:
        """Count what is missing; nothing may be entered afterwards."""
        for partition, stretch in self.stretches.items():
            offsets = np.flatnonzero(self._state[partition] == _EXPECTED) + stretch.first
            nowhere = np.full(len(offsets), -1, np.int64)
            self._keep(
                DiscrepancyKind.MISSING, None, np.full(len(offsets), partition, np.int64), offsets, nowhere, nowhere
            )

    def kept(self, kind: DiscrepancyKind) -> Iterator[Discrepancy]:
        """Return the discrepancies of a kind that were kept."""
        for (noted_kind, outcome), blocks in self._rows.items():
            if noted_kind is kind:
                for row in (row for block in blocks for row in block.tolist()):
                    yield Discrepancy(kind, row[0], row[1], outcome, row[2], row[3])

    def kept_count(self, kind: DiscrepancyKind) -> int:
        """Count the discrepancies of a kind that were kept."""
        return self._kept[kind]

    @property
    def is_balanced(self) -> bool:
        """Whether every event came out exactly once, in order and in its place."""
        return not self.discrepancies.total()

    def _take_results_of(self, partition: int, results: Results, ours: Flags) -> None:
        stretch = self.stretches.get(partition, _NO_PARTITION)
        offsets = results.source_offsets
        inside = ours & (offsets >= stretch.first) & (offsets < stretch.next)
        again, absent = self._settle(partition, results.outcome, offsets, inside)
        absent |= ours & (offsets >= stretch.end)
        self._note(DiscrepancyKind.UNSOURCED, results, absent)
        self._note(DiscrepancyKind.DOUBLED, results, again)
        self._note(DiscrepancyKind.MISMATCHED, results, inside & ~absent & results.mismatched)
        if partition != results.partition:
            self._note(DiscrepancyKind.MISPLACED, results, inside & ~absent & ~again)
            return
        in_order = ours & ~again & ~absent
        self._note(DiscrepancyKind.REORDERED, results, inside & self._overtaken(results, in_order))

    def _settle(self, partition: int, outcome: Outcome, offsets: Int64s, inside: Flags) -> tuple[Flags, Flags]:
        """Mark events as come out; returns bool[N] for those that had come out before, and for those that never were.

        An event that comes twice in one block has come out before the second time.
        """
        again, absent = np.zeros(len(offsets), np.bool_), np.zeros(len(offsets), np.bool_)
        if not inside.any():
            return again, absent
        rows = np.flatnonzero(inside)
        places = offsets[rows] - self.stretches[partition].first
        state = self._state[partition]
        before = state[places]
        first_in_block = np.zeros(len(rows), np.bool_)
        first_in_block[np.unique(places, return_index=True)[1]] = True
        is_new = (before == _EXPECTED) & first_in_block
        state[places[is_new]] = _CAME_OUT
        self.outcomes[partition, outcome] += int(is_new.sum())
        absent[rows] = before == _NO_RECORD
        again[rows] = (before != _NO_RECORD) & ~is_new
        return again, absent

    def _overtaken(self, results: Results, rows: Flags) -> Flags:
        """Mark results behind a later one of the same vehicle in their partition."""
        order = self._orders.setdefault((results.outcome, results.partition), _VehicleOrder())
        index = np.flatnonzero(rows)
        keys = results.keys if len(index) == len(rows) else [results.keys[i] for i in index.tolist()]
        overtaken = np.zeros(len(rows), np.bool_)
        overtaken[index] = order.overtaken(keys, results.source_offsets[index])
        return overtaken

    def _note(self, kind: DiscrepancyKind, results: Results, rows: Flags) -> None:
        if rows.any():
            own = np.full(int(rows.sum()), results.partition, np.int64)
            sources = results.source_partitions[rows], results.source_offsets[rows]
            self._keep(kind, results.outcome, *sources, own, results.offsets[rows])

    def _keep(self, kind: DiscrepancyKind, outcome: Outcome | None, *columns: Int64s) -> None:
        count = len(columns[0])
        room = count if self._kept_discrepancies is None else min(self._kept_discrepancies - self._kept[kind], count)
        self.discrepancies[kind] += count
        self._kept[kind] += room
        if room:
            self._rows.setdefault((kind, outcome), []).append(np.stack(columns, axis=1)[:room])


_NO_PARTITION: Final = Stretch(0, 0, 0)
_NO_RECORD: Final = 0
_EXPECTED: Final = 1
_CAME_OUT: Final = 2


class _VehicleOrder:
    """The latest source offset of each vehicle among the results of one partition."""

    def __init__(self) -> None:
        self._latest: dict[bytes | None, int] = {}
        self._highest = -1

    def overtaken(self, keys: Sequence[bytes | None], offsets: Int64s) -> Flags:
        """Mark which of the next N results come behind a later one of their vehicle; a null key is no vehicle."""
        if not len(offsets):
            return np.zeros(0, np.bool_)
        if offsets[0] > self._highest and bool((np.diff(offsets) > 0).all()):  # so a vehicle's are in order as well
            self._latest.update(zip(keys, offsets.tolist(), strict=True))
            self._highest = int(offsets[-1])
            return np.zeros(len(offsets), np.bool_)
        self._highest = max(self._highest, int(offsets.max()))
        return np.array([self._is_overtaken(k, o) for k, o in zip(keys, offsets.tolist(), strict=True)], np.bool_)

    def _is_overtaken(self, key: bytes | None, offset: int) -> bool:
        if key is None:
            return False
        latest = self._latest.get(key, -1)
        self._latest[key] = max(latest, offset)
        return offset < latest
