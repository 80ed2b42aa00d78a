"""The gateway's background threads against the real broker."""

import json
import time
import uuid
from collections.abc import Iterator

import confluent_kafka
import msgspec
import pytest

from deployments.web.tail import PipelineSnapshot, PipelineWatch, Polled, ReplicaCounts, ScoredTail
from fleet.delivery.fleet_view import EpisodeRecord
from fleet.delivery.sender_view import SenderRecord
from fleet.kafka import (
    Ledger,
    NewPartitions,
    TopicPartition,
    admin_client,
    client_config,
    ensure_topics,
    group_reader,
    telemetry_producer,
)
from fleet.settings import KafkaSettings, TopicNames
from tests.deployments.gateway_harness import environment, scored_event, unused_port, wait_until

PARTITIONS = 3
NO_REPLICAS = ReplicaCounts({}, in_order=False, deleting=False)


@pytest.fixture
def settings(kafka) -> KafkaSettings:  # the broker's fixture sets its address
    unique = uuid.uuid4().hex[:8]
    names = TopicNames(**{name: f"{name}-{unique}" for name in TopicNames.model_fields})
    return KafkaSettings(application_id=f"tail-{unique}", topics=names, partitions=PARTITIONS)


class Collected:
    """What a tail delivered."""

    def __init__(self) -> None:
        self.scored: list[int] = []
        self.episodes: list[EpisodeRecord] = []
        self.senders: list[SenderRecord] = []

    def __call__(self, polled: Polled) -> None:
        self.scored += [json.loads(value or b"{}")["n"] for value in polled.scored]
        self.episodes += polled.episodes
        self.senders += polled.senders


@pytest.fixture
def tail_of(settings) -> Iterator:
    tails: list[ScoredTail] = []

    def start(records: int = 1_000) -> tuple[ScoredTail, Collected]:
        collected = Collected()
        tails.append(ScoredTail(settings, records, collected))
        tails[-1].start()
        return tails[-1], collected

    yield start
    for tail in tails:
        tail.stop(15)
        tail.check()


def add_partitions(topic: str, count: int) -> None:
    admin = admin_client()  # its answers come as long as it lives
    [answer] = admin.create_partitions([NewPartitions(topic, count)]).values()
    answer.result(20)


def publish(settings: KafkaSettings, topic: str, numbers: range) -> None:
    producer = telemetry_producer("test")
    for n in numbers:
        partition = n % PARTITIONS
        producer.produce(topic, scored_event(n, source=f"{partition}:{n}"), b"key", partition=partition)
    assert producer.flush(20) == 0


def test_tail_reads_what_stands_and_what_comes_in_partition_order(settings, tail_of):
    ensure_topics(settings)
    publish(settings, settings.topics.scored, range(300))
    tail, collected = tail_of()
    wait_until(lambda: len(collected.scored) == 300, "what stood", 20)
    assert tail.problem is None
    publish(settings, settings.topics.scored, range(300, 400))
    wait_until(lambda: len(collected.scored) == 400, "what came", 20)
    for partition in range(PARTITIONS):
        of_partition = [n for n in collected.scored if n % PARTITIONS == partition]
        assert of_partition == sorted(of_partition)
    assert sorted(collected.scored) == list(range(400))


def test_tail_begins_a_bounded_number_of_records_before_the_end(settings, tail_of):
    ensure_topics(settings)
    publish(settings, settings.topics.scored, range(3_000))
    _, collected = tail_of(records=30)
    publish(settings, settings.topics.scored, range(3_000, 3_003))
    wait_until(lambda: set(collected.scored) >= {3_000, 3_001, 3_002}, "the newest", 20)
    assert sorted(collected.scored)[-30:] == list(range(2_973, 3_003))
    assert len(collected.scored) <= 33


def test_tail_reads_all_episodes_and_senders_from_the_beginning(settings, tail_of):
    ensure_topics(settings)
    began_s = time.time()
    publish(settings, settings.topics.episodes, range(5))
    publish(settings, settings.topics.senders, range(6))
    _, collected = tail_of(records=3)
    wait_until(lambda: len(collected.episodes) == 5, "the episodes", 20)
    wait_until(lambda: len(collected.senders) == 6, "the senders", 20)
    assert {record.key for record in [*collected.episodes, *collected.senders]} == {b"key"}
    assert all(began_s - 1 < record.published_at_s < time.time() + 1 for record in collected.episodes)


