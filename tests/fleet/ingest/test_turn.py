"""What turns bring to the topics, and in which order; on a real broker."""

import asyncio
import json
import time
from functools import partial
from typing import Any

import pytest

from fleet.detection.detector import Detector
from fleet.detection.senders import SenderReports
from fleet.detection.verdicts import Scores
from fleet.ingest.block_scoring import BlockScoring, Features
from fleet.ingest.commit.committer import Committer
from fleet.ingest.commit.hand_over import HandOver
from fleet.ingest.member import Member
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.ingest.partition.pipeline import PartitionPipeline
from fleet.ingest.turn import Turns
from fleet.ingest.worker import IngestWorker
from fleet.kafka import Message
from fleet.records.state import PartitionState
from simulator.local_kafka import LocalKafka
from tests.fleet.ingest.worker_harness import (
    BUNDLE,
    POISON_SPEED,
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
)
from tests.small_detector import PLAN


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
    assert worker.counts["rejected_scoring_failed"] == 2
    assert_exactly_once_in_order(await read_topic(settings, settings.kafka.topics.scored), 38)


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


async def test_what_is_learnt_of_a_sender_is_published_while_it_is_heard(kafka: LocalKafka) -> None:
    settings, sent = make_settings(sender_report_s=1), 0
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        while not worker.counts["senders_reported"]:
            await publish(settings, [telemetry(1, sent, tenantId="north")])
            sent += 1
            await until(partial(has_scored, worker, sent), worker)
    [record, *_] = await read_at_least(settings, settings.kafka.topics.senders, 1)
    report = json.loads(record.value())
    assert record.key() == b"V1"
    assert (report["vehicleId"], report["tenantId"]) == ("V1", "north")
    assert 1 <= report["events"] <= sent
    assert report["signals"]["speed"]["sent"] == 1


def has_scored(worker: IngestWorker, count: int) -> bool:
    return worker.counts["scored"] == count


def turns_of(partitions: int) -> tuple[Turns, list[OwnedPartition], Member]:
    """Turns without Kafka; nobody commits what they finish."""
    member = Member(make_settings(), time.time)
    rules = member.settings.episodes.rules()
    detectors = [Detector(PLAN, rules) for _ in range(partitions)]
    owned = [
        OwnedPartition(
            p, PartitionPipeline(0), own, SenderReports(own.windows, 300.0), resume_at=0, read_from=0, has_state=True
        )
        for p, own in enumerate(detectors)
    ]
    member.owned.update(enumerate(owned))
    scoring = BlockScoring(FakeScorer(), timeout_s=5, attempts=2)
    return Turns(member, BUNDLE, scoring, HandOver(member, Committer(member))), owned, member


def messages(partition: int, offsets: range, **fields: Any) -> list[Message]:
    return [
        Message("telemetry", partition, offset, b"V1", telemetry(1, offset, **fields), timestamp=(2, 1_764_533_865_000))
        for offset in offsets
    ]


async def test_a_turn_brings_each_partition_its_own_results_in_log_order() -> None:
    turns, owned, member = turns_of(3)
    polled = {one: messages(one.partition, range(10 * one.partition, 10 * one.partition + 4)) for one in owned}
    polled[owned[1]][2] = Message("telemetry", 1, 12, b"V1", b"{", timestamp=(2, 1_764_533_865_000))
    await turns.score(turns.read(polled))
    for one in owned:
        commit = one.pipeline.take_commit(100)
        assert commit is not None
        told = [dict(record.headers)["source"] for record in commit.records]
        told = [source.decode() if isinstance(source, bytes) else source for source in told]
        offsets = [10 * one.partition + place for place in ([0, 1, 3, 2] if one.partition == 1 else range(4))]
        assert told == [f"{one.partition}:{offset}" for offset in offsets], "results, then dead letters"
        assert commit.next_offset == 10 * one.partition + 4
    assert (member.counts["read"], member.counts["scored"], member.counts["rejected_not_json"]) == (12, 11, 1)


async def test_events_whose_key_is_not_their_vehicle_are_counted_and_told_in_the_books() -> None:
    turns, (owned,), member = turns_of(1)
    keys = [None, b"V1", b"V2", None, None, b""]
    polled = [
        Message("telemetry", 0, offset, key, telemetry(1, offset), timestamp=(2, 1_764_533_865_000))
        for offset, key in enumerate(keys)
    ]
    await turns.score(turns.read({owned: polled}))
    commit = owned.pipeline.take_commit(100)
    assert commit is not None
    assert commit.keyless == member.counts["keyless"] == 3
    assert member.counts["keys_that_are_not_the_vehicle"] == 2


async def test_nothing_is_concluded_while_episodes_are_being_restored() -> None:
    turns, (owned,), _ = turns_of(1)
    owned.state = PartitionState(0, {}, b"")
    for start in (0, 4):
        await turns.score(turns.read({owned: messages(0, range(start, start + 4), speed=200)}))
    assert owned.pipeline.take_commit(100) is None
    owned.state = None
    turns.conclude(owned)
    commit = owned.pipeline.take_commit(100)
    assert commit is not None
    assert (commit.next_offset, commit.scored, len(commit.runs)) == (8, 8, 2)


async def test_what_an_earlier_owner_scored_enters_the_windows_and_brings_no_results() -> None:
    turns, (owned,), member = turns_of(1)
    owned.resume_at = 5
    runs = turns.read({owned: messages(0, range(3, 8))})
    assert [run.offsets for _, run in runs] == [(5, 8, 3)]
    assert len(owned.detector.windows) == 1
    assert member.counts["replayed"] == 2
    assert turns.read({owned: messages(0, range(3, 5))}) == []


async def test_a_turn_of_a_partition_that_has_left_concludes_nothing() -> None:
    turns, (owned,), member = turns_of(1)
    runs = turns.read({owned: messages(0, range(4))})
    del member.owned[0]
    await turns.score(runs)
    assert owned.pipeline.take_scored() is None
    assert owned.pipeline.take_commit(100) is None


async def test_what_was_mended_is_counted_and_each_sender_told_once(caplog: pytest.LogCaptureFixture) -> None:
    turns, (owned,), member = turns_of(1)
    owned.resume_at = 1
    for start in (0, 3):
        turns.read({owned: messages(0, range(start, start + 3), latitude=None, lat=48.2, battery="87")})
    assert member.counts["replayed"] == 1
    assert member.counts["fields_misnamed"] == member.counts["numbers_sent_as_text"] == 5, "replayed ones were counted"
    [told] = [record for record in caplog.records if record.message == "fields_not_read"]
    assert (told.__dict__["vehicle_id"], told.__dict__["read"]) == ('"V1"', {"lat": "latitude"})
