"""Which partitions the member owns: taken over when the group gives them, released when it takes them away.

The callbacks run on the consumer's thread (`fleet.ingest.polling`); what changes the member runs on its loop, and the
callback waits for it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from fleet.counters import IngestCount
from fleet.detection.features import FeaturePlan
from fleet.ingest.commit.committer import Committer
from fleet.ingest.member import Member
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.ingest.polling import Polling
from fleet.ingest.takeover import TakeOver
from fleet.kafka import Consumer, TopicPartition
from fleet.records.state import PartitionState

# Before the group is asked again: it needs a moment to notice that the member has left.
REJOIN_PAUSE_S = 0.2

logger = logging.getLogger(__name__)


class Assignment:
    """Takes over and releases. `conclude` is called for a partition whose episodes are restored."""

    def __init__(
        self,
        member: Member,
        polling: Polling,
        committer: Committer,
        plan: FeaturePlan,
        conclude: Callable[[OwnedPartition], None],
    ) -> None:
        self._member, self._polling, self._committer = member, polling, committer
        self._conclude = conclude
        self.use(plan)

    def use(self, plan: FeaturePlan) -> None:
        """Give partitions that come from now on windows for these features."""
        self._take_over = TakeOver(self._member, plan)

    def join(self) -> None:
        """Enter the group and commit for what it gives."""
        self._loop = asyncio.get_running_loop()
        self._committer.start()
        self._polling.join(self._on_assign, self._on_revoke, self._on_lost)

    async def rejoin(self) -> None:
        """Leave the group and join it again after a partition was fenced: the group is asked who owns what.

        As another member: a client that unsubscribes in the middle of a rebalance, and subscribes again, may be given
        partitions by the group and never say so.
        """
        await self._polling.leave()
        await self.release(list(self._member.owned), 0.0)
        await self._committer.end()
        await asyncio.sleep(REJOIN_PAUSE_S)
        self._member.counts[IngestCount.REJOINS] += 1
        self.join()

    async def release_all(self) -> None:
        """Give all partitions up; what is in flight has `ingest.drain_timeout_s`."""
        await self.release(list(self._member.owned), self._member.settings.ingest.drain_timeout_s)

    async def release(self, partitions: Sequence[int], drain_s: float) -> None:
        """Give partitions up: finish and commit what is in flight within `drain_s`, drop the rest.

        What is dropped was not committed: the next owner reads it again.
        """
        owned_partitions = self._member.owned
        leaving = [owned_partitions[partition] for partition in partitions if partition in owned_partitions]
        for owned in leaving:
            owned.closing = True
        self._committer.wake()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._committer.drained(leaving), 0.0 if self._committer.is_fenced else drain_s)
        for owned in leaving:
            del owned_partitions[owned.partition]
            self._drop(owned)
        await self._committer.lead(owned_partitions)

    def _drop(self, owned: OwnedPartition) -> None:
        uncommitted = owned.pipeline.uncommitted_records
        self._member.counts[IngestCount.DROPPED_WHEN_RELEASED] += uncommitted
        for task in owned.tasks:
            task.cancel()
        logger.info("partition_released", extra={"partition": owned.partition, "uncommitted": uncommitted})

    async def _adopt(self, opened: Sequence[OwnedPartition]) -> None:
        for owned in opened:
            self._member.owned[owned.partition] = owned
            if owned.state is not None:
                self._member.begin_for(owned, self._restore(owned, owned.state))
            logger.info("partition_owned", extra={"partition": owned.partition, "offset": owned.pipeline.next_offset})
        await self._committer.lead(self._member.owned)

    async def _restore(self, owned: OwnedPartition, state: PartitionState) -> None:
        remembered = await self._member.in_state_thread(self._take_over.restored, owned, state)
        if self._member.owned.holds(owned):
            owned.detector.episodes, owned.detector.thresholds = remembered
            owned.state = None
            self._conclude(owned)

    # On the consumer's thread

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        # First of all: a take-over takes seconds, in which the partitions that stay must be able to commit.
        self._polling.note_group_metadata()
        if not assigned:
            return
        opened = self._take_over.open(consumer, [given.partition for given in assigned])
        self._on_loop(self._adopt(opened))
        starts = [TopicPartition(assigned[0].topic, owned.partition, owned.read_from) for owned in opened]
        consumer.incremental_assign(starts)
        # The client remembers a pause beyond the assignment: one that left while it was paused would never be read.
        consumer.resume(starts)

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._give_up(revoked, self._member.settings.ingest.drain_timeout_s)

    def _on_lost(self, _consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._give_up(lost, 0.0)

    def _give_up(self, taken: list[TopicPartition], drain_s: float) -> None:
        self._polling.note_group_metadata()
        self._on_loop(self.release([given.partition for given in taken], drain_s))
        self._polling.commit_published(wait=True)

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()
