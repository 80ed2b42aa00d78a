"""The only module of the product that talks to Kafka: clients, topics, and the transaction of one partition.

Connection and credentials come from the environment (`client_config`); everything else from `fleet.settings`.
"""

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec

# Re-exported: the rest of the product takes the client's types from here.
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, IsolationLevel
from confluent_kafka import Consumer as Consumer
from confluent_kafka import KafkaError as KafkaError
from confluent_kafka import KafkaException as KafkaException
from confluent_kafka import Message as Message
from confluent_kafka import Producer as Producer
from confluent_kafka import TopicPartition as TopicPartition
from confluent_kafka.admin import AdminClient as AdminClient
from confluent_kafka.admin import AlterConfigOpType as AlterConfigOpType
from confluent_kafka.admin import ConfigEntry as ConfigEntry
from confluent_kafka.admin import ConfigResource as ConfigResource
from confluent_kafka.admin import NewPartitions as NewPartitions
from confluent_kafka.admin import (
    NewTopic,
    OffsetSpec,
)
from confluent_kafka.admin import ResourceType as ResourceType

from fleet.errors import (
    CommitUncertainError,
    FencedError,
    KafkaUnavailableError,
    RetentionGapError,
    SettingsError,
    TopicMismatchError,
)
from fleet.settings import IngestSettings, KafkaSettings

DEFAULT_BOOTSTRAP_SERVERS = "localhost:9092"
REQUEST_TIMEOUT_S = 10.0
IDLE_READ_S = 0.2
# After a full queue; the client's default would then not fetch for a second.
QUEUE_BACKOFF_MS = 10
HEARTBEAT_INTERVAL_MS = 300  # well under the shortest session that may be set
METADATA_INTERVAL_MS = 10_000  # new partitions are found so soon, not after the client's 5 minutes
READ_PATIENCE_S = 30.0
PROGRESS_INTERVAL_S = 5.0
_READ_TO_END_RECORDS = 5_000
_READ_RANGE_RECORDS = 10_000
_LEADER_BACK_OFF_S = 0.1
_READ_RANGE_LINGER_S = 0.05  # the client waits so long for the rest of so many, at the end of a log too
_LARGER_THAN_TELEMETRY_BYTES = 65_536
_STATE_SEGMENT_BYTES = 16_777_216

# Environment variable -> librdkafka property. Passwords stay out of files and command lines.
_CLIENT_VARIABLES = {
    "KAFKA_BOOTSTRAP_SERVERS": "bootstrap.servers",
    "KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_SASL_USERNAME": "sasl.username",
    "KAFKA_SASL_PASSWORD": "sasl.password",
    "KAFKA_SSL_CA_LOCATION": "ssl.ca.location",
    "KAFKA_SSL_CERTIFICATE_LOCATION": "ssl.certificate.location",
    "KAFKA_SSL_KEY_LOCATION": "ssl.key.location",
    "KAFKA_SSL_KEY_PASSWORD": "ssl.key.password",
    "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM": "ssl.endpoint.identification.algorithm",
}

logger = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record to publish; its header `source` is the `partition:offset` of the telemetry record it comes from."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes]]


