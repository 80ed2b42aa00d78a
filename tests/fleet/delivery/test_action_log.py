"""Two gateways on one Kafka: what one of them writes counts for both, or for neither."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deployments.web.tail import Polled, ScoredTail
from fleet.delivery.action_log import ActionLog
from fleet.errors import KafkaUnavailableError
from fleet.kafka import Appender, ensure_topics
from fleet.records.action import Acknowledge, Assign, Comment
from fleet.settings import KafkaSettings, TopicNames
from tests.fleet.delivery.test_handling import action


@pytest.fixture
def settings(kafka: Any) -> KafkaSettings:
    unique = uuid.uuid4().hex[:8]
    names = TopicNames(**{name: f"{name}-{unique}" for name in TopicNames.model_fields})
    made = KafkaSettings(application_id=f"actions-{unique}", topics=names, partitions=2)
    ensure_topics(made)
    return made


class Gateway:
    """What a gateway has of actions: its log, and the tail that feeds it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.log = ActionLog(settings, 100)
        self._loop = asyncio.get_running_loop()
        self.tail = ScoredTail(settings, 10, self._deliver)

    def _deliver(self, polled: Polled) -> None:
        asyncio.run_coroutine_threadsafe(self._receive(polled), self._loop).result(30)

    async def _receive(self, polled: Polled) -> None:
        self.log.receive(polled.actions)

    async def until(self, episode_id: str, version: int) -> None:
        async with asyncio.timeout(30):
            while self.log.handlings[episode_id].version < version:
                await asyncio.sleep(0.01)


@pytest.fixture
async def gateways(settings: KafkaSettings) -> AsyncIterator[list[Gateway]]:
    both = [Gateway(settings), Gateway(settings)]
    for gateway in both:
        gateway.tail.start()
    yield both
    for gateway in both:
        await asyncio.to_thread(gateway.tail.stop, 10)


async def test_an_action_counts_for_every_gateway(gateways: list[Gateway]) -> None:
    one, other = gateways
    await one.log.append(action(0, Acknowledge()))
    assert one.log.handlings["e"].has("a0"), "who has written it has read it"
    await other.until("e", 1)
    await other.log.append(action(1, Comment("seen")))
    await one.until("e", 2)
    assert one.log.handlings["e"] == other.log.handlings["e"]


async def test_of_two_gateways_that_write_at_once_the_log_takes_one(gateways: list[Gateway]) -> None:
    for turn in range(10):
        names = f"one{turn}", f"other{turn}"
        written = (
            gateway.log.append(action(turn, Assign(name), name)) for gateway, name in zip(gateways, names, strict=True)
        )
        await asyncio.gather(*written)
        for gateway in gateways:
            await gateway.until("e", turn + 1)
        one, other = (gateway.log.handlings["e"] for gateway in gateways)
        assert one == other
        assert [one.has(name) for name in names].count(True) == 1


async def test_a_gateway_that_starts_later_knows_what_was_done(
    settings: KafkaSettings, gateways: list[Gateway]
) -> None:
    for version in range(3):
        await gateways[0].log.append(action(version, Comment("…")))
    late = Gateway(settings)
    late.tail.start()
    await late.until("e", 3)
    assert late.log.handlings["e"] == gateways[0].log.handlings["e"]
    await asyncio.to_thread(late.tail.stop, 10)


async def test_without_kafka_nobody_knows_whether_an_action_counts(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    log = ActionLog(settings, 100)
    monkeypatch.setattr(log, "_appender", Appender("test", timeout_s=0.5))
    with pytest.raises(KafkaUnavailableError, match=settings.topics.actions):
        await log.append(action(0, Acknowledge()))
    assert log.handlings["e"].version == 0
