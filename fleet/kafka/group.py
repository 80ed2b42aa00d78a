"""Who is in the consumer group of ingest."""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from fleet.errors import KafkaUnavailableError
from fleet.kafka.connection import REQUEST_TIMEOUT_S, error_text
from fleet.settings import KafkaSettings


def member_count(admin: AdminClient, kafka: KafkaSettings) -> int:
    """Count the members that ingest has now. Raises KafkaUnavailableError."""
    [answer] = admin.describe_consumer_groups([kafka.group_id], request_timeout=REQUEST_TIMEOUT_S).values()
    try:
        return len(answer.result().members)
    except KafkaException as exception:
        raise KafkaUnavailableError(f"Members of the group {kafka.group_id}: {error_text(exception)}") from None
