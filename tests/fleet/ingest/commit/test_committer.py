"""Commits that Kafka answers late, or not at all; on a real broker behind a link that the tests disturb."""

import asyncio
import time
from pathlib import Path

import pytest

from faults.network import Api, Catch, Condition, KafkaLink, Moment, State
from fleet.ingest.commit.committer import Committer
from fleet.ingest.member import Member
from fleet.kafka import TopicPartition
from simulator.local_kafka import HOST, LocalKafka, ProxyPorts, free_port
from tests.fleet.ingest.worker_harness import (
    PATIENCE_S,
    FakeScorer,
    assert_exactly_once_in_order,
    make_settings,
    publish,
    read_at_least,
    read_topic,
    running,
    telemetry,
    until,
    until_caught_up,
)


async def test_what_is_delivered_at_least_once_waits_for_no_transaction(kafka: LocalKafka) -> None:
    settings = make_settings(delivery="at_least_once", commit_interval_ms=60_000)
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        await publish(settings, [telemetry(v, 0) for v in range(20)])
        assert len(await read_at_least(settings, settings.kafka.topics.scored, 20)) == 20


async def test_a_commit_that_succeeded_unheard_is_not_repeated_while_kafka_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its answer nor the producer that is made anew gets through: what happened is not known for a while."""
    ports = ProxyPorts(broker=free_port(), advertised=free_port())
    with LocalKafka(tmp_path / "kafka", proxy=ports), KafkaLink(ports.broker, ports.advertised) as link:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"{HOST}:{ports.advertised}")
        settings = make_settings(commit_timeout_s=1)
        async with running(settings) as worker:
            await until(lambda: len(worker.owned_partitions) == 3, worker)
            link.arm(Catch(Api.END_TRANSACTION, Moment.AFTER, settings.kafka.application_id))
            await publish(settings, [telemetry(1, second) for second in range(30)])
            await asyncio.to_thread(link.caught, PATIENCE_S)
            with link.being(Condition(State.SILENT)):
                link.release()
                await until(lambda: worker.counts["commit_retries"] > 0, worker)
            await until_caught_up(settings, worker)
        assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 30)


async def test_what_kafka_cannot_take_in_one_transaction_is_committed_in_smaller_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = ProxyPorts(broker=free_port(), advertised=free_port())
    with LocalKafka(tmp_path / "kafka", proxy=ports), KafkaLink(ports.broker, ports.advertised) as link:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"{HOST}:{ports.advertised}")
        settings, scorer = make_settings(commit_timeout_s=1, transaction_timeout_s=1, turn_records=1_000), FakeScorer()
        scorer.up.clear()
        async with running(settings, scorer) as worker:
            await until(lambda: len(worker.owned_partitions) == 3, worker)
            await publish(settings, [telemetry(v, s) for s in range(300) for v in range(20)])
            await until(lambda: scorer.waiting >= settings.ingest.turns_in_flight, worker)
            with link.being(Condition(bytes_per_s=1_000_000)):
                scorer.up.set()
                await until_caught_up(settings, worker)
            assert worker.counts["commit_retries"] > 0
        assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 6_000)


async def test_published_offsets_are_given_once_and_only_the_latest_of_each_partition() -> None:
    committer = Committer(Member(make_settings(delivery="at_least_once"), time.time))
    committer.start()
    committer._published.put([TopicPartition("telemetry", 0, 5), TopicPartition("telemetry", 1, 7)])
    committer._published.put([TopicPartition("telemetry", 0, 9)])
    assert [(offset.partition, offset.offset) for offset in committer.take_published()] == [(0, 9), (1, 7)]
    assert committer.take_published() == []
    await committer.end()
