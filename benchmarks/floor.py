"""The floor: one process and one loop, without Ray, that does to every event what the system does, as fast as we can.

Read, decode, window, score, judge, follow episodes, encode, write: the product's own functions where they work on
blocks, and nothing around them: no group to balance, no call to another process, no state to come back from, no books.
What the system costs beyond this is the price of those. The results are the same, record for record.

Neighbours: `record_scoring` is what it does to records; `contestant` runs it in a process of its own, `workload` says
what it reads.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.record_scoring import EnteredRecords, RecordScoring, ScoredRecords, local_scorer
from fleet.kafka import Message, OffsetRange, client_config

TURN_RECORDS = 8_192
LINGER_S = 0.05
TRANSACTION_S = 0.1  # as the product's, when there is a backlog
REQUEST_TIMEOUT_S = 30.0
FULL_QUEUE_POLL_S = 0.05
QUIET = {"log_level": 2}


class Floor:
    """The loop with its model, windows and episodes; they live as long as it does."""

    def __init__(self, models: Path, name: str, *, exactly_once: bool) -> None:
        self._name, self._exactly_once = name, exactly_once
        self._scoring = RecordScoring(models)
        self._score = local_scorer(self._scoring.bundle)
        self._consumer = Consumer(_consumer_config(name))
        self._producer = Producer(_producer_config(name, exactly_once=exactly_once))
        self._thread = ThreadPoolExecutor(1)
        self._committing: tuple[list[TopicPartition], Future[None]] | None = None
        self._is_open = False
        if exactly_once:
            self._producer.init_transactions(REQUEST_TIMEOUT_S)

    def run(self, topic: str, ranges: Mapping[int, OffsetRange], scored_topic: str) -> None:
        """Take what stands at these offsets to the scored topic."""
        self._consumer.assign([TopicPartition(topic, partition, part.first) for partition, part in ranges.items()])
        left = {partition: part.next for partition, part in ranges.items()}
        while left:
            self._transaction(topic, left, scored_topic)
        self._settle()

    def _transaction(self, topic: str, left: dict[int, int], scored_topic: str) -> None:
        """Work for the length of a transaction, then commit it with the offsets, beside the next one's first work."""
        ends_at_s, offsets = time.monotonic() + TRANSACTION_S, dict[int, int]()
        while left and time.monotonic() < ends_at_s:
            messages = self._consumer.consume(TURN_RECORDS, LINGER_S)
            if batches := _by_partition(messages, left):
                self._turn(batches, scored_topic)
                offsets |= {partition: batch[-1].offset() + 1 for partition, batch in batches.items()}
                self._leave_what_is_done(topic, left, offsets)
        if offsets:
            self._commit([TopicPartition(topic, partition, offset) for partition, offset in offsets.items()])

    def _open(self) -> None:
        """Begin a transaction, if there is none, once the last one is settled."""
        if self._exactly_once and not self._is_open:
            self._settle()
            self._producer.begin_transaction()
            self._is_open = True

    def _commit(self, positions: list[TopicPartition]) -> None:
        self._settle()
        self._is_open = False
        metadata = self._consumer.consumer_group_metadata()
        self._committing = positions, self._thread.submit(self._commit_blocking, positions, metadata)

    def _commit_blocking(self, positions: list[TopicPartition], group_metadata: Any) -> None:
        if self._exactly_once:
            self._producer.send_offsets_to_transaction(positions, group_metadata, REQUEST_TIMEOUT_S)
            self._producer.commit_transaction(REQUEST_TIMEOUT_S)
        elif self._producer.flush(REQUEST_TIMEOUT_S):
            raise TimeoutError("Kafka did not take the floor's results in time")

    def _settle(self) -> None:
        """Wait for the commit that is under way; without transactions the consumer commits what is out."""
        if self._committing is not None:
            positions, commit = self._committing
            commit.result()
            self._committing = None
            if not self._exactly_once:
                self._consumer.commit(offsets=positions, asynchronous=False)

    def _leave_what_is_done(self, topic: str, left: dict[int, int], offsets: Mapping[int, int]) -> None:
        for partition in [partition for partition, end in left.items() if offsets.get(partition, 0) >= end]:
            del left[partition]
            self._consumer.incremental_unassign([TopicPartition(topic, partition)])

    def _turn(self, batches: Mapping[int, list[Message]], scored_topic: str) -> None:
        """Score what was polled and hand the results to the client."""
        read = {partition: self._read(partition, batch) for partition, batch in batches.items()}
        scores = self._score(np.concatenate([records.features for records in read.values()]))
        start = 0
        for partition, records in read.items():
            own = scores.rows(start, start + len(records))
            self._produce(scored_topic, partition, self._scoring.conclude(records, own))
            start += len(records)

    def _read(self, partition: int, messages: Sequence[Message]) -> EnteredRecords:
        return self._scoring.enter(
            partition,
            [message.offset() for message in messages],
            [message.timestamp()[1] for message in messages],
            [message.value() for message in messages],
        )

    def _produce(self, topic: str, partition: int, records: ScoredRecords) -> None:
        self._open()
        produce = self._producer.produce
        for vehicle_id, value, source in zip(*records, strict=True):
            headers = [("source", source)]
            while True:
                try:  # by place: naming the arguments costs as much as the call
                    produce(topic, value, vehicle_id, partition, None, None, 0, headers)
                    break
                except BufferError:
                    self._producer.poll(FULL_QUEUE_POLL_S)


def _by_partition(messages: Sequence[Message], left: Mapping[int, int]) -> dict[int, list[Message]]:
    """Sort what was polled, without what stands behind the end of a partition's range."""
    found: dict[int, list[Message]] = {}
    for message in messages:
        found.setdefault(message.partition(), []).append(message)
    for partition, batch in list(found.items()):
        if batch[-1].offset() >= left.get(partition, 0):
            kept = [message for message in batch if message.offset() < left.get(partition, 0)]
            if kept:
                found[partition] = kept
            else:
                del found[partition]
    return found


def _consumer_config(name: str) -> dict[str, Any]:
    return {
        **client_config(),
        **QUIET,
        "group.id": f"benchmark-{name}",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 131_072,
        "fetch.message.max.bytes": 4_194_304,
        "fetch.queue.backoff.ms": 10,
        "check.crcs": False,
    }


def _producer_config(name: str, *, exactly_once: bool) -> dict[str, Any]:
    config: dict[str, Any] = {
        **client_config(),
        **QUIET,
        "enable.idempotence": True,
        "linger.ms": 5,
        "batch.num.messages": 20_000,
        "retry.backoff.ms": 5,
        "retry.backoff.max.ms": 200,
        "queue.buffering.max.messages": 500_000,
        "queue.buffering.max.kbytes": 524_288,
    }
    if exactly_once:
        config |= {"transactional.id": f"benchmark-{name}", "transaction.timeout.ms": 60_000}
    return config
