"""Reading topics: following their ends, to their ends, and stretches of them."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from fleet.errors import KafkaUnavailableError, RetentionGapError
from fleet.kafka.connection import (
    REQUEST_TIMEOUT_S,
    bootstrap_servers,
    error_text,
    is_unreachable,
    tail_consumer,
    why_away,
)
from fleet.kafka.offsets import OffsetRange, edges
from fleet.settings import KafkaSettings

IDLE_READ_S = 0.2
READ_PATIENCE_S = 30.0
PROGRESS_INTERVAL_S = 5.0
_READ_TO_END_RECORDS = 5_000
_READ_RANGE_RECORDS = 10_000
_READ_RANGE_LINGER_S = 0.05  # the client waits so long for the rest of so many, at the end of a log too


def read_to_end(kafka: KafkaSettings, topic: str, partition: int, start: int | None = None) -> Iterator[list[Message]]:
    """Read one partition from `start` (else from its first record) to where read_committed readers get now.

    Raises KafkaUnavailableError.
    """
    reader = tail_consumer(kafka, f"{topic}-{partition}", **{"enable.partition.eof": True})
    try:
        _learn_leaders(reader, topic, REQUEST_TIMEOUT_S)
        reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING if start is None else start)])
        silent_until_s = time.monotonic() + REQUEST_TIMEOUT_S
        while time.monotonic() < silent_until_s:
            messages = reader.consume(_READ_TO_END_RECORDS, IDLE_READ_S)
            errors = [error for message in messages if (error := message.error()) is not None]
            if records := [message for message in messages if message.error() is None]:
                silent_until_s = time.monotonic() + REQUEST_TIMEOUT_S
                yield records
            if any(error.code() == KafkaError._PARTITION_EOF for error in errors):
                return
            if errors and not is_unreachable(errors[0]):
                raise KafkaUnavailableError(f"Reading {topic}/{partition}: {errors[0].str()}")
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Reading {topic}/{partition}: {error_text(exception)}") from None
    finally:
        reader.close()
    raise KafkaUnavailableError(f"Reading {topic}/{partition}: Kafka at {bootstrap_servers()} does not answer.")


def _learn_leaders(reader: Consumer, topic: str, timeout_s: float) -> None:
    """Ask who leads a topic's partitions; a client that has to find out by itself waits half a second first."""
    with contextlib.suppress(KafkaException):  # then it does
        reader.list_topics(topic, timeout=timeout_s)


def follow(
    consumer: Consumer,
    records_by_topic: Mapping[str, int | None],
    read_before: Mapping[tuple[str, int], int] | None = None,
) -> dict[tuple[str, int], int]:
    """Assign all partitions of some topics to a `tail_consumer`, each at its last so many records (None: its first).

    `read_before` says, by topic and partition, which offset comes next where the caller has read already. Returns the
    offsets at which reading begins. Raises KafkaUnavailableError, also where a topic does not exist yet.
    """
    positions = []
    try:
        for topic, records in records_by_topic.items():
            found = consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
            if not found.partitions:
                raise KafkaUnavailableError(f"Topic {topic} does not exist yet.")
            first = edges(consumer, topic, found.partitions, OFFSET_BEGINNING)
            following = edges(consumer, topic, found.partitions, OFFSET_END)
            for partition, high in sorted(following.items()):
                low = first[partition]
                start = low if records is None else max(low, high - records)
                known = (read_before or {}).get((topic, partition), start)
                # A position beyond the end is one in a topic that has been made anew since.
                positions.append(TopicPartition(topic, partition, max(start, known) if known <= high else start))
        consumer.assign(positions)
        return {(position.topic, position.partition): position.offset for position in positions}
    except KafkaException as exception:
        raise KafkaUnavailableError(why_away(consumer, exception)) from None


def poll_values(consumer: Consumer, most_records: int, idle_s: float, linger_s: float) -> list[Message]:
    """Wait up to `idle_s` for a first record, then `linger_s` for more. Raises KafkaUnavailableError."""
    messages: list[Message] = consumer.consume(1, idle_s)
    if messages and most_records > 1:
        messages += consumer.consume(most_records - 1, linger_s)
    for message in messages:
        if (error := message.error()) is not None:
            raise KafkaUnavailableError(f"Reading {message.topic()}/{message.partition()}: {error.str()}")
    return messages


