"""`/ws/v2` on real sockets. Kafka is away here; see gateway_harness."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fleet.client import Feed, FeedRefusedError
from fleet.delivery.feed.messages import SERVER_MESSAGES, SUBPROTOCOL
from tests.deployments.gateway_harness import MAX_CLIENTS, RunningGateway, episode, running_gateway
from tests.deployments.test_asyncapi import mistakes

NAMES = {kind.__struct_config__.tag: kind.__name__ for kind in SERVER_MESSAGES}


@pytest.fixture
async def socket(gateway: RunningGateway) -> AsyncIterator[ClientConnection]:
    async with connect(gateway.feed_url, subprotocols=[SUBPROTOCOL]) as opened:
        yield opened


async def say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def heard(socket: ClientConnection, *kinds: str) -> list[dict[str, Any]]:
    """Read messages until one of each kind came, in this order."""
    found: list[dict[str, Any]] = []
    while len(found) < len(kinds):
        message = json.loads(await asyncio.wait_for(socket.recv(), 30))
        if message["type"] == kinds[len(found)]:
            found.append(message)
    return found


async def inject(gateway: RunningGateway, values: list[bytes], *episodes: Any) -> None:
    await asyncio.to_thread(gateway.inject, values, episodes)


async def frames_to_the_end(socket: ClientConnection) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = []
    with suppress(ConnectionClosed):
        while True:
            frames.append(json.loads(await asyncio.wait_for(socket.recv(), 30)))
    return frames


def numbers(values: list[bytes]) -> list[int]:
    return [json.loads(value)["n"] for value in values]


async def test_subscription_is_sent_events_as_they_came(gateway: RunningGateway, socket: ClientConnection) -> None:
    assert socket.subprotocol == SUBPROTOCOL
    await say(socket, type="subscribe", id="all")
    await heard(socket, "welcome", "subscribed")
    values = gateway.events(20)
    await inject(gateway, values, episode("V1", 3))
    events, episodes = await heard(socket, "events", "episodes")
    assert [item["n"] for item in events["items"]] == numbers(values)
    assert [item["episodeId"] for item in episodes["items"]] == ["V1:0:3"]


async def test_every_frame_is_one_that_is_documented(gateway: RunningGateway, socket: ClientConnection) -> None:
    await say(socket, type="subscribe", id="a", snapshot=True, delta=True, filter={"anomalies": True})
    recorded = await heard(socket, "welcome", "subscribed", "snapshot")
    for _ in range(3):
        await inject(gateway, gateway.events(20, latitude=1.0, longitude=1.0), episode("V5", 3))
        recorded += await heard(socket, "events", "episodes")
    await say(socket, type="update", id="a", viewport=[20, 20, 30, 30])
    recorded += await heard(socket, "leave", "snapshot")
    await say(socket, type="ping")
    recorded += await heard(socket, "heartbeat")
    await say(socket, type="unsubscribe", id="b")
    await say(socket, type="listen")
    recorded += await frames_to_the_end(socket)
    kinds = {message["type"] for message in recorded}
    assert kinds >= {"snapshot", "events", "episodes", "leave", "heartbeat", "error", "goodbye"}
    for message in recorded:
        assert mistakes(NAMES[message["type"]], message) == []


async def test_resumed_socket_is_sent_what_it_missed(gateway: RunningGateway) -> None:
    seen: list[int] = []
    feed = Feed(gateway.feed_url)
    events = aiter(feed)
    first = asyncio.ensure_future(anext(events))
    await asyncio.to_thread(gateway.wait_for_feeds, 1)
    before = gateway.events(30)
    await inject(gateway, before)
    seen.append((await first)["n"])
    seen += [(await anext(events))["n"] for _ in range(29)]
    cut_off = next(iter(gateway.core.feed.connections))
    asyncio.run_coroutine_threadsafe(cut_off.socket.close(1011), gateway.loop).result(5)
    away = gateway.events(40)
    await inject(gateway, away)
    seen += [(await asyncio.wait_for(anext(events), 30))["n"] for _ in range(40)]
    assert seen == numbers(before + away)
    assert feed.recovered is True
    await events.aclose()


async def test_client_that_sends_nonsense_is_told_what_is_wrong(
    gateway: RunningGateway, socket: ClientConnection
) -> None:
    await say(socket, type="subscribe", id="a", vehicle="V1")
    [error, goodbye] = await heard(socket, "error", "goodbye")
    assert "`vehicle`" in error["detail"]
    assert goodbye == {"type": "goodbye", "code": 4400, "retryAfterMs": None}
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400


async def test_client_library_says_why_it_was_refused(gateway: RunningGateway) -> None:
    with pytest.raises(FeedRefusedError, match="vehicle"):
        await anext(aiter(Feed(gateway.feed_url, vehicle="V1")))
    with pytest.raises(FeedRefusedError, match="tenant"):
        await anext(aiter(Feed(f"{gateway.feed_url}?tenant=a")))


async def test_other_sites_and_other_subprotocols_are_refused(gateway: RunningGateway) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        await connect(gateway.feed_url, origin="https://elsewhere.example")
    async with connect(gateway.feed_url) as socket:
        await heard(socket, "welcome")


async def test_full_gateway_asks_to_come_back(gateway: RunningGateway) -> None:
    sockets = [await connect(gateway.feed_url) for _ in range(MAX_CLIENTS)]
    await asyncio.to_thread(gateway.wait_for_feeds, MAX_CLIENTS)
    async with connect(gateway.feed_url) as refused:
        with pytest.raises(ConnectionClosed) as closed:
            await refused.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    for socket in sockets:
        await socket.close()
    await asyncio.to_thread(gateway.wait_for_feeds, 0)


async def test_slow_reader_counts_its_losses_and_disturbs_nobody(tmp_path: Path) -> None:
    """Received and lost are all that was published, on a socket whose reader stops for a while."""
    with running_gateway(tmp_path, tmp_path, history_events=500) as gateway:
        async with (
            connect(gateway.feed_url, max_queue=1, max_size=None, compression=None) as slow,
            connect(gateway.feed_url, compression=None) as quick,
        ):
            for socket in (slow, quick):
                await say(socket, type="subscribe", id="a")
                await heard(socket, "subscribed")
            published = seen = 0
            while not is_passed_over(gateway):
                values = gateway.events(50, padding="x" * 20_000)
                published += len(values)
                assert published < 20_000, "the client that does not read must lose events some time"
                await inject(gateway, values)
                while seen < published:
                    [events] = await heard(quick, "events")
                    seen += len(events["items"])
            await inject(gateway, gateway.events(1, n=-1))
            received, lost = await counted_to_the_last(slow)
            assert received + lost == published + 1
            assert lost == gateway.core.feed.lost > 0


async def counted_to_the_last(socket: ClientConnection) -> tuple[int, int]:
    """Count events that were received and lost, until the last one comes, which is number -1."""
    received = lost = 0
    while True:
        message = json.loads(await asyncio.wait_for(socket.recv(), 30))
        items = message.get("items", [])
        received += len(items)
        lost += message["count"] if message["type"] == "lost" else 0
        if any(item["n"] == -1 for item in items):
            return received, lost


def is_passed_over(gateway: RunningGateway) -> bool:
    """Tell whether a subscription has missed something that it was not told of yet."""
    subscriptions = [
        one for connection in gateway.core.feed.connections for one in connection.session.subscriptions.values()
    ]
    return any(one._unsaid.lost > 0 for one in subscriptions)


async def test_closing_gateway_says_goodbye_with_a_time_to_come_back(tmp_path) -> None:
    with running_gateway(tmp_path, tmp_path) as gateway:
        async with connect(gateway.feed_url) as socket:
            await heard(socket, "welcome")
            closing = asyncio.run_coroutine_threadsafe(gateway.core.feed.close(2.0), gateway.loop)
            [goodbye] = await heard(socket, "goodbye")
            assert goodbye["code"] == 1001
            assert 0 <= goodbye["retryAfterMs"] <= 5_000
        await asyncio.wrap_future(closing)