def test_tail_sees_committed_results_alone(settings, tail_of):
    ensure_topics(settings)
    _, collected = tail_of()
    producer = confluent_kafka.Producer({**client_config(), "transactional.id": settings.application_id})
    producer.init_transactions(20)
    for n, finish in ((1, producer.abort_transaction), (2, producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(settings.topics.scored, scored_event(n), b"A", partition=0)
        producer.flush(10)
        finish(20)
    wait_until(lambda: collected.scored, "the committed record", 20)
    assert collected.scored == [2]


def test_tail_waits_for_topics_that_are_not_there_yet(settings, tail_of):
    tail, collected = tail_of()
    wait_until(lambda: "does not exist yet" in (tail.problem or ""), "the sentence", 20)
    ensure_topics(settings)
    publish(settings, settings.topics.scored, range(3))
    wait_until(lambda: len(collected.scored) == 3, "records of the new topic", 30)
    assert tail.problem is None


def test_tail_follows_partitions_that_are_added(settings, tail_of, monkeypatch):
    monkeypatch.setattr("deployments.web.tail.LOOK_INTERVAL_S", 0.1)
    ensure_topics(settings)
    _, collected = tail_of()
    publish(settings, settings.topics.scored, range(30))
    wait_until(lambda: len(collected.scored) == 30, "what stands in the first partitions", 20)
    add_partitions(settings.topics.scored, PARTITIONS + 1)
    producer = telemetry_producer("test")
    for n in range(30, 33):
        producer.produce(settings.topics.scored, scored_event(n), b"key", partition=PARTITIONS)
    assert producer.flush(20) == 0
    wait_until(lambda: collected.scored[30:] == [30, 31, 32], "the added partition, and nothing twice", 20)


def test_threads_say_that_kafka_is_away_and_go_on_trying(settings):
    collected = Collected()
    tail = ScoredTail(settings, 100, collected)
    watch = PipelineWatch(settings, lambda: NO_REPLICAS, lambda _: None)
    with environment("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{unused_port()}"):
        tail.start()
        watch.start()
        wait_until(lambda: watch.snapshot.replicas is NO_REPLICAS, "Serve's answer, though Kafka has none", 5)
        wait_until(lambda: "does not answer" in (tail.problem or ""), "the tail's sentence", 30)
        wait_until(lambda: "offsets" in (watch.problem or ""), "the watch's sentence", 30)
        tail.check()
        watch.check()
    ensure_topics(settings)
    publish(settings, settings.topics.scored, range(3))
    wait_until(lambda: len(collected.scored) == 3, "records once Kafka is there", 40)
    wait_until(lambda: watch.problem is None, "the ledger once Kafka is there", 40)
    tail.stop(15)
    watch.stop(15)


def test_tail_that_dies_of_a_bug_fails_the_check(settings):
    ensure_topics(settings)
    publish(settings, settings.topics.scored, range(1))

    def broken(_: Polled) -> None:
        raise ZeroDivisionError

    tail = ScoredTail(settings, 100, broken)
    tail.start()
    wait_until(lambda: "ZeroDivisionError" in (tail.problem or ""), "the failure", 20)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        wait_until(lambda: tail.check(), "the check fails")


def test_watch_reads_the_ledger_and_the_age_of_the_oldest_unscored_event(settings):
    ensure_topics(settings)
    started_s = time.time()
    publish(settings, settings.topics.telemetry, range(30))
    group = group_reader(settings)
    ledger = Ledger(read=6, scored=4, dead_lettered=1)
    position = TopicPartition(settings.topics.telemetry, 0, 5, metadata=msgspec.json.encode(ledger).decode())
    group.commit(offsets=[position], asynchronous=False)
    group.close()
    seen: list[PipelineSnapshot] = []
    watch = PipelineWatch(settings, lambda: NO_REPLICAS, seen.append)
    watch.start()
    try:
        wait_until(lambda: seen and len(seen[-1].oldest_unscored_s) == PARTITIONS, "a snapshot", 30)
        snapshot = seen[-1]
        by_partition = {entry.partition: entry for entry in snapshot.ledgers}
        assert by_partition[0].ledger == ledger
        assert [by_partition[p].lag_records for p in range(PARTITIONS)] == [5, 10, 10]
        for age_s in snapshot.oldest_unscored_s.values():
            assert 0 < age_s <= (snapshot.read_at_s or 0) - started_s + 0.1
        rounds = len(seen)
        wait_until(lambda: len(seen) > rounds, "the next round", 20)
        assert seen[-1].oldest_unscored_s[0] > snapshot.oldest_unscored_s[0], "what waits grows older"
    finally:
        watch.stop(15)


@pytest.mark.parametrize(("in_order", "is_asked_each_round"), [(True, False), (False, True)])
def test_watch_asks_serve_each_round_until_the_application_is_in_order(settings, in_order, is_asked_each_round):
    ensure_topics(settings)
    asked: list[ReplicaCounts] = []
    rounds: list[PipelineSnapshot] = []

    def replicas() -> ReplicaCounts:
        asked.append(NO_REPLICAS._replace(in_order=in_order))
        return asked[-1]

    watch = PipelineWatch(settings, replicas, rounds.append)
    watch.start()
    try:
        wait_until(lambda: len(rounds) >= 3, "three rounds", 30)
        assert all(snapshot.replicas == asked[0] for snapshot in rounds), "the last answer stays"
        assert (len(asked) >= 3) == is_asked_each_round
    finally:
        watch.stop(15)
