"""The commit logic against a model of Kafka: whatever happens, every offset is published once and in order."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet.ingest.pipeline import Commit, PartitionPipeline, Work


class PipelineMachine(RuleBasedStateMachine):
    """Polls, late scores, aborted and uncertain commits, crashes; `published` is what read_committed readers see."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[int] = []
        self.committed_offset: int | None = None
        self.ledger = (0, 0, 0, 0)
        self.log_end = 0
        self.all_read: list[int] = []

    @initialize(start=st.integers(0, 5))
    def assign(self, start: int) -> None:
        self.committed_offset = None
        self.log_end = start
        self._own(start)

    def _own(self, offset: int) -> None:
        read, scored, dead, in_flight = self.ledger
        self.pipeline: PartitionPipeline[int] = PartitionPipeline(offset, read - in_flight, scored, dead)
        self.polled: list[int] = []
        self.unfinished: list[tuple[Work[int], list[int]]] = []
        self.commit: Commit[int] | None = None
        self.taken: Commit[int] | None = None

    @rule(count=st.integers(1, 5), hole=st.integers(0, 2), holes_inside=st.integers(0, 2))
    def poll(self, count: int, hole: int, holes_inside: int) -> None:
        start = max(self.pipeline.next_offset, self._next_unread()) + hole
        offsets = [start + i for i in range(count - 1)] + [start + count - 1 + holes_inside]
        offsets = [o for o in self.all_read if o >= self.pipeline.next_offset][:count] or offsets
        work = self.pipeline.take_in(offsets[0], offsets[-1] + 1, len(offsets))
        self.unfinished.append((work, offsets))
        self.polled += offsets
        self.all_read = sorted({*self.all_read, *offsets})

    def _next_unread(self) -> int:
        return self.all_read[-1] + 1 if self.all_read else self.log_end

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def finish_some_turn(self, data: st.DataObject) -> None:
        work, offsets = self.unfinished.pop(data.draw(st.integers(0, len(self.unfinished) - 1)))
        dead = data.draw(st.integers(0, len(offsets)))
        self.pipeline.finish(work, offsets, len(offsets) - dead, dead, 0.0)

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
        self.ledger = (self.commit.read, self.commit.scored, self.commit.dead_lettered, self.commit.in_flight)

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
    def the_books_balance(self) -> None:
        if hasattr(self, "pipeline"):
            uncommitted = sum(offset >= (self.committed_offset or 0) for offset in self.polled)
            assert self.pipeline.uncommitted_records == uncommitted
            read, scored, dead, in_flight = self.ledger
            assert scored + dead == len(self.published)
            assert read == scored + dead + in_flight


TestPipeline = PipelineMachine.TestCase


def test_take_in_refuses_to_read_backwards() -> None:
    pipeline: PartitionPipeline[int] = PartitionPipeline(10)
    with pytest.raises(ValueError, match="do not follow offset 10"):
        pipeline.take_in(9, 11, 2)


def test_finish_refuses_a_count_that_does_not_add_up() -> None:
    pipeline: PartitionPipeline[int] = PartitionPipeline(0)
    work = pipeline.take_in(0, 3, 3)
    with pytest.raises(ValueError, match="3 records were read"):
        pipeline.finish(work, [1, 2], scored=2, dead_lettered=0, now_s=0.0)


def test_resolve_refuses_an_offset_of_somebody_else() -> None:
    pipeline: PartitionPipeline[int] = PartitionPipeline(0)
    pipeline.finish(pipeline.take_in(0, 3, 3), [0, 1, 2], 3, 0, 0.0)
    pipeline.take_commit(100)
    with pytest.raises(ValueError, match="another owner"):
        pipeline.resolve(7)


def test_books_that_do_not_balance_stay_so_under_a_new_owner_and_take_no_room() -> None:
    lost = 3
    pipeline: PartitionPipeline[int] = PartitionPipeline(10, 10 + lost, 9, 1)
    pipeline.finish(pipeline.take_in(10, 14, 4), [10, 11, 12, 13], 4, 0, 0.0)
    pipeline.take_in(14, 16, 2)
    assert pipeline.uncommitted_records == 6
    commit = pipeline.take_commit(100)
    assert commit is not None
    assert commit.read - commit.scored - commit.dead_lettered - commit.in_flight == lost
    pipeline.committed()
    assert (pipeline.uncommitted_records, commit.in_flight) == (2, 2)


def test_take_commit_waits_for_earlier_work() -> None:
    pipeline: PartitionPipeline[int] = PartitionPipeline(0)
    first, second = pipeline.take_in(0, 2, 2), pipeline.take_in(2, 4, 2)
    pipeline.finish(second, [2, 3], 2, 0, 1.0)
    assert pipeline.take_commit(100) is None
    pipeline.finish(first, [0, 1], 2, 0, 2.0)
    commit = pipeline.take_commit(100)
    assert commit is not None
    assert commit.records == [0, 1, 2, 3]
    assert commit.next_offset == 4


def test_what_is_put_back_is_committed_in_parts_of_at_most_so_many_records() -> None:
    pipeline: PartitionPipeline[int] = PartitionPipeline(0)
    for first in (0, 2, 4):
        pipeline.finish(pipeline.take_in(first, first + 2, 2), [first, first + 1], 2, 0, 1.0)
    assert pipeline.take_commit(100) is not None
    pipeline.put_back()
    parts = []
    while (commit := pipeline.take_commit(3)) is not None:
        parts.append((commit.records, commit.next_offset, commit.in_flight))
        pipeline.committed()
    assert parts == [([0, 1], 2, 4), ([2, 3], 4, 2), ([4, 5], 6, 0)]
    assert pipeline.is_idle
