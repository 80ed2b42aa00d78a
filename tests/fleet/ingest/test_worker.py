"""The ingest worker on a real broker, from its start to its end."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from fleet.detection.features import FeaturePlan
from fleet.events.channels import VEHICLE_DATA
from fleet.ingest.measures import LEGS
from simulator.local_kafka import LocalKafka, free_port
from tests.fleet.ingest.worker_harness import (
    FakeScorer,
    assert_exactly_once_in_order,
    ledger_totals,
    make_settings,
    publish,
    read_at_least,
    read_topic,
    running,
    sources,
    telemetry,
    until,
    until_caught_up,
)
from tests.small_detector import PLAN, made_up_bundle


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
    assert {tuple(r["contributions"]) for r in results} == {("speed_over_limit_level",)}
    assert worker.counts["anomalies"] == worker.counts["causes_of_first_stage"] == 50, (
        "explained are only those above 300"
    )
    assert all(m.key().decode() == r["vehicleId"] and r["sequence"] >= 0 for m, r in zip(scored, results, strict=True))
    assert sources(scored) == [r["source"] for r in results]
    assert await ledger_totals(settings) == (1000, 1000, 0, 0)


async def test_worker_measures_each_event_on_each_leg(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=100)
    async with running(settings) as worker:
        await publish(settings, [telemetry(v, s, speed=200 if v == 3 else 50) for s in range(50) for v in range(20)])
        await until_caught_up(settings, worker)
        counts, measures = worker.counts, worker.measures
        assert {leg: histogram.cumulative()[-1] for leg, histogram in measures.legs.items()} == dict.fromkeys(
            LEGS, 1000
        )
        assert measures.turn_records.sum == counts["read"] == 1000
        assert measures.commit_seconds.cumulative()[-1] == counts["commits"]
        assert measures.commit_records.sum >= 1000, "results, episodes and states"
        assert measures.episodes_by_cause == {"overspeed": counts["episodes_opened"]}


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
    # What was read again since the last state may have given every vehicle its history back.
    assert has_other_features or not began_anew
    assert {e["modelVersion"] for e in began_anew} <= {"test-2"}


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