class Ledger(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one partition's records; it travels in the committed offset's metadata.

    Each number is counted by itself, so that read = scored + dead-lettered + in flight can fail: `read` at the poll,
    `scored` and `dead_lettered` at the commit, all three cumulative; `in_flight` in the queue that the commit leaves.
    """

    read: int = 0
    scored: int = 0
    dead_lettered: int = 0
    in_flight: int = 0


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


class OffsetRange(NamedTuple):
    """Offsets of one partition, from `first` up to and without `next`; not every one of them need be a record."""

    first: int
    next: int


def client_config(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Build the connection's properties from the environment. Raises SettingsError for a broken combination."""
    config = {prop: environ[name] for name, prop in _CLIENT_VARIABLES.items() if environ.get(name)}
    config.setdefault("bootstrap.servers", DEFAULT_BOOTSTRAP_SERVERS)
    if "sasl.username" in config and "sasl.password" not in config:
        raise SettingsError("KAFKA_SASL_USERNAME is set but KAFKA_SASL_PASSWORD is not: set both or neither.")
    if "sasl.username" in config and not config.get("security.protocol", "").upper().startswith("SASL"):
        raise SettingsError(
            "KAFKA_SASL_USERNAME is set: set KAFKA_SECURITY_PROTOCOL to SASL_SSL (or SASL_PLAINTEXT) as well."
        )
    return config


def admin_client(environ: Mapping[str, str] = os.environ) -> AdminClient:
    """Connect an administrator."""
    return AdminClient({**client_config(environ), **_quiet()})


def ingest_consumer(kafka: KafkaSettings, ingest: IngestSettings) -> Consumer:
    """Build a member of the ingest group; it never resets or commits an offset by itself."""
    return Consumer(
        {
            **client_config(),
            **_quiet(),
            "group.id": kafka.group_id,
            "client.id": f"{kafka.application_id}-ingest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(ingest.session_timeout_s * 1000),
            # A member learns of a rebalance by its heartbeat, and each of its rounds waits for the slowest: with the
            # client's 3 s between two, partitions stood for 4.5 s without an owner while one moved.
            "heartbeat.interval.ms": HEARTBEAT_INTERVAL_MS,
            # So long a rebalance waits for members that say nothing. When Kafka 4.2.2 came back from a full disk it
            # once forgot to wait for the heartbeats of members that were gone: with the client's 300 s nobody owned a
            # partition for as long. Serve replaces who makes no turn for this time, so the group need not wait either.
            "max.poll.interval.ms": int(max(ingest.stuck_after_s, ingest.session_timeout_s) * 1000),
            "topic.metadata.refresh.interval.ms": METADATA_INTERVAL_MS,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            "queued.max.messages.kbytes": 32_768,
            "queued.min.messages": 20_000,
            "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,
            "fetch.message.max.bytes": 4_194_304,
        }
    )


def tail_consumer(kafka: KafkaSettings, client_id: str, **overrides: Any) -> Consumer:
    """Build a reader that follows a topic by itself, outside of every group; the caller assigns positions."""
    return Consumer(
        {
            **client_config(),
            **_quiet(),
            "group.id": f"{kafka.application_id}-{client_id}",  # required by the client; nothing is committed to it
            "client.id": f"{kafka.application_id}-{client_id}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 32_768,
            "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,
            **overrides,
        }
    )


def telemetry_producer(client_id: str, **overrides: Any) -> Producer:
    """Build an idempotent producer for the outside world (simulator, replay, load test).

    It hashes keys as the Java client does, so that a vehicle lands in the same partition whoever sends it.
    """
    return Producer(
        {
            **client_config(),
            **_quiet(),
            "client.id": client_id,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            # The client sends a request per partition: at the 5 ms of its default a local broker with six of them takes
            # 71 % of a core at 2,000 events/s, and 58 % at 20 ms.
            "linger.ms": 20,
            "queue.buffering.max.messages": 100_000,
            "delivery.timeout.ms": 120_000,
            **overrides,
        }
    )


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
            **_quiet(),
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
            "message.max.bytes": self._kafka.max_message_bytes + _LARGER_THAN_TELEMETRY_BYTES,
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
                    f"Kafka did not open a transaction of {self._name}: {_text(exception)}"
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
            raise KafkaUnavailableError(f"Publishing: {_text(exception)}") from None
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
                    try:  # all by place: names cost a third of the call (timestamp 0: now)
                        produce(record.topic, record.value, record.key, partition, None, on_delivery, 0, record.headers)
                        break
                    except BufferError:
                        self._producer.poll(0.05)


def _left_s(ends_at_s: float) -> float:
    return max(ends_at_s - time.monotonic(), 0.1)


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
        raise KafkaUnavailableError(f"Committed offsets of {topic}: {_text(exception)}") from None
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
        raise KafkaUnavailableError(f"Offsets of {topic}/{partition}: {_text(exception)}") from None
    return int(low)


def partition_ledgers(consumer: Consumer, kafka: KafkaSettings) -> list[PartitionLedger]:
    """Read where the ingest group stands in every telemetry partition. Raises KafkaUnavailableError.

    `consumer` is a `ledger_reader`, or any client whose group.id is the ingest group's; it need not be a member.
    """
    topic = kafka.topics.telemetry
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions)
        committed = committed_positions(consumer, topic, partitions)
        first = _edges(consumer, topic, partitions, OFFSET_BEGINNING)
        following = _edges(consumer, topic, partitions, OFFSET_END)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"The group's offsets on {topic}: {_text(exception)}") from None
    return [
        PartitionLedger(partition, offset, first[partition], following[partition], ledger)
        for partition, (offset, ledger) in sorted(committed.items())
    ]


