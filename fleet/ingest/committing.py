"""What is finished in the partitions of one member -> Kafka: one transaction after the other, each for all of them.

On the event's way the last stop in ingest: `fleet.ingest.pipeline` says what each partition has to commit,
`fleet.kafka` carries it out. Partitions share their member's transactions, because a transaction costs the broker
milliseconds whatever it holds. Its id is that of one of them, the lead. A new owner fences the ids of all partitions
that it is given, and a dead member's lead is among those that its heirs are given (see ARCHITECTURE.md).
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from fleet import kafka
from fleet.errors import CommitUncertainError, FencedError, FleetError, KafkaUnavailableError
from fleet.ingest.owned_partition import OwnedPartition
from fleet.ingest.pipeline import Commit
from fleet.ingest.usual_time import UsualTime
from fleet.kafka import CommitPart, Ledger, Record, TopicPartition, TransactionalProducer
from fleet.settings import Settings

FIRST_BACK_OFF_S = 0.2
# A rebalance refuses commits for a moment, and a Kafka that is away takes its time to say so.
LONGEST_BACK_OFF_S = 0.8
LONGEST_CHANGE_S = 2.0
# The client keeps to its own time-outs, with one exception (`_in_thread`); so much later a call is given up.
GRACE_S = 1.0
MOST_GIVEN_UP = 8  # each holds a thread and a client until it comes back

# Records of one transaction. One that Kafka cannot take within its time-out would be tried again for ever: after a
# failure the next has half as many, down to the least, and after a success twice as many.
MOST_RECORDS, LEAST_RECORDS = 16_384, 256

Batch: TypeAlias = dict[OwnedPartition, Commit[Record]]
ResultT = TypeVar("ResultT")
logger = logging.getLogger(__name__)


class Committer:
    """Publishes and commits the finished work of the partitions in `owned`, a view of what the member owns now.

    `progress` is called when something was committed, and when this was fenced (`is_fenced`): the member then gives up
    its partitions, and this with them.
    """

    def __init__(
        self,
        settings: Settings,
        owned: Mapping[int, OwnedPartition],
        counts: Counter[str],
        clock: Callable[[], float],
        progress: Callable[[], None],
    ) -> None:
        self._settings, self._owned, self._counts = settings, owned, counts
        self._clock, self._progress = clock, progress
        self._producer = TransactionalProducer(settings.kafka, settings.ingest)
        self._lead: int | None = None
        self._thread = _one_thread()
        self._given_up = 0
        self._most_records = MOST_RECORDS
        self._finished, self._committed = asyncio.Event(), asyncio.Event()
        self._committed_at_s = 0.0
        self._usual = UsualTime()
        self.group_metadata: Any = None
        """Of the member, as of its last poll or rebalance."""
        self.has_backlog = False
        self.is_fenced = False
        self.published: dict[int, TopicPartition] = {}
        """At least once: offsets whose records are out, for the consumer's thread to commit."""

    @property
    def cycle_s(self) -> float:
        """How long a commit takes of late, with the pause after it: what is finished sooner waits for the next one."""
        return self._usual.seconds + self._pause_s(has_backlog=False)

    async def run(self) -> None:
        """Commit what is finished, until cancelled. Raises what only a restart can mend."""
        while True:
            await self._until_due()
            if batch := self._take():
                await self._commit(batch)

    def wake(self) -> None:
        """Say that work is finished, or that a partition wants to leave."""
        self._finished.set()

    async def lead(self, partitions: Iterable[int]) -> None:
        """Let one of these be the lead unless the lead is among them; for what is committed from now on.

        Its id is opened now and not with the first commit: a member that has been expelled meanwhile must not fence
        its heirs.
        """
        remaining = sorted(partitions)
        lead = self._lead if self._lead in remaining else next(iter(remaining), None)
        if lead != self._lead:
            self._lead = lead
            # Not for ever: with Kafka away the thread may be in a commit for long, and the group waits for this member.
            # Whoever is given the old lead meanwhile fences what still goes on under it, which is safe.
            changing = asyncio.get_running_loop().run_in_executor(self._thread, self._producer.follow, lead)
            await asyncio.wait([changing], timeout=LONGEST_CHANGE_S)

    async def drained(self, leaving: Iterable[OwnedPartition]) -> None:
        """Wait until nothing of these partitions is in flight."""
        waiting = list(leaving)
        while not all(owned.pipeline.is_idle for owned in waiting):
            self._committed.clear()
            await self._committed.wait()

    def close(self) -> None:
        """Let go of the producer, after the call that it may still be in."""
        self._thread.submit(self._producer.close)
        self._thread.shutdown(wait=False)

    def _take(self) -> Batch:
        """Take what is finished, of the partition that has waited longest first, until a transaction has enough."""
        batch: Batch = {}
        left = self._most_records
        for owned in sorted(self._owned.values(), key=_waiting_since_s):
            if left > 0 and (commit := owned.pipeline.take_commit(left)) is not None:
                batch[owned] = commit
                left -= len(commit.records)
        return batch

    async def _until_due(self) -> None:
        """Wait for finished work, and for the pause after the last commit."""
        while all(owned.pipeline.first_finished_at_s is None for owned in self._owned.values()):
            self._finished.clear()
            await self._finished.wait()
        if not any(owned.closing for owned in self._owned.values()):
            pause_s = self._pause_s(has_backlog=self.has_backlog)
            waited_s = self._clock() - self._committed_at_s
            await asyncio.sleep(min(max(pause_s - waited_s, 0.0), pause_s))

    def _pause_s(self, *, has_backlog: bool) -> float:
        """Return the least time from one commit to the next; in a backlog it gathers what shares a transaction.

        Kafka completes a transaction some milliseconds after it says so, and one that follows at once is refused and
        tried again. Delivered at least once there is none, and what comes while Kafka takes the last records goes out
        together.
        """
        limits = self._settings.ingest
        if has_backlog:
            return limits.commit_interval_backlog_ms / 1000
        return 0.0 if limits.delivery == "at_least_once" else limits.commit_interval_ms / 1000

    async def _commit(self, batch: Batch) -> None:
        """Bring a batch about, however often that has to be tried; partitions that leave meanwhile drop out of it."""
        back_off_s, timeout_s = FIRST_BACK_OFF_S, self._settings.ingest.commit_timeout_s
        while batch:
            try:
                began_s = time.monotonic()
                await self._bring_about(batch, timeout_s)
                self._usual.note(time.monotonic() - began_s)
                for owned in batch:
                    owned.pipeline.committed()
                self._note_commit()
                self._most_records = min(2 * self._most_records, MOST_RECORDS)
                return
            except CommitUncertainError as error:
                logger.warning("commit_uncertain: %s", error)
                if await self._settle(batch):
                    return
                timeout_s = max(timeout_s, self._settings.ingest.transaction_timeout_s)  # Kafka allows no more
            except KafkaUnavailableError as error:
                logger.warning("commit_retried: %s", error)
                for owned in batch:
                    owned.pipeline.put_back()
            except FencedError as error:
                logger.warning("member_fenced: %s", error)
                self.is_fenced = True
                self._progress()
                await asyncio.Future()  # the member gives its partitions up and cancels this
            self._counts["commit_retries"] += 1
            self._most_records = max(self._most_records // 2, LEAST_RECORDS)
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, LONGEST_BACK_OFF_S)
            batch = self._take()

    async def _bring_about(self, batch: Batch, timeout_s: float) -> None:
        parts = [self._part(owned, commit) for owned, commit in batch.items()]
        if self._settings.ingest.delivery == "exactly_once":
            await self._in_thread(timeout_s, self._producer.commit, parts, self.group_metadata, timeout_s)
        else:
            await self._in_thread(timeout_s, self._producer.publish, parts, timeout_s)
            self.published.update((part.partition, part.offset) for part in parts)

    def _part(self, owned: OwnedPartition, commit: Commit[Record]) -> CommitPart:
        ledger = Ledger(commit.read, commit.scored, commit.dead_lettered, commit.in_flight)
        offset = kafka.offset_to_commit(self._settings.kafka, owned.partition, commit.next_offset, ledger)
        return CommitPart(owned.partition, commit.records, offset)

    async def _settle(self, batch: Batch) -> bool:
        """Find out whether an uncertain commit has succeeded, however long Kafka is away meanwhile.

        A producer made anew waits until the coordinator has decided; only then do the committed offsets tell how.
        """
        timeout_s = self._settings.ingest.transaction_timeout_s
        while batch := {owned: commit for owned, commit in batch.items() if self._is_owned(owned)}:
            try:
                await self._in_thread(timeout_s, self._producer.open)
                partitions = [owned.partition for owned in batch]
                offsets = await self._in_thread(timeout_s, kafka.committed_offsets, self._settings.kafka, partitions)
                break
            except (KafkaUnavailableError, CommitUncertainError) as error:
                self._counts["commit_retries"] += 1
                logger.warning("committed_offset_unknown: %s", error)
                await asyncio.sleep(FIRST_BACK_OFF_S)
        succeeded = [owned.pipeline.resolve(offsets[owned.partition]) for owned in batch if self._is_owned(owned)]
        if all(succeeded):
            self._note_commit()
        return all(succeeded)

    def _is_owned(self, owned: OwnedPartition) -> bool:
        return self._owned.get(owned.partition) is owned

    def _note_commit(self) -> None:
        self._committed_at_s = self._clock()
        self._counts["commits"] += 1
        self._committed.set()
        self._progress()

    async def _in_thread(self, timeout_s: float, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call what keeps to a time-out by itself. Raises CommitUncertainError when it does not come back even so.

        `send_offsets_to_transaction` can hang for ever when the broker that coordinates the group has gone and come
        back (librdkafka issues 5456 and 5511). Such a call is left alone with its thread and its producer; should it
        still go on some day, its transactional id has been opened anew by then.
        """
        call = asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        if (await asyncio.wait([call], timeout=timeout_s + GRACE_S))[0]:
            return call.result()
        self._begin_anew()
        call.add_done_callback(self._has_come_back)
        raise CommitUncertainError(f"no answer from Kafka's client within {timeout_s + GRACE_S:g} s")

    def _begin_anew(self) -> None:
        """Leave the producer to its thread, and go on with others. Raises FleetError when too many were left."""
        self._given_up += 1
        self._counts["commits_given_up"] += 1
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._thread = _one_thread()
        self._producer.give_up()
        self._producer = TransactionalProducer(self._settings.kafka, self._settings.ingest, self._lead)
        if self._given_up > MOST_GIVEN_UP:
            raise FleetError(f"{self._given_up} calls of Kafka's client hang: this member has to be replaced.")

    def _has_come_back(self, call: "asyncio.Future[Any]") -> None:
        self._given_up -= 1
        if not call.cancelled():
            call.exception()  # nobody else asks for it


def _waiting_since_s(owned: OwnedPartition) -> float:
    finished_at_s = owned.pipeline.first_finished_at_s
    return math.inf if finished_at_s is None else finished_at_s


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="commit")
