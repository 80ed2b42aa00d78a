"""What is finished in the partitions of one member -> Kafka: one transaction after the other, each for all of them.

On the event's way the last stop in ingest: `fleet.ingest.partition.pipeline` says what each partition has to commit,
`fleet.kafka` carries it out. Partitions share their member's transactions, because a transaction costs the broker
milliseconds whatever it holds. Its id is that of one of them, the lead. A new owner fences the ids of all partitions
that it is given, and a dead member's lead is among those that its heirs are given (see ARCHITECTURE.md).
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from fleet import kafka
from fleet.backoff import BackOff
from fleet.counters import IngestCount, Leg
from fleet.errors import CommitUncertainError, FencedError, KafkaUnavailableError
from fleet.ingest.commit.producer_thread import ProducerThread
from fleet.ingest.member import Member
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.ingest.partition.pipeline import Commit
from fleet.ingest.usual_time import UsualTime
from fleet.kafka import CommitPart, Ledger, Record, TopicPartition

FIRST_BACK_OFF_S = 0.2
# A rebalance refuses commits for a moment, and a Kafka that is away takes its time to say so.
LONGEST_BACK_OFF_S = 0.8

# Records of one transaction. One that Kafka cannot take within its time-out would be tried again for ever: after a
# failure the next has half as many, down to the least, and after a success twice as many.
MOST_RECORDS, LEAST_RECORDS = 16_384, 256

Batch: TypeAlias = dict[OwnedPartition, Commit[Record]]
logger = logging.getLogger(__name__)


class Committer:
    """Publishes and commits the finished runs of a member's partitions, from `start` to `end`, any number of times.

    For the event loop; the consumer's thread may call `note_group_metadata` and `take_published`, which are made for
    that. Once fenced this waits for its end: the member gives its partitions up.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._most_records = MOST_RECORDS
        self._finished, self._committed = asyncio.Event(), asyncio.Event()
        self._committed_at_s = 0.0
        self._usual = UsualTime()
        self._has_backlog = False

    def start(self) -> None:
        """Begin to commit as a new member of the group, with a producer of its own."""
        self._producer = ProducerThread(self._member.settings, self._member.counts)
        self._is_fenced = False
        self._group_metadata: Any = None
        self._published: SimpleQueue[list[TopicPartition]] = SimpleQueue()
        self._task = self._member.begin(self._run())

    async def end(self) -> None:
        """Commit no more, and let go of the producer. What is published at least once may still be taken."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._producer.close()

    @property
    def is_fenced(self) -> bool:
        """Whether a partition's id has a new owner, or the group has expelled the member."""
        return self._is_fenced

    @property
    def cycle_s(self) -> float:
        """How long a commit takes of late, with the pause after it: what is finished sooner waits for the next one."""
        return self._usual.seconds + self._pause_s(has_backlog=False)

    def wake(self) -> None:
        """Say that a run is finished, or that a partition wants to leave."""
        self._finished.set()

    def note_backlog(self, *, has_backlog: bool) -> None:
        """Say whether more waits in the log than a turn reads: commits then gather more."""
        self._has_backlog = has_backlog

    def note_group_metadata(self, metadata: Any) -> None:
        """Commit as the member that the group knows now: as of its last poll or rebalance.

        For the consumer's thread, which alone may ask the consumer. One reference takes the place of another, in one
        step: a commit sees the old one or the new one.
        """
        self._group_metadata = metadata

    def take_published(self) -> list[TopicPartition]:
        """Return the offsets whose records are out, at least once, and that are to be committed; each is given once.

        For the consumer's thread. They pass through a queue: what is published meanwhile is for the next call.
        """
        latest: dict[int, TopicPartition] = {}
        while True:
            try:
                latest.update((offset.partition, offset) for offset in self._published.get_nowait())
            except Empty:
                return list(latest.values())

    async def lead(self, partitions: Iterable[int]) -> None:
        """Commit under the id of one of these partitions from now on."""
        await self._producer.lead(partitions)

    async def drained(self, leaving: Iterable[OwnedPartition]) -> None:
        """Wait until nothing of these partitions is in flight."""
        waiting = list(leaving)
        while not all(owned.pipeline.is_idle for owned in waiting):
            self._committed.clear()
            await self._committed.wait()

    async def _run(self) -> None:
        """Commit what is finished, until cancelled. Raises what only a restart can mend."""
        while True:
            await self._until_due()
            if batch := self._take():
                await self._commit(batch)

    async def _until_due(self) -> None:
        """Wait for a finished run, and for the pause after the last commit."""
        owned_partitions = self._member.owned
        while all(owned.pipeline.first_finished_at_s is None for owned in owned_partitions.values()):
            self._finished.clear()
            await self._finished.wait()
        if not any(owned.closing for owned in owned_partitions.values()):
            pause_s = self._pause_s(has_backlog=self._has_backlog)
            waited_s = self._member.clock() - self._committed_at_s
            await asyncio.sleep(min(max(pause_s - waited_s, 0.0), pause_s))

    def _pause_s(self, *, has_backlog: bool) -> float:
        """Return the least time from one commit to the next; in a backlog it gathers what shares a transaction.

        Kafka completes a transaction some milliseconds after it says so, and one that follows at once is refused and
        tried again. Delivered at least once there is none, and what comes while Kafka takes the last records goes out
        together.
        """
        limits = self._member.settings.ingest
        if has_backlog:
            return limits.commit_interval_backlog_ms / 1000
        return 0.0 if limits.delivery == "at_least_once" else limits.commit_interval_ms / 1000

    def _take(self) -> Batch:
        """Take what is finished, of the partition that has waited longest first, until a transaction has enough."""
        batch: Batch = {}
        left = self._most_records
        for owned in sorted(self._member.owned.values(), key=_waiting_since_s):
            if left > 0 and (commit := owned.pipeline.take_commit(left)) is not None:
                batch[owned] = commit
                left -= len(commit.records)
        return batch

    async def _commit(self, batch: Batch) -> None:
        """Bring a batch about, however often that has to be tried; partitions that leave meanwhile drop out of it."""
        limits, back_off = self._member.settings.ingest, BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        timeout_s = limits.commit_timeout_s
        while batch:
            try:
                await self._bring_about(batch, timeout_s)
                return
            except CommitUncertainError as error:
                logger.warning("commit_uncertain: %s", error)
                if await self._settle(batch):
                    return
                timeout_s = max(timeout_s, limits.transaction_timeout_s)  # Kafka allows no more
            except KafkaUnavailableError as error:
                logger.warning("commit_retried: %s", error)
                for owned in batch:
                    owned.pipeline.put_back()
            except FencedError as error:
                logger.warning("member_fenced: %s", error)
                self._is_fenced = True
                self._member.progress.set()
                await asyncio.Future()  # the member gives its partitions up and ends this
            self._member.counts[IngestCount.COMMIT_RETRIES] += 1
            self._most_records = max(self._most_records // 2, LEAST_RECORDS)
            await asyncio.sleep(back_off.next_s())
            batch = self._take()

    async def _bring_about(self, batch: Batch, timeout_s: float) -> None:
        """Publish and commit a batch, and note that it succeeded."""
        parts = [self._part(owned, commit) for owned, commit in batch.items()]
        began_s = time.monotonic()
        if self._member.settings.ingest.delivery == "exactly_once":
            await self._producer.commit(parts, self._group_metadata, timeout_s)
        else:
            await self._producer.publish(parts, timeout_s)
            self._published.put([part.offset for part in parts])
        self._measure(batch, time.monotonic() - began_s)
        for owned in batch:
            owned.pipeline.committed()
        self._note_commit()
        self._most_records = min(2 * self._most_records, MOST_RECORDS)

    def _measure(self, batch: Batch, took_s: float) -> None:
        measures, now_s = self._member.measures, self._member.clock()
        self._usual.note(took_s)
        measures.commit_seconds.observe(took_s)
        measures.commit_records.observe(sum(len(commit.records) for commit in batch.values()))
        for commit in batch.values():
            for run in commit.runs:
                measures.legs[Leg.SCORED_TO_COMMITTED].observe(now_s - run.finished_at_s, run.scored)

    def _part(self, owned: OwnedPartition, commit: Commit[Record]) -> CommitPart:
        ledger = Ledger(commit.read, commit.scored, commit.dead_lettered, commit.in_flight, commit.keyless)
        offset = kafka.offset_to_commit(self._member.settings.kafka, owned.partition, commit.next_offset, ledger)
        return CommitPart(owned.partition, commit.records, offset)

    async def _settle(self, batch: Batch) -> bool:
        """Find out whether an uncertain commit has succeeded, however long Kafka is away meanwhile."""
        timeout_s, holds = self._member.settings.ingest.transaction_timeout_s, self._member.owned.holds
        back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        while leftover := [owned for owned in batch if holds(owned)]:
            try:
                offsets = await self._producer.settled_offsets([owned.partition for owned in leftover], timeout_s)
                break
            except (KafkaUnavailableError, CommitUncertainError) as error:
                self._member.counts[IngestCount.COMMIT_RETRIES] += 1
                logger.warning("committed_offset_unknown: %s", error)
                await asyncio.sleep(back_off.next_s())
        succeeded = [owned.pipeline.resolve(offsets[owned.partition]) for owned in leftover if holds(owned)]
        if all(succeeded):
            self._note_commit()
        return all(succeeded)

    def _note_commit(self) -> None:
        self._committed_at_s = self._member.clock()
        self._member.counts[IngestCount.COMMITS] += 1
        self._committed.set()
        self._member.progress.set()


def _waiting_since_s(owned: OwnedPartition) -> float:
    finished_at_s = owned.pipeline.first_finished_at_s
    return math.inf if finished_at_s is None else finished_at_s