def _edges(consumer: Consumer, topic: str, partitions: Iterable[int], edge: int) -> dict[int, int]:
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
        raise KafkaUnavailableError(f"Reading {topic}/{partition}: {_text(exception)}") from None
    finally:
        reader.close()
    raise KafkaUnavailableError(f"Reading {topic}/{partition}: Kafka at {bootstrap_servers()} does not answer.")


def _learn_leaders(reader: Consumer, topic: str, timeout_s: float) -> None:
    """Ask who leads a topic's partitions; a client that has to find out by itself waits half a second first."""
    with contextlib.suppress(KafkaException):  # then it does
        reader.list_topics(topic, timeout=timeout_s)


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
        raise KafkaUnavailableError(f"The end of {topic}/{partition}: {_text(exception)}") from None
    finally:
        reader.close()


def group_reader(kafka: KafkaSettings, **overrides: Any) -> Consumer:
    """Build a client that may read the ingest group's offsets without joining it; it waits for what is pending."""
    return Consumer(
        {**client_config(), **_quiet(), "group.id": kafka.group_id, "enable.auto.commit": False, **overrides}
    )


def ledger_reader(kafka: KafkaSettings) -> Consumer:
    """Build a client for `partition_ledgers` that takes what is committed, while transactions are pending, too.

    Kafka answers a read_committed client only at a moment when no partition has an offset pending. Among many
    partitions under load there is none (seen with eight on a busy machine: no answer for 10 s).
    """
    return group_reader(kafka, **{"isolation.level": "read_uncommitted"})


def decode_ledger(metadata: str | None) -> Ledger:
    """Read a committed offset's metadata; anything that is not ours counts from zero."""
    try:
        return msgspec.json.decode(metadata or "", type=Ledger)
    except msgspec.MsgspecError:
        return Ledger()


def ensure_topics(kafka: KafkaSettings, admin: AdminClient | None = None) -> list[str]:
    """Create missing topics and compare existing ones with the settings.

    Returns a sentence for each harmless difference. Raises TopicMismatchError for a difference that breaks a
    promise (too few partitions, results that may be too large), KafkaUnavailableError when Kafka is away.
    """
    admin = admin or admin_client()
    wanted = _topics(kafka)
    try:
        existing = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Kafka at {bootstrap_servers()} does not answer: {_text(exception)}") from None
    missing = [topic for name, topic in wanted.items() if name not in existing]
    if missing:
        _create(admin, missing)
    counts = {
        name: len(existing[name].partitions) if name in existing else topic.num_partitions
        for name, topic in wanted.items()
    }
    present = [name for name in wanted if name in existing]
    return _partition_differences(kafka, counts) + _differences(admin, wanted, present)


def _partition_differences(kafka: KafkaSettings, counts: Mapping[str, int]) -> list[str]:
    """Compare the numbers of partitions: each of the telemetry's needs its own in every other topic.

    More than the settings say are harmless, and come about when partitions are added to live topics: a member that is
    restarted before the setting follows must not refuse its work.
    """
    fewest = max(kafka.partitions, counts[kafka.topics.telemetry])
    if wrong := [f"{name} has {count} partitions" for name, count in counts.items() if count < fewest]:
        raise TopicMismatchError(
            f"kafka.partitions is {kafka.partitions} and {kafka.topics.telemetry} has "
            f"{counts[kafka.topics.telemetry]}, but {' and '.join(wrong)}: set kafka.partitions to what stands, "
            "or add partitions to the topics that have fewer."
        )
    return [
        f"Topic {name} has {count} partitions, kafka.partitions says {kafka.partitions}."
        for name, count in counts.items()
        if count > kafka.partitions
    ]


def bootstrap_servers() -> str:
    """Say which Kafka the environment names."""
    return str(client_config()["bootstrap.servers"])


