"""The ingest worker on a real broker, with a scorer in this process that the tests can hold up or break."""

import asyncio
import json
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.network import Api, Catch, Condition, KafkaLink, Moment, State
from fleet import kafka as fleet_kafka
from fleet.detection.features import FeaturePlan
from fleet.detection.verdicts import Scores
from fleet.errors import RetentionGapError, ScorerUnavailableError, ScoringFailedError, SettingsError
from fleet.events.channels import VEHICLE_DATA
from fleet.ingest.block_scoring import Features
from fleet.ingest.worker import LONGEST_LINGER, IngestWorker, longer_while_calls_do
from fleet.kafka import KafkaError, KafkaException, Message, TopicPartition
from fleet.settings import Settings, read_settings
from simulator.local_kafka import HOST, LocalKafka, ProxyPorts, free_port
from tests.small_detector import PLAN, made_up_bundle

PATIENCE_S = 40.0
POISON_SPEED = 666.0


# Anything faster than 100 km/h is an anomaly, as `FakeScorer` scores it.
BUNDLE = made_up_bundle(threshold=100.0)
SPEED = PLAN.names.index("speed_level")


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
        aspect = np.full(len(features), PLAN.aspect_of[SPEED], np.int16)
        return Scores(speed, aspect, speed > 300, none.largest + SPEED, none.share + np.eye(1, 3, dtype=np.float32))


class HistoryScorer(FakeScorer):
    """Answers with an error that depends on all that the windows remember of a vehicle."""

    async def __call__(self, version: str, features: Features) -> Scores:
        scores = await super().__call__(version, features)
        remembered = np.nan_to_num(features[:, PLAN.columns[:, 1] >= 0]).astype(np.float64)  # not when it was appended
        return replace(scores, error=((7 * np.abs(remembered).sum(axis=1)) % 130).astype(np.float32))


class OvertakenScorer(FakeScorer):
    """Answers its first call last: after the second one has been answered."""

    def __init__(self) -> None:
        super().__init__()
        self.overtaken = asyncio.Event()

    async def __call__(self, version: str, features: Features) -> Scores:
        is_first = self.calls == 0
        scores = await super().__call__(version, features)
        if is_first:
            await self.overtaken.wait()
        else:
            asyncio.get_running_loop().call_soon(self.overtaken.set)
        return scores


def make_settings(**ingest: Any) -> Settings:
    run = uuid.uuid4().hex[:8]
    topics = {name: f"{name}-{run}" for name in ("telemetry", "scored", "episodes", "dlq", "state")}
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


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_worker_publishes_each_event_once_in_order(kafka: LocalKafka, delivery: str) -> None:
    settings = make_settings(delivery=delivery, turn_records=100)
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        await publish(settings, [telemetry(v, s, speed=200 if v == 3 else 50) for s in range(50) for v in range(20)])
        await until(lambda: worker.counts["scored"] == 1000, worker)
    scored = await read_topic(settings, settings.kafka.topics.scored)
    assert_exactly_once_in_order(scored, 1000)
    results = [json.loads(m.value()) for m in scored]
    assert {r["vehicleId"] for r in results if r["is_anomaly"]} == {"V3"}
    assert {r["anomalyType"] for r in results if r["is_anomaly"]} == {"overspeed"}
    assert {r["modelVersion"] for r in results} == {"test-1"}
    assert {tuple(r["contributions"]) for r in results} == {("speed_level",)}
    assert worker.counts["anomalies"] == worker.counts["causes_of_first_stage"] == 50, (
        "explained are only those above 300"
    )
    assert all(m.key().decode() == r["vehicleId"] and r["sequence"] >= 0 for m, r in zip(scored, results, strict=True))
    assert sources(scored) == [r["source"] for r in results]
    assert await ledger_totals(settings) == (1000, 1000, 0, 0)


async def test_what_is_delivered_at_least_once_waits_for_no_transaction(kafka: LocalKafka) -> None:
    settings = make_settings(delivery="at_least_once", commit_interval_ms=60_000)
    async with running(settings):
        await publish(settings, [telemetry(v, 0) for v in range(20)])
        assert len(await read_at_least(settings, settings.kafka.topics.scored, 20)) == 20


