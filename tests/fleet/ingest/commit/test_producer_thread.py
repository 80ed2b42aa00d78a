"""Calls of Kafka's client that hang."""

import threading
from typing import Any

import pytest

from fleet import kafka as fleet_kafka
from fleet.kafka import KafkaError, KafkaException
from simulator.local_kafka import LocalKafka
from tests.fleet.ingest.worker_harness import (
    PATIENCE_S,
    assert_exactly_once_in_order,
    make_settings,
    publish,
    read_topic,
    running,
    telemetry,
    until,
    until_caught_up,
)


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
