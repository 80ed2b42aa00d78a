"""Writing single records that somebody waits for, outside of every transaction."""

from confluent_kafka import KafkaException, Message, Producer

from fleet.errors import KafkaUnavailableError
from fleet.kafka.connection import bootstrap_servers, telemetry_producer

TIMEOUT_S = 5.0


class Appender:
    """Appends records, and says where they stand. Any thread may call it; it connects at its first record."""

    def __init__(self, client_id: str, timeout_s: float = TIMEOUT_S) -> None:
        self._client_id, self._timeout_s = client_id, timeout_s
        self._producer: Producer | None = None

    def append(self, topic: str, partition: int, key: str, value: bytes) -> int:
        """Append a record and return its offset. Raises KafkaUnavailableError where nobody knows whether it stands."""
        if self._producer is None:
            timeout_ms = int(self._timeout_s * 1000)
            self._producer = telemetry_producer(self._client_id, **{"linger.ms": 0, "delivery.timeout.ms": timeout_ms})
        offsets, failures = list[int](), list[str]()

        def done(error: object, message: Message) -> None:
            if error is None:
                offsets.append(message.offset())
            else:
                failures.append(str(error))

        try:
            self._producer.produce(topic, value, key, partition=partition, on_delivery=done)
            self._producer.flush(2 * self._timeout_s)
        except (BufferError, KafkaException) as error:
            failures.append(str(error))
        if not offsets:
            why = failures[0] if failures else "it does not answer"
            raise KafkaUnavailableError(f"Kafka at {bootstrap_servers()} did not take a record of {topic}: {why}")
        return offsets[0]