@pytest.mark.parametrize(
    ("calls_s", "waits_s"),
    [((), 0.01), ((0.005, 0.0), 0.01), ((0.02, 0.03), 0.03), ((0.03, 0.02), 0.03), ((9.0,), LONGEST_LINGER * 0.01)],
)
def test_a_turn_waits_for_more_as_long_as_calls_take_within_bounds(calls_s, waits_s):
    assert longer_while_calls_do(0.01, *calls_s) == waits_s


@given(st.floats(0.0, 1.0), st.lists(st.floats(0.0, 100.0)))
def test_what_a_turn_waits_for_more_is_bounded_by_its_setting(linger_s, calls_s):
    assert linger_s <= longer_while_calls_do(linger_s, *calls_s) <= LONGEST_LINGER * linger_s


async def test_worker_sends_bad_records_to_the_dlq_as_they_were(kafka: LocalKafka) -> None:
    settings = make_settings()
    bad = [b"\xff\xfe", b'{"vehicleId":"v"', None, b'{"vehicleId":"v","timestamp":1,"speed":NaN}']
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        await publish(settings, [*bad, telemetry(1, 0)], key=b"some-key")
        await until(lambda: worker.counts["read"] == 5 and worker.counts["scored"] == 1, worker)
    dead = await read_topic(settings, settings.kafka.topics.dlq)
    assert [m.value() for m in dead] == bad
    assert [dict(m.headers())["reason"].decode() for m in dead] == ["not_utf8", "not_json", "empty", "not_finite"]
    assert all(m.key() == b"some-key" and dict(m.headers())["detail"] for m in dead)
    assert worker.counts["keys_that_are_not_the_vehicle"] == 1
    assert await ledger_totals(settings) == (5, 1, 4, 0)


async def test_worker_started_again_loses_and_doubles_nothing(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=50)
    for start in range(3):
        async with running(settings) as worker:
            await publish(settings, [telemetry(v, start * 20 + s) for s in range(20) for v in range(20)])
            await until(lambda: worker.counts["scored"] > 100, worker)
    async with running(settings) as worker:
        await until_caught_up(settings, worker)
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 1200)
    assert (await ledger_totals(settings))[1] == 1200


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


def what_was_said(scored: Sequence[Message]) -> dict[tuple[str, int], tuple[Any, ...]]:
    fields = ("reconstruction_error", "is_anomaly", "warmingUp", "episodeId")
    events = [json.loads(m.value()) for m in scored]
    return {(e["vehicleId"], e["sequence"]): tuple(e[field] for field in fields) for e in events}


async def last_of_each_episode(settings: Settings) -> dict[str, dict[str, Any]]:
    episodes = [json.loads(m.value()) for m in await read_topic(settings, settings.kafka.topics.episodes)]
    return {e["episodeId"]: e for e in episodes}


async def live(settings: Settings, parts: Sequence[Sequence[bytes]], *, dies: bool) -> Counter[str]:
    """Work on all parts, by one worker or by one after the other, each of which dies with work in flight."""
    counts: Counter[str] = Counter()
    scorer = HistoryScorer()
    worker = IngestWorker(settings, BUNDLE, scorer)
    task = asyncio.create_task(worker.run())
    for part in parts:
        if dies:
            scorer.up.clear()
        await publish(settings, part)
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


