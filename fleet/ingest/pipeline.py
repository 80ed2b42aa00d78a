"""One partition's order and commit, as a pure state machine: no clock, no Kafka, no thread.

What is polled enters in log order as work in flight. Scoring may finish it in any order; it leaves in log order, as
one commit at a time: the records to publish, the offset they bring the partition to, and the ledger after it. A
commit stays here until its fate is known; one that is known to have failed is put back, and may be tried in parts.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

RecordT = TypeVar("RecordT")


@dataclass(slots=True, eq=False)
class Work(Generic[RecordT]):
    """The share of one turn that belongs to one partition: a run of consecutive records."""

    next_offset: int  # the offset after its last record
    read: int  # records polled
    records: Sequence[RecordT] = ()  # to publish, in log order; known when finished
    scored: int = 0
    dead_lettered: int = 0
    finished_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class Commit(Generic[RecordT]):
    """What one transaction must bring about, all or nothing."""

    records: list[RecordT]
    next_offset: int
    read: int  # cumulative counts of the partition, after this commit
    scored: int
    dead_lettered: int
    in_flight: int  # records polled and not covered by it


@dataclass(slots=True)
class PartitionPipeline(Generic[RecordT]):
    """The work of one partition between poll and commit, for one assignment.

    The counts are cumulative over the life of the partition: they start at what the committed offset's ledger says,
    `read` without what was in flight then, for that is read again. So books that do not balance stay so: a new owner
    must not put them right.
    """

    next_offset: int  # where the next record is expected; offsets may have holes, never go back
    read: int = 0
    scored: int = 0
    dead_lettered: int = 0
    uncommitted_records: int = field(default=0, init=False)
    """Read under this assignment, the commit not known to have succeeded."""
    _in_flight: deque[Work[RecordT]] = field(default_factory=deque)
    _pending: Commit[RecordT] | None = None
    _committing: list[Work[RecordT]] = field(default_factory=list)
    """The runs of the pending commit."""

    @property
    def is_idle(self) -> bool:
        """Whether everything read has been committed."""
        return not self._in_flight and self._pending is None

    @property
    def first_finished_at_s(self) -> float | None:
        """When the oldest work became ready for a commit, or None while there is nothing to commit."""
        return self._in_flight[0].finished_at_s if self._in_flight else None

    def take_in(self, first_offset: int, next_offset: int, read: int) -> Work[RecordT]:
        """Accept a run of polled records. Raises ValueError when the log would be read backwards."""
        if first_offset < self.next_offset or next_offset <= first_offset or read < 1:
            raise ValueError(
                f"records {first_offset} to {next_offset - 1} ({read}) do not follow offset {self.next_offset}"
            )
        work: Work[RecordT] = Work(next_offset, read)
        self._in_flight.append(work)
        self.next_offset = next_offset
        self.read += read
        self.uncommitted_records += read
        return work

    def finish(
        self,
        work: Work[RecordT],
        records: Sequence[RecordT],
        scored: int,
        dead_lettered: int,
        now_s: float,
    ) -> None:
        """Note the outcome of a run.

        Raises ValueError unless the outcome accounts for each of the run's records, once.
        """
        if scored + dead_lettered != work.read:
            raise ValueError(f"{work.read} records were read, but {scored} scored and {dead_lettered} dead-lettered")
        if work.finished_at_s is not None:
            raise ValueError("this run was finished before")
        work.records, work.scored, work.dead_lettered, work.finished_at_s = records, scored, dead_lettered, now_s

    def take_commit(self, most_records: int) -> Commit[RecordT] | None:
        """Return the commit to carry out: the pending one again, else what is finished that nothing precedes.

        At most so many records to publish, or those of the first run where that alone has more.
        """
        if self._pending is not None:
            return self._pending
        works, records = self._committing, 0
        while self._in_flight and self._in_flight[0].finished_at_s is not None:
            records += len(self._in_flight[0].records)
            if works and records > most_records:
                break
            works.append(self._in_flight.popleft())
        if works:
            self._pending = Commit(
                [record for work in works for record in work.records],
                works[-1].next_offset,
                self.read,
                self.scored + sum(work.scored for work in works),
                self.dead_lettered + sum(work.dead_lettered for work in works),
                sum(work.read for work in self._in_flight),
            )
        return self._pending

    def put_back(self) -> None:
        """Note that the pending commit is known not to have happened: its runs wait for another one, if any is."""
        self._in_flight.extendleft(reversed(self._committing))
        self._committing.clear()
        self._pending = None

    def committed(self) -> None:
        """Note that the pending commit succeeded."""
        if self._pending is None:
            raise ValueError("no commit is pending")
        finished = self._pending.scored + self._pending.dead_lettered
        self.uncommitted_records -= finished - self.scored - self.dead_lettered
        self.scored, self.dead_lettered = self._pending.scored, self._pending.dead_lettered
        self._committing.clear()
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
