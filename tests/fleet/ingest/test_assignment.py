"""Partitions that come and go between members, on a real broker."""

import asyncio
import json

from fleet import kafka as fleet_kafka
from simulator.local_kafka import LocalKafka
from tests.fleet.ingest.worker_harness import (
    PATIENCE_S,
    FakeScorer,
    assert_exactly_once_in_order,
    make_settings,
    publish,
    publish_until_it_pauses,
    read_at_least,
    read_topic,
    running,
    telemetry,
    until,
    until_caught_up,
)


async def test_partitions_move_to_a_second_worker_without_loss(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=40)
    async with running(settings) as first:
        await until(lambda: len(first.owned_partitions) == 3, first)
        feed = asyncio.create_task(publish(settings, [telemetry(v, s) for s in range(100) for v in range(30)]))
        async with running(settings) as second:
            await until(lambda: len(second.owned_partitions) > 0, second)
            await feed
            await publish(settings, [telemetry(v, 100 + s) for s in range(10) for v in range(30)])
            await until(lambda: second.counts["scored"] > 0, second)
        await until_caught_up(settings, first)
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 3300)


async def test_a_worker_that_lost_its_partition_cannot_publish(kafka: LocalKafka) -> None:
    """A zombie is fenced by whoever opens the partition's transactional id next; the group then settles it."""
    settings = make_settings()
    scorer = FakeScorer()
    async with running(settings, scorer) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        scorer.up.clear()
        await publish(settings, [telemetry(v, 0, speed=10_000) for v in range(30)])
        await until(lambda: scorer.calls > 0, worker)
        for partition in range(3):
            await asyncio.to_thread(fleet_kafka.fence, settings.kafka, settings.ingest, partition)
        scorer.up.set()
        await until(lambda: worker.counts["rejoins"] > 0, worker)
        await until_caught_up(settings, worker)
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 30)
    opened = [json.loads(m.value()) for m in await read_at_least(settings, settings.kafka.topics.episodes, 30)]
    assert sorted(e["vehicleId"] for e in opened) == sorted(f"V{v}" for v in range(30)), "once each, as the events"


async def test_a_partition_that_left_while_it_was_paused_is_read_when_it_comes_back(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=10, turns_in_flight=1, pause_after_s=0.1, drain_timeout_s=0.5)
    scorer = FakeScorer()
    async with running(settings, scorer) as worker:
        await publish_until_it_pauses(settings, [telemetry(v, s) for s in range(10) for v in range(20)], scorer, worker)
        async with running(settings) as other:
            await until(lambda: bool(other.owned_partitions) and len(worker.owned_partitions) < 3, worker)
            scorer.up.set()
            await until_caught_up(settings, worker)
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        await publish(settings, [telemetry(v, s) for s in range(10, 20) for v in range(20)])
        await until_caught_up(settings, worker)
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 400)


async def test_a_member_that_polls_no_more_holds_the_group_up_no_longer_than_a_stuck_loop_may(
    kafka: LocalKafka,
) -> None:
    settings = make_settings(stuck_after_s=6)
    fleet_kafka.ensure_topics(settings.kafka)
    silent = fleet_kafka.ingest_consumer(settings.kafka, settings.ingest)
    silent.subscribe([settings.kafka.topics.telemetry])
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not silent.assignment():
                await asyncio.to_thread(silent.consume, 1, 0.1)
        async with running(settings) as worker:  # from here on nobody asks the other one to let go
            await until(lambda: worker.owned_partitions == [0, 1, 2], worker)
    finally:
        await asyncio.to_thread(silent.close)
