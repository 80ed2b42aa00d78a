"""An ingest worker on a real broker, with a scorer in this process that tests can hold up or break."""

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from fleet import kafka as fleet_kafka
from fleet.detection.verdicts import Scores
from fleet.errors import ScorerUnavailableError, ScoringFailedError
from fleet.ingest.block_scoring import Features
from fleet.ingest.worker import IngestWorker
from fleet.kafka import Message, TopicPartition
from fleet.settings import Settings, TopicNames, read_settings
from tests.small_detector import PLAN, made_up_bundle

PATIENCE_S = 40.0
POISON_SPEED = 666.0

# Anything faster than 100 km/h is an anomaly, as `FakeScorer` scores it.
BUNDLE = made_up_bundle(threshold=100.0)
SPEED, OVERSPEED = PLAN.names.index("speed_level"), PLAN.names.index("speed_over_limit_level")


class FakeScorer:
    """Answers with the speed as the reconstruction error, and with overspeed as what is at fault."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.calls = self.waiting = 0
        self.away = False
        self.versions: list[str] = []

    async def __call__(self, version: str, features: Features) -> Scores:
        self.calls += 1
        self.versions.append(version)
        self.waiting += 1
        await self.up.wait()
        self.waiting -= 1
        if self.away:
            raise ScorerUnavailableError("away")
        speed = np.nan_to_num(features[:, SPEED])
        if (speed == POISON_SPEED).any():
            raise ScoringFailedError("this row cannot be scored")
        none = Scores.none(len(features))
        aspect = np.full(len(features), PLAN.aspect_of[OVERSPEED], np.int16)
        share = none.share + np.eye(1, 3, dtype=np.float32)
        return Scores(speed, aspect, speed > 300, none.largest + OVERSPEED, share, none.expected)


def make_settings(**ingest: Any) -> Settings:
    run = uuid.uuid4().hex[:8]
    topics = {name: f"{name}-{run}" for name in TopicNames.model_fields}
    return read_settings(
        {
            "kafka": {"application_id": f"app-{run}", "topics": topics, "partitions": 3},
            "ingest": {"session_timeout_s": 6, **ingest},
        }
    )


@asynccontextmanager
async def running(settings: Settings, scorer: FakeScorer | None = None) -> AsyncIterator[IngestWorker]:
    worker = IngestWorker(settings, BUNDLE, scorer or FakeScorer())
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, PATIENCE_S)


async def until(condition: Callable[[], bool], worker: IngestWorker | None = None) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            if worker is not None:
                worker.check()
            await asyncio.sleep(0.02)


def telemetry(vehicle: int, second: int, **fields: Any) -> bytes:
    return json.dumps(
        {"vehicleId": f"V{vehicle}", "timestamp": 1_764_533_865 + second, "speed": 50, "sequence": second, **fields}
    ).encode()


async def publish(settings: Settings, values: Sequence[bytes | None], key: bytes | None = None) -> None:
    producer = fleet_kafka.telemetry_producer("test")
    for value in values:
        name = json.loads(value)["vehicleId"] if key is None and value else None
        producer.produce(settings.kafka.topics.telemetry, value, key or name)
    assert await asyncio.to_thread(producer.flush, PATIENCE_S) == 0


async def read_topic(settings: Settings, topic: str) -> list[Message]:
    """Read a topic to its end, as a read_committed reader sees it."""
    return await asyncio.to_thread(_read_topic, settings, topic)


def _read_topic(settings: Settings, topic: str) -> list[Message]:
    consumer = fleet_kafka.tail_consumer(settings.kafka, "test-reader")
    partitions = range(settings.kafka.partitions)
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found: list[Message] = []
    while any(
        position.offset < ends[position.partition]
        for position in consumer.position([TopicPartition(topic, p) for p in partitions if ends[p]])
    ):
        found += [m for m in consumer.consume(1000, 0.2) if m.error() is None]
    consumer.close()
    return found


def sources(messages: Sequence[Message]) -> list[str]:
    return [dict(m.headers())["source"].decode() for m in messages]


def assert_exactly_once_in_order(scored: Sequence[Message], expected: int) -> None:
    assert len(scored) == expected
    assert len(set(sources(scored))) == expected
    last: dict[tuple[int, bytes], int] = defaultdict(lambda: -1)
    for message in scored:
        partition, offset = map(int, dict(message.headers())["source"].split(b":"))
        assert message.partition() == partition
        assert offset > last[partition, message.key()]
        last[partition, message.key()] = offset


async def read_at_least(settings: Settings, topic: str, count: int) -> list[Message]:
    """Read a topic to its end once `count` records are visible: a transaction's markers follow its commit."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := await read_topic(settings, topic)) < count:
            pass
    return found


async def ledger_totals(settings: Settings) -> tuple[int, int, int, int]:
    def read() -> tuple[int, int, int, int]:
        reader = fleet_kafka.group_reader(settings.kafka)
        ledgers = fleet_kafka.partition_ledgers(reader, settings.kafka)
        reader.close()
        for _, _, _, _, ledger in ledgers:
            assert ledger.read == ledger.scored + ledger.dead_lettered + ledger.in_flight
        return (
            sum(p.ledger.read for p in ledgers),
            sum(p.ledger.scored for p in ledgers),
            sum(p.ledger.dead_lettered for p in ledgers),
            sum(p.lag_records for p in ledgers),
        )

    return await asyncio.to_thread(read)


async def until_caught_up(settings: Settings, worker: IngestWorker) -> None:
    """Wait until nothing lies behind the committed offsets; the worker's own figure is up to a second old."""
    async with asyncio.timeout(PATIENCE_S):
        while (await ledger_totals(settings))[3]:
            worker.check()


async def publish_until_it_pauses(
    settings: Settings, values: Sequence[bytes], scorer: FakeScorer, worker: IngestWorker
) -> None:
    await until(lambda: len(worker.owned_partitions) == 3, worker)
    scorer.up.clear()
    await publish(settings, values)
    await until(lambda: worker.counts["pauses"] > 0, worker)
