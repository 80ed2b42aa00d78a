"""The seven topics: what they should be, creating them, and how existing ones differ."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic, ResourceType

from fleet.errors import KafkaUnavailableError, TopicMismatchError, UnsoundKafkaError
from fleet.kafka.broker_release import Address, unsound_brokers
from fleet.kafka.connection import (
    LARGER_THAN_TELEMETRY_BYTES,
    NOT_ALLOWED,
    REQUEST_TIMEOUT_S,
    admin_client,
    client_config,
    error_text,
    is_unreachable,
    why_away,
)
from fleet.settings import KafkaSettings

_STATE_SEGMENT_BYTES = 16_777_216


def ensure_topics(kafka: KafkaSettings, admin: AdminClient | None = None) -> list[str]:
    """Create missing topics and compare existing ones with the settings; look at the brokers' release first.

    Returns a sentence for each harmless difference. Raises TopicMismatchError for a difference that breaks a
    promise (too few partitions, results that may be too large), UnsoundKafkaError for brokers that break one,
    KafkaUnavailableError when Kafka is away.
    """
    admin = admin or admin_client()
    wanted, cluster = wanted_topics(kafka), _cluster(admin)
    if not kafka.accept_any_release:
        _check_release([Address(broker.host, broker.port) for broker in cluster.brokers.values()])
    existing = cluster.topics
    missing = [topic for name, topic in wanted.items() if name not in existing]
    if missing:
        _create(admin, missing)
    counts = {
        name: len(existing[name].partitions) if name in existing else topic.num_partitions
        for name, topic in wanted.items()
    }
    present = [name for name in wanted if name in existing]
    return _partition_differences(kafka, counts) + _differences(admin, wanted, present)


def brokers(admin: AdminClient) -> list[Address]:
    """Return where the brokers listen. Raises KafkaUnavailableError."""
    return [Address(broker.host, broker.port) for broker in _cluster(admin).brokers.values()]


def missing_topics(kafka: KafkaSettings, admin: AdminClient) -> list[str]:
    """Return the names of the topics that are not there. Raises KafkaUnavailableError."""
    existing = _cluster(admin).topics
    return [name for name in wanted_topics(kafka) if name not in existing]


def _cluster(admin: AdminClient) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as exception:
        raise KafkaUnavailableError(why_away(admin, exception)) from None


def _check_release(brokers: Sequence[Address]) -> None:
    if unsound := unsound_brokers(brokers, client_config()):
        named = ", ".join(f"{host}:{port}" for host, port in unsound)
        raise UnsoundKafkaError(
            f"{named} run Kafka 4.3 or 4.4: from 4.3.0 to 4.4.0, readers can wait for ever after a broker's crash "
            "(KAFKA-20734). Run Kafka 4.2; if yours has the mend, set kafka.accept_any_release."
        )


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


def wanted_topics(kafka: KafkaSettings) -> dict[str, NewTopic]:
    """Return the topics as the settings want them, by name."""
    names = kafka.topics
    retention = {"retention.ms": str(int(kafka.retention_hours * 3_600_000)), "cleanup.policy": "delete"}
    telemetry_bytes = str(kafka.max_message_bytes)
    result_bytes = str(kafka.max_message_bytes + LARGER_THAN_TELEMETRY_BYTES)
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
        names.actions: compacted,
        names.senders: {**compacted, **retention, "cleanup.policy": "compact,delete"},
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
            if is_unreachable(error) or error.code() in NOT_ALLOWED:
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
            raise KafkaUnavailableError(f"Configuration of {resource.name}: {error_text(exception)}") from None
        for key, value in wanted[resource.name].config.items():
            if found[key].value != value:
                sentences.append(f"Topic {resource.name}: {key} is {found[key].value}, the settings say {value}.")
        if found["unclean.leader.election.enable"].value == "true":
            sentences.append(
                f"Topic {resource.name}: unclean.leader.election.enable is true, so that Kafka may lose records that "
                "it has acknowledged: set it to false."
            )
    return sentences


def partition_count(consumer: Consumer, topic: str) -> int:
    """Ask how many partitions a topic has now. Raises KafkaUnavailableError."""
    try:
        found = consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions
        return len(found)
    except KafkaException as exception:
        raise KafkaUnavailableError(why_away(consumer, exception)) from None


def topic_id(admin: AdminClient, topic: str) -> str:
    """Ask for the id that a topic keeps as long as it lives; one that is made anew has another.

    Raises KafkaUnavailableError, also where the topic does not exist yet.
    """
    [answer] = admin.describe_topics(TopicCollection([topic]), request_timeout=REQUEST_TIMEOUT_S).values()
    try:
        return str(answer.result().topic_id)
    except KafkaException as exception:
        if exception.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaUnavailableError(f"Topic {topic} does not exist yet.") from None
        raise KafkaUnavailableError(why_away(admin, exception)) from None


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
        if exception.args[0].code() in NOT_ALLOWED:
            return None
        raise KafkaUnavailableError(f"Configuration of {topic}: {error_text(exception)}") from None
    if int(found["retention.bytes"].value) >= 0:
        return None
    kept_for_ms = int(found["retention.ms"].value)
    return math.inf if kept_for_ms < 0 else kept_for_ms / 1000