@pytest.mark.parametrize("has_other_features", [False, True])
async def test_a_new_bundle_is_used_from_a_turn_on_and_loses_nothing(
    kafka: LocalKafka, has_other_features: bool
) -> None:
    settings = make_settings(turn_records=40)
    scorer = FakeScorer()
    plan = FeaturePlan.of(msgspec.structs.replace(VEHICLE_DATA, timing=False)) if has_other_features else PLAN
    other = made_up_bundle(plan, threshold=100.0, version="test-2")
    async with running(settings, scorer) as worker:
        await publish(settings, [telemetry(v, s) for s in range(20) for v in range(20)])
        await until(lambda: worker.counts["scored"] > 100, worker)
        feed = asyncio.create_task(publish(settings, [telemetry(v, s) for s in range(20, 60) for v in range(20)]))
        worker.use(other)
        await feed
        await until(lambda: "test-2" in scorer.versions, worker)
        await until_caught_up(settings, worker)
    scored = await read_at_least(settings, settings.kafka.topics.scored, 1200)
    assert_exactly_once_in_order(scored, 1200)
    events = [json.loads(m.value()) for m in scored]
    assert {e["modelVersion"] for e in events} == {"test-1", "test-2"}
    began_anew = [e for e in events if e["warmingUp"] and e["sequence"] > 0]
    assert bool(began_anew) == has_other_features
    assert {e["modelVersion"] for e in began_anew} <= {"test-2"}


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


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_an_anomalous_run_becomes_an_episode_beside_its_events(kafka: LocalKafka, delivery: str) -> None:
    settings = make_settings(delivery=delivery, turn_records=20)
    ordinary, recovery = 5, settings.episodes.recovery_events
    speeds = [*[50] * ordinary, *[200] * 6, *[50] * (recovery + 5)]
    async with running(settings) as worker:
        await publish(
            settings,
            [
                telemetry(v, s, speed=speed if v == 3 else 50, tenantId="north")
                for s, speed in enumerate(speeds)
                for v in range(8)
            ],
        )
        await until(lambda: worker.counts["scored"] == 8 * len(speeds), worker)
    topics = settings.kafka.topics
    records = await read_at_least(settings, topics.episodes, 3)
    episodes = [json.loads(m.value()) for m in records]
    assert [e["state"] for e in episodes] == ["open", "open", "closed"], "opened, updated after ten seconds, closed"
    scored = [json.loads(m.value()) for m in await read_at_least(settings, topics.scored, 8 * len(speeds))]
    belonging = [e for e in scored if e["episodeId"]]
    opening, closing = belonging[0], belonging[-1]
    assert {e["vehicleId"] for e in belonging} == {"V3"}
    assert [e["sequence"] for e in belonging] == list(range(opening["sequence"], ordinary + 6 + recovery))
    assert {e["episodeId"] for e in belonging} == {f"V3:{opening['source']}"} == {e["episodeId"] for e in episodes}
    assert [m.key().decode() for m in records] == [e["episodeId"] for e in episodes]
    assert {m.partition() for m in records} == {int(opening["source"].split(":")[0])}
    caused_by = [dict(m.headers())["source"].decode() for m in records]
    assert (caused_by[0], caused_by[-1]) == (opening["source"], closing["source"])
    closed = episodes[-1]
    assert (closed["tenantId"], closed["cause"], closed["closedBy"]) == ("north", opening["anomalyType"], "recovery")
    assert (closed["anomalousEvents"], closed["closedAt"]) == (6, closing["timestamp"])
    assert (worker.counts["episodes_opened"], worker.counts["episodes_closed"]) == (1, 1)


async def test_episodes_follow_the_log_when_turns_overtake_one_another(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=10, turns_in_flight=4)
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
    scorer = OvertakenScorer()
    await publish(settings, [telemetry(1, s, speed=200) for s in range(40)])
    async with running(settings, scorer) as worker:
        await until(lambda: worker.counts["scored"] == 40, worker)
    assert scorer.overtaken.is_set()
    topics = settings.kafka.topics
    scored = [json.loads(m.value()) for m in await read_at_least(settings, topics.scored, 40)]
    assert [e["sequence"] for e in scored] == list(range(40))
    opened_at = next(e["sequence"] for e in scored if e["episodeId"])
    assert opened_at < settings.episodes.alarms_to_open
    assert len({e["episodeId"] for e in scored[opened_at:]}) == 1
    episodes = [json.loads(m.value()) for m in await read_at_least(settings, topics.episodes, 1)]
    assert [e["updatedAt"] for e in episodes] == sorted(e["updatedAt"] for e in episodes)


