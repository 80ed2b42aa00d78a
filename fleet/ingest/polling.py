"""The consumer's thread: what it polls, how far it is behind, and its pauses.

A Kafka client serves one thread at a time: confluent-kafka 2.16 holds a lock for the whole of a poll. So nothing but
this thread calls the consumer. Rebalance callbacks arrive on it, while the loop awaits its poll; they hand over to the
loop and wait (`fleet.ingest.assignment`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from fleet import kafka
from fleet.counters import IngestCount
from fleet.errors import FleetError, SettingsError
from fleet.ingest.commit.committer import Committer
from fleet.ingest.freed_memory import FreedMemory
from fleet.ingest.member import Member
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

IDLE_POLL_S = 0.25
PAUSED_POLL_S = 0.1
MEASURE_INTERVAL_S = 1.0
LONGEST_LINGER = 5.0  # times ingest.linger_ms

# What was polled of each partition, in log order, under the assignment that it was polled under.
Polled: TypeAlias = dict[OwnedPartition, list[Message]]
OnRebalance: TypeAlias = Callable[[Consumer, list[TopicPartition]], None]

logger = logging.getLogger(__name__)


def longer_while_calls_do(linger_s: float, *calls_s: float) -> float:
    """Return how long a turn waits for more records: `linger_s`, or as long as calls take of late, within bounds.

    Shorter than a call, and small calls queue up behind one another: what is busy would be made busier. As long as a
    commit and the pause after it, and each turn finds the one before it committed: no result waits for a transaction.
    """
    return min(max([linger_s, *calls_s]), LONGEST_LINGER * linger_s)


def records_in(polled: Polled) -> int:
    """Count what was polled."""
    return sum(map(len, polled.values()))


class Polling:
    """The consumer of a member. Coroutines are for the loop; what says so is for the consumer's thread."""

    def __init__(self, member: Member, committer: Committer) -> None:
        self._member, self._committer = member, committer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="poll")
        self._freed_memory = FreedMemory()
        self.lag_records = 0
        self.busy_share = 0.0
        """Of the last second or more, in which this did not wait for records."""
        self._measured_at_s, self._waited_s = time.monotonic(), 0.0

    def join(self, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance) -> None:
        """Enter the group with a new client: what it gives arrives by the callbacks, on the consumer's thread."""
        settings = self._member.settings
        self._consumer = kafka.ingest_consumer(settings.kafka, settings.ingest)
        self._consumer.subscribe(
            [settings.kafka.topics.telemetry], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost
        )

    async def poll(self, polled: Polled, linger_s: float) -> None:
        """Wait for a first record, then `linger_s` for more: idle costs nothing, and a trickle does not wait long."""
        await self._in_thread(self._poll, polled, linger_s)

    async def wait_until(self, may_go_on: Callable[[], bool]) -> Polled:
        """Hold back until the loop may go on; pause the partitions when that takes long. Returns what came even so.

        A short wait does not pause: a pause throws away what the client has fetched ahead. Polling goes on
        meanwhile, because a member that does not poll is expelled from the group.
        """
        held: Polled = {}
        if await self._comes_true(may_go_on, self._member.settings.ingest.pause_after_s):
            return held
        self._member.counts[IngestCount.PAUSES] += 1
        await self._in_thread(self._pause)
        while not await self._comes_true(may_go_on, PAUSED_POLL_S):
            self._member.note_turn()
            await self._in_thread(self._poll_paused, held)
        await self._in_thread(self._resume)
        return held

    async def leave(self) -> None:
        """Leave the group; `join` may follow."""
        await self._in_thread(self._consumer.close)

    async def end(self) -> None:
        """Commit what was published, and leave the group for good."""
        await self._in_thread(self._end)
        self._thread.shutdown(wait=False)

    def note_group_metadata(self) -> None:
        """Let what is in flight commit as the member that this is now; on the consumer's thread."""
        self._committer.note_group_metadata(self._consumer.consumer_group_metadata())

    def commit_published(self, *, wait: bool) -> None:
        """Commit what was published at least once; on the consumer's thread."""
        if published := self._committer.take_published():
            try:
                self._consumer.commit(offsets=published, asynchronous=not wait)
            except KafkaException as exception:
                # A later commit covers it; after a crash it is read again.
                self._member.counts[IngestCount.COMMIT_RETRIES] += 1
                logger.warning("commit_failed: %s", exception)

    async def _in_thread(self, function: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _comes_true(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        progress = self._member.progress
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    progress.clear()
                    await progress.wait()
        except TimeoutError:
            return False
        return True

    # On the consumer's thread

    def _poll(self, polled: Polled, linger_s: float) -> None:
        began_s = time.monotonic()
        if first := self._consumer.consume(1, IDLE_POLL_S):
            self._add(polled, first)
            if more := self._member.settings.ingest.turn_records - 1:
                self._add(polled, self._consumer.consume(more, linger_s))
        self._waited_s += time.monotonic() - began_s
        self.note_group_metadata()
        self.commit_published(wait=False)
        self._measure()

    def _poll_paused(self, held: Polled) -> None:
        """Stay in the group while the partitions are paused, those that have come since included."""
        self._add(held, self._consumer.consume(1, 0))
        self._measure()
        self._pause()

    def _pause(self) -> None:
        if assigned := self._assigned():
            self._consumer.pause(assigned)

    def _resume(self) -> None:
        if assigned := self._assigned():
            self._consumer.resume(assigned)

    def _assigned(self) -> list[TopicPartition]:
        topic = self._member.settings.kafka.topics.telemetry
        return [TopicPartition(topic, partition) for partition in list(self._member.owned)]

    def _add(self, polled: Polled, messages: Sequence[Message]) -> None:
        """Sort what one call gave by its owners: another call may bring another assignment."""
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            if message.error() is not None:
                self._note_poll_error(message.error())
            elif (batch := by_partition.get(partition := message.partition())) is not None:
                batch.append(message)
            else:
                by_partition[partition] = [message]
        for partition, batch in by_partition.items():
            if (owned := self._member.owned.get(partition)) is not None:
                polled.setdefault(owned, []).extend(batch)
            else:
                self._member.counts[IngestCount.RECORDS_OF_ENDED_ASSIGNMENTS] += len(batch)

    def _note_poll_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise FleetError(f"{error.str()}: retention has overtaken the group while it was reading")
        if error.code() == KafkaError.INVALID_SESSION_TIMEOUT:
            raise SettingsError(
                f"ingest.session_timeout_s is {self._member.settings.ingest.session_timeout_s:g}, which the brokers "
                "refuse: set it within their group.min.session.timeout.ms (6 s by default) and "
                "group.max.session.timeout.ms."
            )
        if not kafka.is_unreachable(error):
            raise FleetError(f"Kafka refused a fetch: {error.str()}")
        self._member.counts[IngestCount.KAFKA_UNAVAILABLE] += 1
        logger.warning("kafka_unavailable: %s", error.str())

    def _measure(self) -> None:
        """Note how far this member is behind, and how much of its time it was at work, for whoever scales the pool."""
        elapsed_s = time.monotonic() - self._measured_at_s
        if elapsed_s < MEASURE_INTERVAL_S:
            return
        self.busy_share = max(1.0 - self._waited_s / elapsed_s, 0.0)
        self._measured_at_s, self._waited_s = time.monotonic(), 0.0
        self.lag_records = self._behind_records()
        self._freed_memory.note(self.lag_records)

    def _behind_records(self) -> int:
        """Count what waits in the log behind the owned partitions, by the high-water marks last fetched."""
        topic, lag = self._member.settings.kafka.topics.telemetry, 0
        for partition, owned in list(self._member.owned.items()):
            _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            lag += max(high - owned.pipeline.next_offset, 0) + owned.pipeline.uncommitted_records
        return lag

    def _end(self) -> None:
        self.commit_published(wait=True)
        self._consumer.close()
