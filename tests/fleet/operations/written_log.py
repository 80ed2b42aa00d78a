"""A small log on the real broker, written record by record as ingest would, or as it must not."""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet import kafka
from fleet.kafka import (
    CommitPart,
    Ledger,
    Message,
    Producer,
    Record,
    TopicPartition,
    TransactionalProducer,
    held_offsets,
)
from fleet.settings import Settings, TopicNames, read_settings

PARTITIONS = 2


def arguments(run: str | None = None) -> dict[str, Any]:
    """Settings of a run of its own, as they stand in a Serve config."""
    run = run or uuid.uuid4().hex[:8]
    topics = {name: f"{name}-{run}" for name in TopicNames.model_fields}
    return {"kafka": {"application_id": f"app-{run}", "topics": topics, "partitions": PARTITIONS}}


@dataclass
class WrittenLog:
    """Topics of its own, and what writes to them."""

    settings: Settings = field(default_factory=lambda: read_settings(arguments()))

    def __post_init__(self) -> None:
        kafka.ensure_topics(self.settings.kafka)
        self.topics = self.settings.kafka.topics
        self._admin = kafka.admin_client()
        self._producer = kafka.telemetry_producer("written-log")
        self._ingest = [TransactionalProducer(self.settings.kafka, self.settings.ingest, p) for p in range(PARTITIONS)]
        self._group = kafka.group_reader(self.settings.kafka)

    def close(self) -> None:
        """Let go of the clients."""
        for producer in self._ingest:
            producer.close()
        self._group.close()

    def publish(self, partition: int, values: Sequence[bytes | None], key: bytes | None = b"v") -> None:
        """Append telemetry."""
        for value in values:
            self._producer.produce(self.topics.telemetry, value, key, partition=partition)
        assert self._producer.flush(30) == 0

    def publish_in_transaction(self, partition: int, count: int, *, commit: bool, topic: str | None = None) -> None:
        """Append telemetry and a marker, which takes an offset; without commit the records are none."""
        producer = self.transactional()
        producer.begin_transaction()
        for _ in range(count):
            producer.produce(topic or self.topics.telemetry, b"{}", b"v", partition=partition)
        assert producer.flush(30) == 0
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
        self._until_settled(topic or self.topics.telemetry)

    def transactional(self, timeout_s: float = 60) -> Any:
        """Open a transactional producer of somebody else."""
        config = {"transactional.id": uuid.uuid4().hex, "transaction.timeout.ms": int(timeout_s * 1000)}
        producer = Producer({**kafka.client_config(), **config})
        producer.init_transactions(30)
        return producer

    def come_out(self, partition: int, records: Sequence[Record], next_offset: int, ledger: Ledger) -> None:
        """Publish what came out, with the offset, as ingest does."""
        offset = kafka.offset_to_commit(self.settings.kafka, partition, next_offset, ledger)
        self._ingest[partition].commit(
            [CommitPart(partition, records, offset)], self._group.consumer_group_metadata(), 10.0
        )
        for topic in {record.topic for record in records}:
            self._until_settled(topic)

    def _until_settled(self, topic: str) -> None:
        """Wait for a transaction's markers, which follow its answer: what comes next shall follow them."""
        deadline_s = time.monotonic() + 30
        while held_offsets(self._admin, topic, committed=True) != held_offsets(self._admin, topic, committed=False):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def scored(self, partition: int, offset: int, vehicle: str = "v", **changes: Any) -> Record:
        """Make a result; `source` and `body_source` differ from the truth where a test wants them to."""
        source = changes.get("source", f"{partition}:{offset}")
        body = {"vehicleId": vehicle, "speed": 50, "source": changes.get("body_source", source), "appendedAt": 1.0}
        headers = [("source", source.encode())] if source is not None else []
        return Record(self.topics.scored, vehicle.encode(), json.dumps(body, separators=(",", ":")).encode(), headers)

    def dead(
        self,
        partition: int,
        offset: int,
        reason: str = "not_json",
        value: bytes | None = b"{",
        key: bytes | None = b"v",
    ) -> Record:
        """Make a dead letter."""
        headers = [
            ("reason", reason.encode()),
            ("detail", f"detail of {offset}".encode()),
            ("source", f"{partition}:{offset}".encode()),
        ]
        return Record(self.topics.dlq, key, value, headers)

    def read(self, topic: str) -> list[Message]:
        """Read a topic from its beginning to its very end, waiting for open transactions."""
        held = held_offsets(self._admin, topic, committed=False)
        runs = kafka.read_ranges(self.settings.kafka, topic, held, "written-log")
        return sorted((m for _, run in runs for m in run), key=lambda m: (m.partition(), m.offset()))

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the beginning of a partition, as retention does."""
        for future in self._admin.delete_records([TopicPartition(topic, partition, offset)]).values():
            future.result(30)
        assert held_offsets(self._admin, topic, committed=False)[partition].first == offset