async def publish_until_it_pauses(
    settings: Settings, values: Sequence[bytes], scorer: FakeScorer, worker: IngestWorker
) -> None:
    await until(lambda: len(worker.owned_partitions) == 3, worker)
    scorer.up.clear()
    await publish(settings, values)
    await until(lambda: worker.counts["pauses"] > 0, worker)


async def test_a_held_up_scorer_pauses_the_partitions_and_nothing_is_lost(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=10, turns_in_flight=2, pause_after_s=0.2)
    scorer = FakeScorer()
    async with running(settings, scorer) as worker:
        await publish_until_it_pauses(settings, [telemetry(v, s) for s in range(20) for v in range(20)], scorer, worker)
        assert worker.counts["read"] <= 20
        scorer.up.set()
        scorer.away = True
        await until(lambda: worker._scoring.retries > 1, worker)
        scorer.away = False
        await until(lambda: worker.counts["scored"] == 400, worker)
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 400)


async def test_a_member_says_how_much_of_its_time_it_is_at_work(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=10, turns_in_flight=1, pause_after_s=0.1)
    scorer = FakeScorer()
    async with running(settings, scorer) as worker:
        await publish_until_it_pauses(settings, [telemetry(v, s) for s in range(10) for v in range(20)], scorer, worker)
        await until(lambda: worker.busy_share > 0.9, worker)
        scorer.up.set()
        await until(lambda: worker.busy_share < 0.1 and worker.lag_records == 0, worker)


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


async def test_rows_that_break_the_scorer_are_isolated(kafka: LocalKafka) -> None:
    settings = make_settings(score_attempts=1)
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        values = [telemetry(v, 0, speed=POISON_SPEED if v in {7, 23} else 50) for v in range(40)]
        await publish(settings, values)
        await until(lambda: worker.counts["scored"] == 38, worker)
    dead = await read_topic(settings, settings.kafka.topics.dlq)
    assert {m.value() for m in dead} == {values[7], values[23]}
    assert {dict(m.headers())["reason"] for m in dead} == {b"scoring_failed"}
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 38)


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


async def test_worker_waits_for_a_kafka_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = LocalKafka(tmp_path / "late kafka", free_port())
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    settings = make_settings()
    async with running(settings) as worker:
        await until(lambda: worker.counts["kafka_unavailable"] > 0, worker)
        await asyncio.to_thread(broker.start)
        try:
            await until(lambda: len(worker.owned_partitions) == 3, worker)
            worker.stop()
            await until(lambda: not worker.owned_partitions)
        finally:
            await asyncio.to_thread(broker.stop)


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


@pytest.mark.parametrize("end", ["it goes on", "it fails"])
async def test_a_call_of_kafkas_client_that_hangs_is_left_alone_and_can_do_no_harm_later(
    kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    hangs, may_go_on = threading.Event(), threading.Event()

    class HangingOnce(fleet_kafka.Producer):
        def send_offsets_to_transaction(self, *arguments: Any) -> None:
            if not hangs.is_set():
                hangs.set()
                may_go_on.wait(PATIENCE_S)
                if end == "it fails":
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            super().send_offsets_to_transaction(*arguments)

    monkeypatch.setattr(fleet_kafka.transactions, "Producer", HangingOnce)
    settings = make_settings(commit_timeout_s=0.5)
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        await publish(settings, [telemetry(1, second) for second in range(30)])
        try:
            await until(hangs.is_set, worker)
            await until_caught_up(settings, worker)
            assert worker.counts["commits_given_up"] == 1
        finally:
            may_go_on.set()
        await until(lambda: sum(thread.name.startswith("commit_") for thread in threading.enumerate()) == 1, worker)
        await publish(settings, [telemetry(1, second) for second in range(30, 60)])
        await until_caught_up(settings, worker)
        assert worker.counts["rejoins"] == 0
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 60)


async def test_a_session_that_the_brokers_refuse_stops_the_worker(kafka: LocalKafka) -> None:
    worker = IngestWorker(make_settings(session_timeout_s=1), BUNDLE, FakeScorer())
    with pytest.raises(SettingsError, match=r"session_timeout_s is 1, .* group\.min\.session\.timeout\.ms"):
        await asyncio.wait_for(worker.run(), PATIENCE_S)


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
