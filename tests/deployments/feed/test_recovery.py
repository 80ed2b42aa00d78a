"""Clients that were away go on at the next offset, on whichever replica, from memory or from the real log."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from deployments.web.core import GatewayCore
from fleet.client import Feed, Loss
from fleet.kafka import TopicPartition, admin_client, ensure_topics, telemetry_producer, topic_id
from fleet.settings import GatewaySettings, KafkaSettings, RecoverySettings, Settings, TopicNames
from simulator.local_kafka import LocalKafka
from tests.deployments.gateway_harness import REPLICAS, FunctionScorer, scored_event, served, small_bundle, wait_until

PARTITIONS = 3
HELD_EVENTS = 300  # by a gateway's memory; what lies further back is read from the log


@pytest.fixture
def settings(kafka: LocalKafka) -> Settings:  # the broker's fixture sets its address
    unique = uuid.uuid4().hex[:8]
    names = TopicNames(**{name: f"{name}-{unique}" for name in TopicNames.model_fields})
    topics = KafkaSettings(application_id=f"feed-{unique}", topics=names, partitions=PARTITIONS)
    ensure_topics(topics)
    return Settings(
        kafka=topics,
        gateway=GatewaySettings(history_events=HELD_EVENTS, batch_interval_ms=5),
        recovery=RecoverySettings(max_events=8_000),
    )


@contextmanager
def replica(settings: Settings, folder: Path) -> Iterator[str]:
    """Run a gateway that follows the real log; give the address of its feed."""
    bundle = small_bundle(folder / uuid.uuid4().hex)
    core = GatewayCore(settings, bundle, FunctionScorer(bundle), lambda: REPLICAS)
    with served(core, folder) as port:
        wait_until(lambda: core.tail.problem is None, "the gateway follows the log", 30)
        yield f"ws://127.0.0.1:{port}/ws/v2"


@pytest.fixture
def replicas(settings: Settings, tmp_path: Path) -> Iterator[list[str]]:
    with ExitStack() as running:
        yield [running.enter_context(replica(settings, tmp_path)) for _ in range(2)]


class Publisher:
    """Publishes numbered scored records, each to the partition of its number."""

    def __init__(self, settings: Settings) -> None:
        self._topic, self._producer = settings.kafka.topics.scored, telemetry_producer("test")
        self.published = 0

    async def publish(self, count: int) -> None:
        first, self.published = self.published, self.published + count
        for n in range(first, self.published):
            body = scored_event(n, source=f"{n % PARTITIONS}:{n // PARTITIONS}")
            self._producer.produce(self._topic, body, b"key", partition=n % PARTITIONS)
        assert await asyncio.to_thread(self._producer.flush, 20) == 0


async def taken(events: AsyncIterator[dict[str, Any]], count: int) -> list[int]:
    return [(await asyncio.wait_for(anext(events), 60))["n"] for _ in range(count)]


def assert_in_order(numbers: list[int], published: range) -> None:
    assert sorted(numbers) == list(published)
    for partition in range(PARTITIONS):
        of_partition = [n for n in numbers if n % PARTITIONS == partition]
        assert of_partition == sorted(of_partition)


class Balancer:
    """Hands connections on to one replica or another, and cuts them, as a proxy in front of the replicas does."""

    def __init__(self) -> None:
        self.port = 0
        self._backend: int | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.point_to(None)
        self._server.close()

    def point_to(self, url: str | None) -> None:
        """Cut every connection; new ones go to this replica, or nowhere."""
        self._backend = urlsplit(url).port if url else None
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._backend is None:
            writer.transport.abort()
            return
        from_backend, to_backend = await asyncio.open_connection("127.0.0.1", self._backend)
        self._open |= {writer, to_backend}
        with suppress(ConnectionError):
            await asyncio.gather(_carry(reader, to_backend), _carry(from_backend, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("missed", [HELD_EVENTS // 2, 10 * HELD_EVENTS], ids=["from memory", "from the log"])
@pytest.mark.parametrize("delta", [False, True])
async def test_cut_client_goes_on_at_another_replica_without_a_loss(
    settings: Settings, replicas: list[str], missed: int, delta: bool
) -> None:
    losses: list[Loss] = []
    publisher = Publisher(settings)
    async with Balancer() as balancer:
        balancer.point_to(replicas[0])
        feed = Feed(f"ws://127.0.0.1:{balancer.port}/ws/v2", on_lost=losses.append, delta=delta)
        events = aiter(feed)
        reading = asyncio.ensure_future(taken(events, 50))
        while feed.cursor is None:  # until it is subscribed
            await asyncio.sleep(0.01)
        await publisher.publish(60)
        numbers = await reading
        balancer.point_to(None)
        await publisher.publish(missed)
        balancer.point_to(replicas[1])
        live = asyncio.ensure_future(taken(events, publisher.published + 200 - len(numbers)))
        for _ in range(20):  # the log goes on while it is read
            await publisher.publish(10)
            await asyncio.sleep(0.01)
        numbers += await live
        await events.aclose()
    assert feed.recovered is True
    assert losses == []
    assert_in_order(numbers, range(publisher.published))


async def test_cursor_too_far_back_is_answered_with_a_snapshot(settings: Settings, replicas: list[str]) -> None:
    publisher = Publisher(settings)
    cursor = await cursor_of(replicas[0])
    await publisher.publish(settings.recovery.max_events + 500)
    [subscribed, lost, snapshot] = await resumed(replicas[1], cursor)
    assert (subscribed["recovered"], subscribed["reason"]) == (False, "limit")
    assert (lost["count"], lost["reason"], lost["from"]) == (None, "limit", cursor)
    assert {event["vehicleId"] for event in snapshot["vehicles"]} == {f"V{n}" for n in range(10)}


async def test_deleted_records_are_said_to_be_gone(settings: Settings, replicas: list[str]) -> None:
    publisher = Publisher(settings)
    cursor = await cursor_of(replicas[0])
    await publisher.publish(10 * HELD_EVENTS)
    await asyncio.to_thread(delete_records, settings, 5 * HELD_EVENTS // PARTITIONS)
    [subscribed, lost, _] = await resumed(replicas[1], cursor)
    assert (subscribed["recovered"], subscribed["reason"]) == (False, "retention")
    assert lost["reason"] == "retention"


def delete_records(settings: Settings, before: int) -> None:
    admin = admin_client()  # its answers come as long as it lives
    places = [TopicPartition(settings.kafka.topics.scored, partition, before) for partition in range(PARTITIONS)]
    for answer in admin.delete_records(places).values():
        answer.result(20)


async def cursor_of(url: str) -> str:
    """Take the cursor of the head."""
    async with connect(url) as socket:
        await socket.send('{"type":"subscribe","id":"a"}')
        while (message := json.loads(await asyncio.wait_for(socket.recv(), 30)))["type"] != "subscribed":
            pass
        return str(message["cursor"])


async def resumed(url: str, cursor: str) -> list[dict[str, Any]]:
    """Resume, and read up to the end of the snapshot."""
    async with connect(url) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "a", "resume": cursor}))
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1]["type"] != "snapshot":
            messages.append(json.loads(await asyncio.wait_for(socket.recv(), 30)))
        return [message for message in messages if message["type"] != "welcome"]


async def test_topic_id_tells_a_topic_that_was_made_anew(settings: Settings) -> None:
    admin, topic = admin_client(), settings.kafka.topics.scored
    before = topic_id(admin, topic)
    assert topic_id(admin_client(), topic) == before
    admin.delete_topics([topic])[topic].result(20)
    await asyncio.to_thread(wait_until, lambda: topic not in admin.list_topics(timeout=10).topics, "it is gone", 20)
    ensure_topics(settings.kafka)
    await asyncio.to_thread(wait_until, lambda: topic in admin.list_topics(timeout=10).topics, "it is back", 20)
    assert topic_id(admin, topic) != before
