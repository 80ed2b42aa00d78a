"""Clients of the live feed that take every frame at once and cost nothing: what is left is the gateway's own work.

Neighbours: `parts` broadcasts to them.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

from starlette.datastructures import Headers, QueryParams
from starlette.websockets import WebSocket

from deployments.web.sockets import SocketHub
from fleet.access.roles import ANYBODY
from fleet.delivery.live_feed import LiveBlock

SETTLE_TIMEOUT_S = 20.0


class _Client:
    """As much of a WebSocket as the hub uses; keeps the frames that it is sent."""

    def __init__(self) -> None:
        self.headers, self.query_params = Headers({}), QueryParams("batch=true")
        self.frames: list[str] = []
        self.content = 0
        self._gone = asyncio.Event()

    async def accept(self) -> None:
        """Agree."""

    async def send(self, message: dict[str, Any]) -> None:
        """Keep a frame; an array of N events has N + 1 characters beside them, of which N count as theirs."""
        self.frames.append(message["text"])
        self.content += len(message["text"]) - 1

    async def receive(self) -> dict[str, Any]:
        """Say nothing until it leaves."""
        await self._gone.wait()
        return {"type": "websocket.disconnect"}

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Agree."""

    @property
    def events(self) -> int:
        """Count the events received: each names its source once."""
        return sum(frame.count('"source":') for frame in self.frames)

    def leave(self) -> None:
        """End the connection."""
        self._gone.set()


async def broadcast(clients: int, blocks: Sequence[LiveBlock]) -> tuple[list[float], int]:
    """Publish blocks to so many clients; returns each one's CPU seconds until all have it, and the events received.

    The interval between two frames is nothing here: waiting would be counted as work.
    """
    hub = SocketHub(batch_interval_s=0.0, backlog_events=1_000_000, max_clients=max(clients, 1))
    crowd = [_Client() for _ in range(clients)]
    serving = [asyncio.create_task(hub.serve(cast(WebSocket, client), ANYBODY)) for client in crowd]
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while hub.clients < clients:
            await asyncio.sleep(0)
        seconds, sent = [], 0
        for block in blocks:
            sent += sum(map(len, block.bodies)) + len(block)
            began_s = time.process_time()
            hub.publish(block)
            while any(client.content < sent for client in crowd):
                await asyncio.sleep(0)
            seconds.append(time.process_time() - began_s)
    for client in crowd:
        client.leave()
    await asyncio.gather(*serving)
    return seconds, sum(client.events for client in crowd)
