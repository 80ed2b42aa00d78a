"""The commit logic against a model of Kafka: whatever happens, every offset is published once and in order."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet.ingest.partition.pipeline import Commit, PartitionPipeline
from fleet.ingest.partition.stages import FinishedRun, KeyCounts, RunOffsets


def finished(offsets: RunOffsets, records: list[int], dead_lettered: int = 0, at_s: float = 0.0) -> FinishedRun[int]:
    keys = KeyCounts(keyless=keyless_among(records), foreign=0)
    return FinishedRun(offsets, records, offsets.records - dead_lettered, dead_lettered, at_s, keys)


def keyless_among(records: list[int]) -> int:
    """Every third record has no key."""
    return sum(offset % 3 == 0 for offset in records)


def take_in(pipeline: PartitionPipeline[int, int], first: int, following: int) -> RunOffsets:
    offsets = RunOffsets(first, following, following - first)
    pipeline.take_in(offsets)
    return offsets


class PipelineMachine(RuleBasedStateMachine):
    """Polls, late scores, aborted and uncertain commits, crashes; `published` is what read_committed readers see."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[int] = []
        self.committed_offset: int | None = None
        self.ledger = (0, 0, 0, 0, 0)
        self.log_end = 0
        self.all_read: list[int] = []

    @initialize(start=st.integers(0, 5))
    def assign(self, start: int) -> None:
        self.committed_offset = None
        self.log_end = start
        self._own(start)

    def _own(self, offset: int) -> None:
        read, scored, dead, in_flight, keyless = self.ledger
        self.pipeline: PartitionPipeline[tuple[RunOffsets, list[int]], int] = PartitionPipeline(
            offset, read - in_flight, scored, dead, keyless
        )
        self.polled: list[int] = []
        self.unscored: list[tuple[RunOffsets, list[int]]] = []
        self.unfinished: list[tuple[RunOffsets, list[int]]] = []
        self.concluded: list[int] = []
        self.commit: Commit[int] | None = None
        self.taken: Commit[int] | None = None

    @rule(count=st.integers(1, 5), hole=st.integers(0, 2), holes_inside=st.integers(0, 2))
    def poll(self, count: int, hole: int, holes_inside: int) -> None:
        start = max(self.pipeline.next_offset, self._next_unread()) + hole
        offsets = [start + i for i in range(count - 1)] + [start + count - 1 + holes_inside]
        offsets = [o for o in self.all_read if o >= self.pipeline.next_offset][:count] or offsets
        run = RunOffsets(offsets[0], offsets[-1] + 1, len(offsets))
        self.pipeline.take_in(run)
        self.unscored.append((run, offsets))
        self.polled += offsets
        self.all_read = sorted({*self.all_read, *offsets})

    def _next_unread(self) -> int:
        return self.all_read[-1] + 1 if self.all_read else self.log_end

    @precondition(lambda self: self.unscored)
    @rule(data=st.data())
    def score_some_turn(self, data: st.DataObject) -> None:
        run, offsets = self.unscored.pop(data.draw(st.integers(0, len(self.unscored) - 1)))
        self.pipeline.add_scored(run, (run, offsets))
        while (scored := self.pipeline.take_scored()) is not None:
            self.concluded += scored[1]
            self.unfinished.append(scored)

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def finish_some_run(self, data: st.DataObject) -> None:
        run, offsets = self.unfinished.pop(data.draw(st.integers(0, len(self.unfinished) - 1)))
        self.pipeline.finish(finished(run, offsets, data.draw(st.integers(0, len(offsets)))))

    @rule(most_records=st.integers(1, 12))
    def begin_commit(self, most_records: int) -> None:
        again = self.commit
        self.commit = self.pipeline.take_commit(most_records)
        assert again is None or again is self.commit, "a pending commit must be tried again unchanged"
        if self.commit is not None and self.commit is not self.taken:
            self.taken = self.commit
            assert self.commit.in_flight == sum(offset >= self.commit.next_offset for offset in self.polled)

    def _apply(self) -> None:
        assert self.commit is not None
        self.published += self.commit.records
        self.committed_offset = self.commit.next_offset
        done = self.commit
        self.ledger = (done.read, done.scored, done.dead_lettered, done.in_flight, done.keyless)

    @precondition(lambda self: self.commit)
    @rule()
    def commit_succeeds(self) -> None:
        self._apply()
        self.pipeline.committed()
        self.commit = None

    @precondition(lambda self: self.commit)
    @rule()
    def commit_fails(self) -> None:
        self.pipeline.put_back()
        self.commit = None

    @precondition(lambda self: self.commit)
    @rule(happened=st.booleans())
    def commit_is_uncertain(self, happened: bool) -> None:
        if happened:
            self._apply()
        assert self.pipeline.resolve(self.committed_offset) == happened
        self.commit = None

    @rule(commit_was_applied=st.booleans())
    def crash_or_revoke(self, commit_was_applied: bool) -> None:
        if self.commit is not None and commit_was_applied:
            self._apply()
        start = self.log_end if self.committed_offset is None else self.committed_offset
        self._own(start)

    @invariant()
    def every_offset_below_the_committed_one_is_published_once_in_order(self) -> None:
        below = [o for o in self.all_read if self.committed_offset is not None and o < self.committed_offset]
        assert self.published == below

    @invariant()
    def runs_are_concluded_once_in_log_order(self) -> None:
        if hasattr(self, "pipeline"):
            unscored = {offset for _, offsets in self.unscored for offset in offsets}
            first_unscored = min(unscored, default=self.pipeline.next_offset)
            assert self.concluded == [offset for offset in self.polled if offset < first_unscored]

    @invariant()
    def the_books_balance(self) -> None:
        if hasattr(self, "pipeline"):
            uncommitted = sum(offset >= (self.committed_offset or 0) for offset in self.polled)
            assert self.pipeline.uncommitted_records == uncommitted
            read, scored, dead, in_flight, keyless = self.ledger
            assert scored + dead == len(self.published)
            assert read == scored + dead + in_flight
            assert keyless == keyless_among(self.published)