def is_unreachable(error: KafkaError) -> bool:
    """Tell whether an error only says that Kafka is away for now."""
    return bool(error.retriable()) or error.code() in _AWAY


_AWAY = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)
_NOT_ALLOWED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_encode = msgspec.json.Encoder().encode


def _is_fenced(error: KafkaError) -> bool:
    return error.code() in _FENCED


def _text(exception: KafkaException) -> str:
    return str(exception.args[0].str()) if isinstance(exception.args[0], KafkaError) else str(exception)


def _quiet() -> dict[str, Any]:
    """Route the client's own log lines through `logging`, and its errors past the terminal."""
    return {
        "logger": logging.getLogger("fleet.kafka.client"),
        "error_cb": lambda error: logger.debug("kafka_client_error", extra={"error": error.str()}),
        "log_level": 2,  # an absent broker is said once, by us; the client says it 28 times a second
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
    }


def _topics(kafka: KafkaSettings) -> dict[str, NewTopic]:
    names = kafka.topics
    retention = {"retention.ms": str(int(kafka.retention_hours * 3_600_000)), "cleanup.policy": "delete"}
    telemetry_bytes = str(kafka.max_message_bytes)
    result_bytes = str(kafka.max_message_bytes + _LARGER_THAN_TELEMETRY_BYTES)
    compacted = {"cleanup.policy": "compact", "max.message.bytes": result_bytes}
    # A new owner reads a partition's states from the first one that compaction has left: few should be.
    often = {"segment.bytes": str(_STATE_SEGMENT_BYTES), "min.cleanable.dirty.ratio": "0.1"}
    configs = {
        names.telemetry: {
            **retention,
            "max.message.bytes": telemetry_bytes,
            "message.timestamp.type": "LogAppendTime",  # `appendedAt` is the broker's word, not the sender's
        },
        names.scored: {**retention, "max.message.bytes": result_bytes},
        names.dlq: {**retention, "max.message.bytes": result_bytes},
        names.episodes: compacted,
        names.state: {**compacted, **often},
    }
    return {
        name: NewTopic(
            name, num_partitions=kafka.partitions, replication_factor=kafka.replication_factor, config=config
        )
        for name, config in configs.items()
    }


def _create(admin: AdminClient, topics: list[NewTopic]) -> None:
    futures: dict[str, Future[None]] = admin.create_topics(topics, request_timeout=REQUEST_TIMEOUT_S)
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue  # another process was faster
            if is_unreachable(error) or error.code() in _NOT_ALLOWED:
                # Without the right to create topics, somebody else does (an operator, an administrator): wait for it.
                raise KafkaUnavailableError(f"Topic {name} is not there yet: {error.str()}") from None
            raise TopicMismatchError(
                f"Topic {name} could not be created: {error.str()}; create it by hand, or change the kafka settings."
            ) from None


def _differences(admin: AdminClient, wanted: Mapping[str, NewTopic], names: Sequence[str]) -> list[str]:
    """Compare the configuration of existing topics with what we would have created."""
    if not names:
        return []
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    sentences = []
    for resource, future in admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            found = future.result()
        except KafkaException as exception:
            raise KafkaUnavailableError(f"Configuration of {resource.name}: {_text(exception)}") from None
        for key, value in wanted[resource.name].config.items():
            if found[key].value != value:
                sentences.append(f"Topic {resource.name}: {key} is {found[key].value}, the settings say {value}.")
    return sentences


def follow(
    consumer: Consumer,
    records_by_topic: Mapping[str, int | None],
    read_before: Mapping[tuple[str, int], int] | None = None,
) -> None:
    """Assign all partitions of some topics to a `tail_consumer`, each at its last so many records (None: its first).

    `read_before` says, by topic and partition, which offset comes next where the caller has read already. Raises
    KafkaUnavailableError, also where a topic does not exist yet.
    """
    positions = []
    try:
        for topic, records in records_by_topic.items():
            found = consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
            if not found.partitions:
                raise KafkaUnavailableError(f"Topic {topic} does not exist yet.")
            first = _edges(consumer, topic, found.partitions, OFFSET_BEGINNING)
            following = _edges(consumer, topic, found.partitions, OFFSET_END)
            for partition, high in sorted(following.items()):
                low = first[partition]
                start = low if records is None else max(low, high - records)
                known = (read_before or {}).get((topic, partition), start)
                # A position beyond the end is one in a topic that has been made anew since.
                positions.append(TopicPartition(topic, partition, max(start, known) if known <= high else start))
        consumer.assign(positions)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Kafka at {bootstrap_servers()} does not answer: {_text(exception)}") from None


