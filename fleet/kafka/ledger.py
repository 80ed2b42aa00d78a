"""How far the ingest group has come in a partition, and what became of its records."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from fleet.errors import KafkaUnavailableError
from fleet.kafka.connection import REQUEST_TIMEOUT_S, error_text, group_reader
from fleet.kafka.offsets import edges
from fleet.settings import KafkaSettings


class Ledger(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one partition's records; it travels in the committed offset's metadata.

    Each number is counted by itself, so that read = scored + dead-lettered + in flight can fail: `read` at the poll,
    `scored` and `dead_lettered` at the commit, all three cumulative; `in_flight` in the queue that the commit leaves.
    `keyless` counts events whose record had no key, cumulative too.
    """

    read: int = 0
    scored: int = 0
    dead_lettered: int = 0
    in_flight: int = 0
    keyless: int = 0


class PartitionLedger(NamedTuple):
    """What Kafka knows about one telemetry partition: its ledger and where it stands in the log."""

    partition: int
    committed_offset: int | None
    low_offset: int
    end_offset: int
    ledger: Ledger

    @property
    def lag_records(self) -> int:
        """Offsets between what is committed and the end of the log."""
        return self.end_offset - (self.low_offset if self.committed_offset is None else self.committed_offset)


def offset_to_commit(kafka: KafkaSettings, partition: int, next_offset: int, ledger: Ledger) -> TopicPartition:
    """Build what is committed for a partition: where to read on, with the ledger as its metadata."""
    return TopicPartition(kafka.topics.telemetry, partition, next_offset, metadata=_encode(ledger).decode())


def committed_positions(
    consumer: Consumer, topic: str, partitions: Sequence[int]
) -> dict[int, tuple[int | None, Ledger]]:
    """Read committed offsets and their ledgers; the offset is None where nothing was committed yet.

    Raises KafkaUnavailableError.
    """
    try:
        found = consumer.committed([TopicPartition(topic, p) for p in partitions], timeout=REQUEST_TIMEOUT_S)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Committed offsets of {topic}: {error_text(exception)}") from None
    if errors := [position.error.str() for position in found if position.error is not None]:
        raise KafkaUnavailableError(f"Committed offsets of {topic}: {errors[0]}")
    return {
        position.partition: (None if position.offset < 0 else position.offset, decode_ledger(position.metadata))
        for position in found
    }


def committed_offsets(kafka: KafkaSettings, partitions: Sequence[int]) -> dict[int, int | None]:
    """Read partitions' committed offsets over a connection of its own. Raises KafkaUnavailableError.

    For a thread that must not wait for the consumer's: a client serves one thread at a time.
    """
    reader = group_reader(kafka)
    try:
        positions = committed_positions(reader, kafka.topics.telemetry, partitions)
        return {partition: offset for partition, (offset, _) in positions.items()}
    finally:
        reader.close()


def partition_ledgers(consumer: Consumer, kafka: KafkaSettings) -> list[PartitionLedger]:
    """Read where the ingest group stands in every telemetry partition. Raises KafkaUnavailableError.

    `consumer` is a `ledger_reader`, or any client whose group.id is the ingest group's; it need not be a member.
    """
    topic = kafka.topics.telemetry
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions)
        committed = committed_positions(consumer, topic, partitions)
        first = edges(consumer, topic, partitions, OFFSET_BEGINNING)
        following = edges(consumer, topic, partitions, OFFSET_END)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"The group's offsets on {topic}: {error_text(exception)}") from None
    return [
        PartitionLedger(partition, offset, first[partition], following[partition], ledger)
        for partition, (offset, ledger) in sorted(committed.items())
    ]


def decode_ledger(metadata: str | None) -> Ledger:
    """Read a committed offset's metadata; anything that is not ours counts from zero."""
    try:
        return msgspec.json.decode(metadata or "", type=Ledger)
    except msgspec.MsgspecError:
        return Ledger()


_encode = msgspec.json.Encoder().encode