TestPipeline = PipelineMachine.TestCase


def test_take_in_refuses_to_read_backwards() -> None:
    pipeline: PartitionPipeline[int, int] = PartitionPipeline(10)
    with pytest.raises(ValueError, match="do not follow offset 10"):
        pipeline.take_in(RunOffsets(9, 11, 2))


def test_runs_come_once_and_are_those_that_were_taken_in() -> None:
    pipeline: PartitionPipeline[str, int] = PartitionPipeline(0)
    offsets, strange = take_in(pipeline, 0, 3), RunOffsets(3, 4, 1)
    pipeline.add_scored(offsets, "scored")
    pipeline.finish(finished(offsets, [0, 1, 2]))
    for run in (offsets, strange):
        with pytest.raises(ValueError, match="not expected, or came before"):
            pipeline.add_scored(run, "again")
        with pytest.raises(ValueError, match="not expected, or came before"):
            pipeline.finish(finished(run, [0, 1, 2]))


def test_scored_runs_are_taken_once_and_wait_for_those_before_them() -> None:
    pipeline: PartitionPipeline[str, int] = PartitionPipeline(0)
    first, second = take_in(pipeline, 0, 2), take_in(pipeline, 2, 4)
    pipeline.add_scored(second, "second")
    assert pipeline.take_scored() is None
    pipeline.add_scored(first, "first")
    assert [pipeline.take_scored() for _ in range(3)] == ["first", "second", None]


def test_resolve_refuses_an_offset_of_somebody_else() -> None:
    pipeline: PartitionPipeline[int, int] = PartitionPipeline(0)
    pipeline.finish(finished(take_in(pipeline, 0, 3), [0, 1, 2]))
    pipeline.take_commit(100)
    with pytest.raises(ValueError, match="another owner"):
        pipeline.resolve(7)


def test_books_that_do_not_balance_stay_so_under_a_new_owner_and_take_no_room() -> None:
    lost = 3
    pipeline: PartitionPipeline[int, int] = PartitionPipeline(10, 10 + lost, 9, 1)
    pipeline.finish(finished(take_in(pipeline, 10, 14), [10, 11, 12, 13]))
    take_in(pipeline, 14, 16)
    assert pipeline.uncommitted_records == 6
    commit = pipeline.take_commit(100)
    assert commit is not None
    assert commit.read - commit.scored - commit.dead_lettered - commit.in_flight == lost
    pipeline.committed()
    assert (pipeline.uncommitted_records, commit.in_flight) == (2, 2)


def test_take_commit_waits_for_earlier_runs() -> None:
    pipeline: PartitionPipeline[int, int] = PartitionPipeline(0)
    first, second = take_in(pipeline, 0, 2), take_in(pipeline, 2, 4)
    pipeline.finish(finished(second, [2, 3], at_s=1.0))
    assert pipeline.take_commit(100) is None
    assert pipeline.first_finished_at_s is None
    pipeline.finish(finished(first, [0, 1], at_s=2.0))
    assert pipeline.first_finished_at_s == 2.0
    commit = pipeline.take_commit(100)
    assert commit is not None
    assert commit.records == [0, 1, 2, 3]
    assert commit.next_offset == 4


def test_what_is_put_back_is_committed_in_parts_of_at_most_so_many_records() -> None:
    pipeline: PartitionPipeline[int, int] = PartitionPipeline(0)
    for first in (0, 2, 4):
        pipeline.finish(finished(take_in(pipeline, first, first + 2), [first, first + 1]))
    assert pipeline.take_commit(100) is not None
    pipeline.put_back()
    parts = []
    while (commit := pipeline.take_commit(3)) is not None:
        parts.append((commit.records, commit.next_offset, commit.in_flight))
        pipeline.committed()
    assert parts == [([0, 1], 2, 4), ([2, 3], 4, 2), ([4, 5], 6, 0)]
    assert pipeline.is_idle
