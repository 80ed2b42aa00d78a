"""Where a partition begins and ends, and where its records of some time stand."""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from fleet.errors import KafkaUnavailableError, RetentionGapError, TopicMismatchError
from fleet.kafka.connection import (
    REQUEST_TIMEOUT_S,
    bootstrap_servers,
    error_text,
    group_reader,
    is_unreachable,
    why_away,
)
from fleet.settings import KafkaSettings

_LEADER_BACK_OFF_S = 0.1


class OffsetRange(NamedTuple):
    """Offsets of one partition, from `first` up to and without `next`; not every one of them need be a record."""

    first: int
    next: int


def start_offset(
    consumer: Consumer, topic: str, partition: int, committed: int | None, *, skip_lost_records: bool
) -> int:
    """Decide where to read on: at the committed offset, or at the earliest record of a new group.

    Raises RetentionGapError when records that were never read have been deleted.
    """
    low = low_offset(consumer, topic, partition)
    if committed is None:
        return low
    if committed < low and not skip_lost_records:
        raise RetentionGapError(
            f"{topic} partition {partition}: offsets {committed} to {low - 1} were deleted by retention before they "
            f"were scored; set ingest.skip_lost_records to true to go on at {low}, and raise kafka.retention_hours."
        )
    return max(committed, low)


def low_offset(consumer: Consumer, topic: str, partition: int) -> int:
    """Ask for the first offset that retention has left. Raises KafkaUnavailableError."""
    try:
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_TIMEOUT_S)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Offsets of {topic}/{partition}: {error_text(exception)}") from None
    return int(low)


def edges(consumer: Consumer, topic: str, partitions: Iterable[int], edge: int) -> dict[int, int]:
    """Ask for the first offset of each partition (OFFSET_BEGINNING), or for the one after its last (OFFSET_END).

    The protocol takes both for times, so that one request to a broker asks for all its partitions; the client's own
    question for these two takes two requests a partition. Raises KafkaException.
    """
    asked = [TopicPartition(topic, partition, edge) for partition in partitions]
    found = consumer.offsets_for_times(asked, timeout=REQUEST_TIMEOUT_S)
    for position in found:
        if position.error is not None:
            raise KafkaException(position.error)
    return {position.partition: position.offset for position in found}


def end_offset(kafka: KafkaSettings, topic: str, partition: int) -> int:
    """Ask for the offset that the next record of a partition will get. Raises KafkaUnavailableError.

    Over a connection of its own, and not an administrator's: that keeps the leader's epoch of its first answer for
    ever, and is refused ever after the leader has changed.
    """
    reader = group_reader(kafka)
    try:
        _, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_TIMEOUT_S)
        return int(high)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"The end of {topic}/{partition}: {error_text(exception)}") from None
    finally:
        reader.close()


def held_offsets(admin: AdminClient, topic: str, *, committed: bool) -> dict[int, OffsetRange]:
    """Ask which offsets a topic holds, by partition: to where read_committed readers get now, or to the very end.

    Raises TopicMismatchError when there is no such topic, KafkaUnavailableError.
    """
    isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    try:
        partitions = sorted(admin.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions)
    except KafkaException as exception:
        raise KafkaUnavailableError(why_away(admin, exception)) from None
    if not partitions:
        raise TopicMismatchError(
            f"There is no topic {topic} at {bootstrap_servers()}: start the application, which creates it, or name "
            "the right Kafka and settings."
        )
    first = _list_offsets(admin, topic, dict.fromkeys(partitions, OffsetSpec.earliest()), isolation)
    following = _list_offsets(admin, topic, dict.fromkeys(partitions, OffsetSpec.latest()), isolation)
    return {partition: OffsetRange(first[partition], following[partition]) for partition in partitions}


def offsets_at(admin: AdminClient, topic: str, time_s_by_partition: Mapping[int, float]) -> dict[int, int | None]:
    """Ask for the first record of a partition with this timestamp (Unix seconds) or a later one; None: there is none.

    Raises KafkaUnavailableError.
    """
    specs = {p: OffsetSpec.for_timestamp(max(round(time_s * 1000), 0)) for p, time_s in time_s_by_partition.items()}
    found = _list_offsets(admin, topic, specs, IsolationLevel.READ_COMMITTED)
    return {partition: None if offset < 0 else offset for partition, offset in found.items()}


def _list_offsets(
    admin: AdminClient, topic: str, specs: Mapping[int, OffsetSpec], isolation: IsolationLevel
) -> dict[int, int]:
    """Ask for one offset of each partition; while a leader is being chosen (a new topic, a broker gone), again."""
    asked = {TopicPartition(topic, partition): spec for partition, spec in specs.items()}
    give_up_at_s = time.monotonic() + REQUEST_TIMEOUT_S
    while asked:
        answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=REQUEST_TIMEOUT_S)
        try:
            return {position.partition: int(answer.result().offset) for position, answer in answers.items()}
        except KafkaException as exception:
            if not is_unreachable(exception.args[0]) or time.monotonic() > give_up_at_s:
                raise KafkaUnavailableError(f"Offsets of {topic}: {error_text(exception)}") from None
            time.sleep(_LEADER_BACK_OFF_S)
    return {}
