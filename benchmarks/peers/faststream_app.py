"""A FastStream application on confluent-kafka: a batch subscriber that scores a batch in one call of the same model.

At least once: FastStream has no transactions. It acknowledges a batch when all of its results are. Runs in
`.venv-bench`.
"""

import asyncio
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage

from benchmarks.peers.arguments import COMMIT_INTERVAL_S, read_arguments
from benchmarks.record_scoring import LocalRecordScoring

BATCH = 4_096  # the product's turn


def main() -> None:
    """Run until killed."""
    arguments = read_arguments()
    assert arguments.models is not None
    scoring = LocalRecordScoring(arguments.models)
    broker = KafkaBroker(arguments.bootstrap_servers, logger=None)

    @broker.subscriber(
        arguments.telemetry,
        group_id=arguments.group_id,
        batch=True,
        max_records=BATCH,
        polling_interval=COMMIT_INTERVAL_S,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_as_it_is,
    )
    async def score(_values: Any, message: KafkaMessage) -> None:
        for partition, records in _by_partition(message.raw_message).items():
            results = scoring.scored(
                partition,
                [record.offset() for record in records],
                [record.timestamp()[1] for record in records],
                [record.value() for record in records],
            )
            await broker.publish_batch(*results, topic=arguments.scored, partition=partition)

    asyncio.run(FastStream(broker, logger=None).run())


async def _as_it_is(message: Any) -> Any:
    """Decode nothing: the scoring takes bytes."""
    return message.body


def _by_partition(messages: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for message in messages:
        found.setdefault(message.partition(), []).append(message)
    return found


if __name__ == "__main__":
    main()
