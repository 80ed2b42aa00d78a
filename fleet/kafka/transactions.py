"""The transaction of one member: results, episodes, dead letters, state and offsets, all or nothing."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from fleet.errors import CommitUncertainError, FencedError, KafkaUnavailableError
from fleet.kafka.connection import LARGER_THAN_TELEMETRY_BYTES, client_config, error_text, quiet_properties
from fleet.records.record import Record
from fleet.settings import IngestSettings, KafkaSettings


class CommitPart(NamedTuple):
    """What a transaction brings about in one partition: records, and the offset they bring the partition to."""

    partition: int
    records: Sequence[Record]
    offset: TopicPartition


def transactional_id(kafka: KafkaSettings, partition: int) -> str:
    """Name the unit of ownership: the same in every process that may own the partition."""
    return f"{kafka.application_id}-{kafka.topics.telemetry}-{partition}"


def fence(kafka: KafkaSettings, ingest: IngestSettings, partition: int) -> None:
    """End whatever an earlier owner has begun under a partition's id. Raises KafkaUnavailableError."""
    producer = TransactionalProducer(kafka, ingest, partition)
    try:
        producer.open()
    finally:
        producer.close()


class TransactionalProducer:
    """Publishes what a member's partitions bring, and their offsets, all or nothing.

    Its transactional id is that of one of the partitions, the lead: whoever opens that id next has fenced this one. One
    thread at a time. Delivered at least once there are no transactions, and no id.
    """

    def __init__(self, kafka: KafkaSettings, ingest: IngestSettings, lead: int | None = None) -> None:
        self._kafka, self._ingest, self.lead = kafka, ingest, lead
        self._exactly_once = ingest.delivery == "exactly_once"
        self._producer: Any = None
        self._is_given_up = False

    def give_up(self) -> None:
        """Let the call that another thread is in be the last: it may not open the id again, for it has an heir."""
        self._is_given_up = True

    def follow(self, lead: int | None) -> None:
        """Use another partition's id from the next transaction on, which opens it where that fails now."""
        self.close()
        self.lead = lead
        if lead is not None:
            with contextlib.suppress(KafkaUnavailableError):
                self.open()

    def open(self) -> None:
        """Connect, and fence every earlier user of the id. Raises KafkaUnavailableError."""
        self.close()
        if self._is_given_up:
            raise KafkaUnavailableError(f"{self._name} has been given up")
        config = {
            **client_config(),
            **quiet_properties(),
            "client.id": self._name,
            "enable.idempotence": True,
            # A commit sends what has not gone out by itself; woken for less, the client's thread costs as much as ours.
            "linger.ms": 100,
            "batch.num.messages": 20_000,
            # The coordinator refuses the next transaction for the milliseconds in which it completes the last one;
            # the client's default would then wait 100 ms and more.
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 200,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 262_144,
            "message.max.bytes": self._kafka.max_message_bytes + LARGER_THAN_TELEMETRY_BYTES,
        }
        if self._exactly_once:
            config["transactional.id"] = self._name
            config["transaction.timeout.ms"] = int(self._ingest.transaction_timeout_s * 1000)
        self._producer = Producer(config)
        if self._exactly_once:
            try:
                ends_at_s = time.monotonic() + self._ingest.commit_timeout_s
                # Connects; without a connection the client asks for the coordinator only after half a second.
                self._producer.list_topics(self._kafka.topics.scored, timeout=_left_s(ends_at_s))
                self._producer.init_transactions(_left_s(ends_at_s))
            except KafkaException as exception:
                self.close()
                raise KafkaUnavailableError(
                    f"Kafka did not open a transaction of {self._name}: {error_text(exception)}"
                ) from None

    def commit(self, parts: Sequence[CommitPart], group_metadata: Any, timeout_s: float) -> None:
        """Publish the records of some partitions and their offsets in one transaction, within `timeout_s`.

        Raises FencedError when the lead has a new owner, or the group has expelled the member; CommitUncertainError
        when only the committed offsets can tell what happened, and only after `open` has settled it; anything
        KafkaUnavailableError has left nothing visible and may be tried again.
        """
        ends_at_s = time.monotonic() + timeout_s
        committing = False
        try:
            if self._producer is None:
                self.open()
            self._producer.begin_transaction()
            self._produce(parts, on_delivery=None)  # a transaction fails as a whole, by itself
            offsets = [part.offset for part in parts]
            self._producer.send_offsets_to_transaction(offsets, group_metadata, _left_s(ends_at_s))
            committing = True
            self._producer.commit_transaction(_left_s(ends_at_s))
        except KafkaException as exception:
            self._give_up_transaction(exception, committing=committing)

    def publish(self, parts: Sequence[CommitPart], timeout_s: float) -> None:
        """Publish records without a transaction (at least once). Raises KafkaUnavailableError: try all again."""
        failures: list[KafkaError] = []
        try:
            if self._producer is None:
                self.open()
            self._produce(parts, on_delivery=lambda error, _message: failures.append(error) if error else None)
            unsent = self._producer.flush(timeout_s)
        except KafkaException as exception:
            raise KafkaUnavailableError(f"Publishing: {error_text(exception)}") from None
        if unsent or failures:
            self.close()  # what is still queued must not overtake the next attempt
            reason = failures[0].str() if failures else f"{unsent} records not acknowledged in time"
            raise KafkaUnavailableError(f"Publishing: {reason}")

    def close(self) -> None:
        """Let go of the connection; an open transaction is left for the next owner's fencing."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaException):  # one that was fenced says so once more
                producer.purge()
                producer.close(1.0)

    @property
    def _name(self) -> str:
        if self.lead is None:
            return f"{self._kafka.application_id}-{self._kafka.topics.telemetry}"
        return transactional_id(self._kafka, self.lead)

    def _give_up_transaction(self, exception: KafkaException, *, committing: bool) -> None:
        error: KafkaError = exception.args[0]
        if _is_fenced(error):
            raise FencedError(f"{self._name} has a new owner: {error.str()}") from None
        if error.txn_requires_abort():
            try:
                self._producer.abort_transaction(self._ingest.commit_timeout_s)
            except KafkaException as abort_exception:
                if _is_fenced(abort_exception.args[0]):
                    raise FencedError(f"{self._name} has a new owner") from None
                self.open()  # the next initialisation aborts what this one could not
            raise KafkaUnavailableError(f"{self._name}: aborted: {error.str()}") from None
        if committing:  # a time-out or a fatal error: the coordinator may have finished it
            # Not opened anew here: where that fails too, it would look as if nothing had become visible.
            self.close()
            raise CommitUncertainError(f"{self._name}: {error.str()}") from None
        self.open()
        raise KafkaUnavailableError(f"{self._name}: {error.str()}") from None

    def _produce(self, parts: Sequence[CommitPart], on_delivery: Any) -> None:
        produce = self._producer.produce
        for partition, records, _ in parts:
            for record in records:
                while True:
                    try:  # all by place: names make the call dearer (timestamp 0: now)
                        produce(record.topic, record.value, record.key, partition, None, on_delivery, 0, record.headers)
                        break
                    except BufferError:
                        self._producer.poll(0.05)


def _left_s(ends_at_s: float) -> float:
    return max(ends_at_s - time.monotonic(), 0.1)


_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


def _is_fenced(error: KafkaError) -> bool:
    return error.code() in _FENCED