def append_times_s(
    reader: Consumer, topic: str, offset_by_partition: Mapping[int, int], timeout_s: float
) -> dict[int, float]:
    """Read when the record at an offset (or the next one there is) was appended, in Unix seconds, by partition.

    Partitions that did not answer in time are left out. `reader` is a `single_record_reader`.
    """
    times: dict[int, float] = {}
    deadline_s = time.monotonic() + timeout_s
    try:
        # One after the other: together, the first partition's records would keep the others waiting.
        for partition, offset in offset_by_partition.items():
            reader.assign([TopicPartition(topic, partition, offset)])
            message = reader.poll(max(deadline_s - time.monotonic(), 0.0))
            if message is not None and message.error() is None:
                times[partition] = message.timestamp()[1] / 1000
        reader.unassign()
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Records of {topic}: {error_text(exception)}") from None
    return times


def read_ranges(
    kafka: KafkaSettings,
    topic: str,
    ranges: Mapping[int, OffsetRange],
    client_id: str,
    patience_s: float = READ_PATIENCE_S,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[int, list[Message]]]:
    """Read the committed records of some offsets of a topic: a partition and a run of its records, in log order.

    `say` is told every few seconds how far it is. Raises RetentionGapError when records were deleted before they were
    read, KafkaUnavailableError when nothing came for `patience_s`: Kafka is away, or a transaction stays open.
    """
    waiting = {partition: wanted for partition, wanted in ranges.items() if wanted.first < wanted.next}
    reader = tail_consumer(kafka, client_id, **_RANGE_READER)
    read, said_at_s = 0, time.monotonic()
    try:
        _learn_leaders(reader, topic, patience_s)
        reader.assign([TopicPartition(topic, partition, wanted.first) for partition, wanted in waiting.items()])
        silent_until_s = time.monotonic() + patience_s
        while waiting:
            runs, ends = _runs_and_ends(reader.consume(_READ_RANGE_RECORDS, _READ_RANGE_LINGER_S))
            for partition in waiting.keys() & runs.keys():
                silent_until_s = time.monotonic() + patience_s
                run = _before(waiting[partition].next, runs[partition])
                ends[partition] = max(runs[partition][-1].offset() + 1, ends.get(partition, 0))
                if run:
                    read += len(run)
                    yield partition, run
            waiting = _still_waiting(reader, topic, waiting, ends)
            if waiting and time.monotonic() > silent_until_s:
                raise KafkaUnavailableError(_silence(topic, waiting, patience_s))
            if time.monotonic() > said_at_s + PROGRESS_INTERVAL_S:
                said_at_s = time.monotonic()
                say(f"{read:,} records of {topic} read")
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Reading {topic}: {error_text(exception)}") from None
    finally:
        reader.close()


def _before(following: int, run: list[Message]) -> list[Message]:
    """Return what of a run stands before an offset."""
    if run[-1].offset() < following:
        return run
    return [message for message in run if message.offset() < following]


def _still_waiting(
    reader: Consumer, topic: str, waiting: Mapping[int, OffsetRange], ends: Mapping[int, int]
) -> dict[int, OffsetRange]:
    """Return the stretches that have not been read to their end, and pause the partitions of the others."""
    done = [partition for partition, wanted in waiting.items() if ends.get(partition, 0) >= wanted.next]
    if done:
        reader.pause([TopicPartition(topic, partition) for partition in done])
    return {partition: wanted for partition, wanted in waiting.items() if partition not in done}


_RANGE_READER = {
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 10,  # the default waits a second once the queue is full: 83,000 events/s, not 200,000
}


def _runs_and_ends(messages: Sequence[Message]) -> tuple[dict[int, list[Message]], dict[int, int]]:
    """Sort what was polled: records by partition, and the offsets at which partitions have nothing more for now."""
    runs: dict[int, list[Message]] = {}
    ends: dict[int, int] = {}
    for message in messages:
        if (error := message.error()) is None:
            runs.setdefault(message.partition(), []).append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            ends[message.partition()] = message.offset()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise RetentionGapError(
                f"{message.topic()} partition {message.partition()}: retention deleted records before they were read "
                f"({error.str()}): begin later."
            )
        elif not is_unreachable(error):
            raise KafkaUnavailableError(f"Reading {message.topic()}/{message.partition()}: {error.str()}")
    return runs, ends


def _silence(topic: str, waiting: Mapping[int, OffsetRange], patience_s: float) -> str:
    partition, wanted = next(iter(waiting.items()))
    return (
        f"Kafka at {bootstrap_servers()} gave nothing more of {topic} partition {partition} up to offset "
        f"{wanted.next - 1} for {patience_s:g} s: it is away, or a transaction there stays open; try again."
    )
