"""One partition's order and commit, as a pure state machine: no clock, no Kafka, no thread.

What is polled enters in log order. Turns overtake one another, so runs are scored in any order; they are concluded in
log order, because episodes must not overtake. A run that takes a state with it is finished later than those after it,
and still they leave in log order, as one commit at a time: the records to publish, the offset they bring the partition
to, and the ledger after it. A commit stays here until its fate is known; one that is known to have failed is put back,
and may be tried in parts.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fleet.ingest.partition.stages import FinishedRun, RunOffsets

ItemT = TypeVar("ItemT")
ScoredT = TypeVar("ScoredT")
RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True, eq=False)
class Commit(Generic[RecordT]):
    """What one transaction must bring about, all or nothing."""

    runs: list[FinishedRun[RecordT]]
    records: list[RecordT]
    """Those of all runs, in log order."""
    next_offset: int
    read: int  # cumulative counts of the partition, after this commit
    scored: int
    dead_lettered: int
    in_flight: int  # records polled and not covered by it
    keyless: int  # cumulative as well


class _InOrder(Generic[ItemT]):
    """One item for each run: they come in any order and are taken in that of the log."""

    def __init__(self) -> None:
        self._expected: deque[RunOffsets] = deque()
        self._items: dict[RunOffsets, ItemT] = {}

    def __bool__(self) -> bool:
        """Whether anything is expected or waits to be taken."""
        return bool(self._expected)

    @property
    def records(self) -> int:
        """Count the records of all that is expected or waits to be taken."""
        return sum(offsets.records for offsets in self._expected)

    def expect(self, offsets: RunOffsets) -> None:
        self._expected.append(offsets)

    def put(self, offsets: RunOffsets, item: ItemT) -> None:
        if offsets in self._items or offsets not in self._expected:
            raise ValueError(f"the run {offsets} is not expected, or came before")
        self._items[offsets] = item

    def first(self) -> ItemT | None:
        """Return what is next in the log, or None until it has come."""
        return self._items.get(self._expected[0]) if self._expected else None

    def take(self) -> ItemT:
        return self._items.pop(self._expected.popleft())

    def put_back(self, taken: Iterable[tuple[RunOffsets, ItemT]]) -> None:
        """Undo what was taken last, given in log order."""
        again = dict(taken)
        self._expected.extendleft(reversed(again))
        self._items.update(again)


@dataclass(slots=True)
class PartitionPipeline(Generic[ScoredT, RecordT]):
    """The runs of one partition between poll and commit, for one assignment.

    The counts are cumulative over the life of the partition: they start at what the committed offset's ledger says,
    `read` without what was in flight then, for that is read again. So books that do not balance stay so: a new owner
    must not put them right.
    """

    next_offset: int  # where the next record is expected; offsets may have holes, never go back
    read: int = 0
    scored: int = 0
    dead_lettered: int = 0
    keyless: int = 0
    uncommitted_records: int = field(default=0, init=False)
    """Read under this assignment, the commit not known to have succeeded."""
    _to_conclude: _InOrder[ScoredT] = field(default_factory=_InOrder, init=False)
    _to_commit: _InOrder[FinishedRun[RecordT]] = field(default_factory=_InOrder, init=False)
    _pending: Commit[RecordT] | None = field(default=None, init=False)

    @property
    def is_idle(self) -> bool:
        """Whether everything read has been committed."""
        return not self._to_commit and self._pending is None

    @property
    def first_finished_at_s(self) -> float | None:
        """When the oldest run became ready for a commit, or None while there is nothing to commit."""
        first = self._to_commit.first()
        return None if first is None else first.finished_at_s

    def take_in(self, offsets: RunOffsets) -> None:
        """Accept a run of polled records. Raises ValueError when the log would be read backwards."""
        first, following, records = offsets
        if first < self.next_offset or following <= first or records < 1:
            raise ValueError(f"records {first} to {following - 1} ({records}) do not follow offset {self.next_offset}")
        self._to_conclude.expect(offsets)
        self._to_commit.expect(offsets)
        self.next_offset = following
        self.read += records
        self.uncommitted_records += records

    def add_scored(self, offsets: RunOffsets, run: ScoredT) -> None:
        """Take the scored run of these offsets. Raises ValueError when it was not taken in, or came before."""
        self._to_conclude.put(offsets, run)

    def take_scored(self) -> ScoredT | None:
        """Return the next run to conclude, once; None while one before it is not scored yet."""
        return None if self._to_conclude.first() is None else self._to_conclude.take()

    def finish(self, run: FinishedRun[RecordT]) -> None:
        """Take the outcome of a run. Raises ValueError when it was not taken in, or was finished before."""
        self._to_commit.put(run.offsets, run)

    def take_commit(self, most_records: int) -> Commit[RecordT] | None:
        """Return the commit to carry out: the pending one again, else what is finished that nothing precedes.

        At most so many records to publish, or those of the first run where that alone has more.
        """
        if self._pending is not None:
            return self._pending
        runs, records = list[FinishedRun[RecordT]](), list[RecordT]()
        while (run := self._to_commit.first()) is not None:
            if runs and len(records) + len(run.records) > most_records:
                break
            runs.append(self._to_commit.take())
            records += run.records
        if runs:
            self._pending = Commit(
                runs,
                records,
                runs[-1].offsets.following,
                self.read,
                self.scored + sum(run.scored for run in runs),
                self.dead_lettered + sum(run.dead_lettered for run in runs),
                self._to_commit.records,
                self.keyless + sum(run.keys.keyless for run in runs),
            )
        return self._pending

    def put_back(self) -> None:
        """Note that the pending commit is known not to have happened: its runs wait for another one, if any is."""
        if self._pending is not None:
            self._to_commit.put_back((run.offsets, run) for run in self._pending.runs)
            self._pending = None

    def committed(self) -> None:
        """Note that the pending commit succeeded."""
        if self._pending is None:
            raise ValueError("no commit is pending")
        finished = self._pending.scored + self._pending.dead_lettered
        self.uncommitted_records -= finished - self.scored - self.dead_lettered
        self.scored, self.dead_lettered = self._pending.scored, self._pending.dead_lettered
        self.keyless = self._pending.keyless
        self._pending = None

    def resolve(self, committed_offset: int | None) -> bool:
        """Settle an uncertain commit by the offset that Kafka holds; return whether it had succeeded, else put it back.

        Raises ValueError when the offset is neither before nor at the commit's: somebody else has committed.
        """
        if self._pending is None:
            raise ValueError("no commit is pending")
        if committed_offset is not None and committed_offset > self._pending.next_offset:
            raise ValueError(f"offset {committed_offset} was committed by another owner of the partition")
        if committed_offset == self._pending.next_offset:
            self.committed()
            return True
        self.put_back()
        return False
