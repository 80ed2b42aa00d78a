"""What a new owner goes on with, on a real broker."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.workload import make_topics
from fleet import kafka as fleet_kafka
from fleet.detection.verdicts import Scores
from fleet.errors import RetentionGapError
from fleet.ingest.block_scoring import Features
from fleet.ingest.worker import IngestWorker
from fleet.kafka import Message, TopicPartition
from fleet.settings import Settings, read_settings
from simulator.local_kafka import LocalKafka
from tests.fleet.ingest.worker_harness import (
    BUNDLE,
    PATIENCE_S,
    FakeScorer,
    assert_exactly_once_in_order,
    ledger_totals,
    make_settings,
    publish,
    read_at_least,
    read_topic,
    running,
    telemetry,
    until,
    until_caught_up,
)
from tests.small_detector import PLAN


class HistoryScorer(FakeScorer):
    """Answers with an error that depends on all that the windows remember of a vehicle."""

    async def __call__(self, version: str, features: Features) -> Scores:
        scores = await super().__call__(version, features)
        remembered = np.nan_to_num(features[:, PLAN.columns[:, 1] >= 0]).astype(np.float64)  # not when it was appended
        return replace(scores, error=((7 * np.abs(remembered).sum(axis=1)) % 130).astype(np.float32))


def what_was_said(scored: Sequence[Message]) -> dict[tuple[str, int], tuple[Any, ...]]:
    fields = ("reconstruction_error", "is_anomaly", "warmingUp", "episodeId")
    events = [json.loads(m.value()) for m in scored]
    return {(e["vehicleId"], e["sequence"]): tuple(e[field] for field in fields) for e in events}


async def last_of_each_episode(settings: Settings) -> dict[str, dict[str, Any]]:
    episodes = [json.loads(m.value()) for m in await read_topic(settings, settings.kafka.topics.episodes)]
    return {e["episodeId"]: e for e in episodes}


async def live(
    settings: Settings,
    parts: Sequence[Sequence[bytes]],
    *,
    dies: bool,
    send: Callable[[Settings, Sequence[bytes]], Awaitable[None]] = publish,
) -> Counter[str]:
    """Work on all parts, by one worker or by one after the other, each of which dies with work in flight."""
    counts: Counter[str] = Counter()
    scorer = HistoryScorer()
    worker = IngestWorker(settings, BUNDLE, scorer)
    task = asyncio.create_task(worker.run())
    for part in parts:
        if dies:
            scorer.up.clear()
        await send(settings, part)
        if dies:
            await until(lambda scorer=scorer: scorer.waiting > 0, worker)
            worker.stop()
            await asyncio.wait_for(task, PATIENCE_S)
            counts += worker.counts
            scorer = HistoryScorer()
            worker = IngestWorker(settings, BUNDLE, scorer)
            task = asyncio.create_task(worker.run())
            await until(lambda worker=worker: worker.counts["scored"] > 400, worker)
    await until_caught_up(settings, worker)
    worker.stop()
    await asyncio.wait_for(task, PATIENCE_S)
    return counts + worker.counts


async def test_verdicts_and_episodes_are_the_same_whether_or_not_the_worker_died_meanwhile(kafka: LocalKafka) -> None:
    rng = np.random.default_rng(5)
    fuel = 80 - np.cumsum(rng.exponential(0.02, (120, 25)), axis=0)
    parts = [
        [
            telemetry(v, s, speed=float(rng.integers(40, 60)), fuelLevel=fuel[s, v], temperature=90 + rng.normal())
            for s in range(start, start + 24)
            for v in range(25)
        ]
        for start in range(0, 120, 24)
    ]
    told = []
    for dies in (False, True):
        settings = make_settings(turn_records=60, turns_in_flight=2, state_share=0.5, drain_timeout_s=0.05)
        counts = await live(settings, parts, dies=dies)
        assert (counts["replayed"] > 0) == (counts["dropped_when_released"] > 0) == dies
        assert counts["states_written"] > 3
        scored = await read_at_least(settings, settings.kafka.topics.scored, 3000)
        assert_exactly_once_in_order(scored, 3000)
        assert await ledger_totals(settings) == (3000, 3000, 0, 0)
        told.append((what_was_said(scored), await last_of_each_episode(settings)))
    (verdicts, episodes), (verdicts_of_many_lives, episodes_of_many_lives) = told
    assert sum(said[1] for said in verdicts.values()) > 300
    assert len(episodes) > 20
    assert verdicts_of_many_lives == verdicts
    assert episodes_of_many_lives == episodes


async def test_silences_are_the_same_whether_or_not_the_worker_died_meanwhile(kafka: LocalKafka) -> None:
    parts = [
        [
            telemetry(v, 5 * s)
            for s in range(start, start + 24)
            for v in range(25)
            if not (v in {3, 8, 13} and 40 < s < 90) and not (v in {4, 9} and s > 60)
        ]
        for start in range(0, 120, 24)
    ]
    told = []
    for dies in (False, True):
        settings = make_settings(turn_records=60, turns_in_flight=2, state_share=0.5, drain_timeout_s=0.05)
        settings = read_settings({**settings.model_dump(), "episodes": {"silent_after_s": 60.0}})
        make_topics([settings.kafka.topics.telemetry], settings.kafka.partitions)  # it keeps the times that it is given
        counts = await live(settings, parts, dies=dies, send=publish_when_it_happened)
        assert (counts["replayed"] > 0) == dies
        assert counts["states_written"] > 3
        episodes = await last_of_each_episode(settings)
        told.append({name: e for name, e in episodes.items() if e["cause"] == "silent"})
    assert {(e["vehicleId"], e["state"]) for e in told[0].values()} == {
        *((f"V{v}", "closed") for v in (3, 8, 13)),
        *((f"V{v}", "open") for v in (4, 9)),
    }
    assert told[1] == told[0]


async def publish_when_it_happened(settings: Settings, values: Sequence[bytes]) -> None:
    producer = fleet_kafka.telemetry_producer("test")
    for value in values:
        event = json.loads(value)
        at_ms = int(1000 * event["timestamp"])
        producer.produce(settings.kafka.topics.telemetry, value, event["vehicleId"], timestamp=at_ms)
    assert await asyncio.to_thread(producer.flush, PATIENCE_S) == 0


async def test_a_group_overtaken_by_retention_stops_and_says_what_is_missing(kafka: LocalKafka) -> None:
    settings = make_settings()
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        await publish(settings, [telemetry(1, s) for s in range(5)])
        await until(lambda: worker.counts["scored"] == 5, worker)
    await publish(settings, [telemetry(1, s) for s in range(5, 10)])
    topic = settings.kafka.topics.telemetry
    partition = (await read_topic(settings, topic))[0].partition()
    admin = fleet_kafka.admin_client()
    for deletion in admin.delete_records([TopicPartition(topic, partition, 8)]).values():
        deletion.result(PATIENCE_S)
    with pytest.raises(RetentionGapError, match=r"offsets 5 to 7 were deleted.*skip_lost_records"):
        await IngestWorker(settings, BUNDLE, FakeScorer()).run()
    skipping = read_settings({**settings.model_dump(), "ingest": {"skip_lost_records": True}})
    async with running(skipping) as worker:
        await until(lambda: worker.counts["scored"] == 2, worker)
