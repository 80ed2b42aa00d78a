"""How long a turn waits for records, pauses, and what a member says of itself; on a real broker."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import SettingsError
from fleet.ingest.polling import LONGEST_LINGER, longer_while_calls_do
from fleet.ingest.worker import IngestWorker
from simulator.local_kafka import LocalKafka
from tests.fleet.ingest.worker_harness import (
    BUNDLE,
    PATIENCE_S,
    FakeScorer,
    assert_exactly_once_in_order,
    make_settings,
    publish_until_it_pauses,
    read_topic,
    running,
    telemetry,
    until,
)


@pytest.mark.parametrize(
    ("calls_s", "waits_s"),
    [((), 0.01), ((0.005, 0.0), 0.01), ((0.02, 0.03), 0.03), ((0.03, 0.02), 0.03), ((9.0,), LONGEST_LINGER * 0.01)],
)
def test_a_turn_waits_for_more_as_long_as_calls_take_within_bounds(calls_s, waits_s):
    assert longer_while_calls_do(0.01, *calls_s) == waits_s


@given(st.floats(0.0, 1.0), st.lists(st.floats(0.0, 100.0)))
def test_what_a_turn_waits_for_more_is_bounded_by_its_setting(linger_s, calls_s):
    assert linger_s <= longer_while_calls_do(linger_s, *calls_s) <= LONGEST_LINGER * linger_s


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


async def test_a_session_that_the_brokers_refuse_stops_the_worker(kafka: LocalKafka) -> None:
    worker = IngestWorker(make_settings(session_timeout_s=1), BUNDLE, FakeScorer())
    with pytest.raises(SettingsError, match=r"session_timeout_s is 1, .* group\.min\.session\.timeout\.ms"):
        await asyncio.wait_for(worker.run(), PATIENCE_S)