def partition_count(consumer: Consumer, topic: str) -> int:
    """Ask how many partitions a topic has now. Raises KafkaUnavailableError."""
    try:
        found = consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions
        return len(found)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Kafka at {bootstrap_servers()} does not answer: {_text(exception)}") from None


def poll_values(consumer: Consumer, most_records: int, idle_s: float, linger_s: float) -> list[Message]:
    """Wait up to `idle_s` for a first record, then `linger_s` for more. Raises KafkaUnavailableError."""
    messages: list[Message] = consumer.consume(1, idle_s)
    if messages and most_records > 1:
        messages += consumer.consume(most_records - 1, linger_s)
    for message in messages:
        if (error := message.error()) is not None:
            raise KafkaUnavailableError(f"Reading {message.topic()}/{message.partition()}: {error.str()}")
    return messages


def single_record_reader(kafka: KafkaSettings) -> Consumer:
    """Build a reader for `append_times_s`: it fetches little at a time."""
    return Consumer(
        {
            **client_config(),
            **_quiet(),
            "group.id": f"{kafka.application_id}-append-times",  # required by the client; nothing is committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "fetch.message.max.bytes": 16_384,
            "queued.min.messages": 1,
            "fetch.queue.backoff.ms": 5,  # one message is a full queue here; the default waits a second after it
        }
    )


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
        raise KafkaUnavailableError(f"Records of {topic}: {_text(exception)}") from None
    return times


def held_offsets(admin: AdminClient, topic: str, *, committed: bool) -> dict[int, OffsetRange]:
    """Ask which offsets a topic holds, by partition: to where read_committed readers get now, or to the very end.

    Raises TopicMismatchError when there is no such topic, KafkaUnavailableError.
    """
    isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    try:
        partitions = sorted(admin.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Kafka at {bootstrap_servers()} does not answer: {_text(exception)}") from None
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


def kept_for_s(admin: AdminClient, topic: str) -> float | None:
    """Ask how long a topic keeps every record; None where that depends on its size too, or may not be asked.

    Raises KafkaUnavailableError.
    """
    [answer] = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic)], request_timeout=REQUEST_TIMEOUT_S
    ).values()
    try:
        found = answer.result()
    except KafkaException as exception:
        if exception.args[0].code() in _NOT_ALLOWED:
            return None
        raise KafkaUnavailableError(f"Configuration of {topic}: {_text(exception)}") from None
    if int(found["retention.bytes"].value) >= 0:
        return None
    kept_for_ms = int(found["retention.ms"].value)
    return math.inf if kept_for_ms < 0 else kept_for_ms / 1000


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
                run, following = runs[partition], waiting[partition].next
                ends[partition] = max(run[-1].offset() + 1, ends.get(partition, 0))
                if ends[partition] > following:
                    run = [message for message in run if message.offset() < following]
                if run:
                    read += len(run)
                    yield partition, run
            done = [partition for partition, wanted in waiting.items() if ends.get(partition, 0) >= wanted.next]
            if done:
                reader.pause([TopicPartition(topic, partition) for partition in done])
                waiting = {partition: wanted for partition, wanted in waiting.items() if partition not in done}
            if waiting and time.monotonic() > silent_until_s:
                raise KafkaUnavailableError(_silence(topic, waiting, patience_s))
            if time.monotonic() > said_at_s + PROGRESS_INTERVAL_S:
                said_at_s = time.monotonic()
                say(f"{read:,} records of {topic} read")
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Reading {topic}: {_text(exception)}") from None
    finally:
        reader.close()


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
                raise KafkaUnavailableError(f"Offsets of {topic}: {_text(exception)}") from None
            time.sleep(_LEADER_BACK_OFF_S)
    return {}
