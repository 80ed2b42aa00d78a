"""The WebSocket side of the gateway: who is connected, and one sending task for each of them.

On the event's way: new events come in once as a `LiveBlock` (`publish`), every client's `LiveFeed` takes what it
wants of it, and the client's own task sends it. A slow client fills its own feed, whose oldest events are dropped
and counted; nobody waits for it. Everything here runs in the gateway's event loop.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta
from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments.web.access.guard import TRY_AGAIN_LATER, UNAUTHENTICATED
from deployments.web.problems import refused_names
from fleet.access.roles import Principal
from fleet.delivery.live_feed import LiveBlock, LiveFeed, Selection, joined
from fleet.events.fields import MAX_VEHICLE_ID_CHARACTERS, wire_name

# A connection that takes nothing for so long is given up.
SEND_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 1.0
# How late an open connection may learn that its token is good no more.
CHECK_INTERVAL_S: Final = 1.0
# Between two bursts the loop serves the others: a send that needs not wait does not let go of the loop by itself.
BURST_EVENTS: Final = 64
# What a client says is not read; more than this is no client of ours.
MAX_INCOMING_CHARACTERS: Final = 4_096
MAX_INCOMING_PER_WINDOW: Final = 120
INCOMING_WINDOW_S: Final = 60.0

GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009

logger = logging.getLogger(__name__)


class BadRequestError(Exception):
    """A socket's query asks for something that there is not."""


class FeedRequest(NamedTuple):
    """What a client asked for in its query."""

    selection: Selection
    batch: bool


class FeedQuery(msgspec.Struct, rename=wire_name):
    """The query of the live feed, as it is documented; `read_query` reads it."""

    vehicle_id: Annotated[str | None, Meta(description="only the events of this vehicle")] = None
    anomalies: Annotated[bool, Meta(description="only anomalies")] = False
    batch: Annotated[
        bool, Meta(description="arrays of events, one every `gateway.batch_interval_ms` at most, and not single ones")
    ] = False


class Close(NamedTuple):
    """Why the gateway ends a connection."""

    code: int
    reason: str


@dataclass(eq=False, slots=True)
class _Client:
    feed: LiveFeed
    batch: bool
    principal: Principal
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    close: Close | None = None
    sent_at_s: float = float("-inf")  # loop time of the last frame

    def offer(self, block: LiveBlock) -> None:
        if self.feed.offer(block):
            self.wake.set()

    def end(self, close: Close) -> None:
        self.close = close
        self.wake.set()


class SocketHub:
    """All connected clients of this gateway replica."""

    def __init__(
        self,
        *,
        batch_interval_s: float,
        backlog_events: int,
        max_clients: int,
    ) -> None:
        self._batch_interval_s, self._backlog_events = batch_interval_s, backlog_events
        self._max_clients = max_clients
        self._singles: set[_Client] = set()
        self._batched: set[_Client] = set()
        self._dropped_for_gone = 0
        self._pending: list[LiveBlock] = []  # of one batch interval
        self._tick_timer: asyncio.TimerHandle | None = None
        self._ticked_at_s = float("-inf")
        self._closing: Close | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def clients(self) -> int:
        """Count the connected clients."""
        return len(self._singles) + len(self._batched)

    @property
    def dropped(self) -> int:
        """Count the events that slow clients lost since the start, those of clients that are gone included."""
        return self._dropped_for_gone + sum(c.feed.dropped for c in (*self._singles, *self._batched))

    def publish(self, block: LiveBlock) -> None:
        """Offer new events to every client: at once to those of single events, once an interval to the others."""
        if not block:
            return
        for client in self._singles:
            client.offer(block)
        if self._batched:
            self._pending.append(block)
            self._schedule_tick()

    async def serve(self, socket: WebSocket, principal: Principal) -> None:
        """Serve one connection until either side ends it, or until its holder may not stay any more."""
        await socket.accept()
        try:
            request = read_query(socket.query_params.multi_items())
        except BadRequestError as refused:
            await _close(socket, Close(POLICY_VIOLATION, str(refused)))
            return
        if self._closing is not None or self.clients >= self._max_clients:
            full = Close(TRY_AGAIN_LATER, f"all {self._max_clients} places are taken: try again later")
            await _close(socket, self._closing or full)
            return
        selection = request.selection._replace(tenant=principal.tenant)
        client = _Client(LiveFeed(selection, self._backlog_events), request.batch, principal)
        self._join(client)
        try:
            await until_the_first_ends(self._send(client, socket), _receive(client, socket))
        finally:
            self._leave(client)
        if client.close is not None:
            await _close(socket, client.close)

    async def close(self, timeout_s: float) -> None:
        """Tell every client to come back elsewhere, refuse new ones, and wait a bounded time until all are gone."""
        self._closing = Close(GOING_AWAY, "this gateway is shutting down: connect again")
        for client in (*self._singles, *self._batched):
            client.end(self._closing)
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            logger.warning("clients_left_behind", extra={"clients": self.clients})

    async def watch_tokens(self, may_stay: Callable[[Principal], bool]) -> None:
        """End, again and again, the connections of those whose token has expired or was revoked."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            for client in (*self._singles, *self._batched):
                if not may_stay(client.principal):
                    client.end(Close(UNAUTHENTICATED, "the token has expired or was revoked: sign in again"))

    # Who is connected ------------------------------------------------------------------------------------------------

    def _join(self, client: _Client) -> None:
        (self._batched if client.batch else self._singles).add(client)
        self._empty.clear()

    def _leave(self, client: _Client) -> None:
        (self._batched if client.batch else self._singles).discard(client)
        self._dropped_for_gone += client.feed.dropped
        if not self._batched:
            self._pending.clear()
        if not self.clients:
            self._empty.set()

    # What they are sent ----------------------------------------------------------------------------------------------

    def _schedule_tick(self) -> None:
        if self._tick_timer is None:
            loop = asyncio.get_running_loop()
            due_s = max(self._ticked_at_s + self._batch_interval_s, loop.time())
            self._tick_timer = loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        """Offer what came in this interval; all clients that want everything share its frames."""
        self._tick_timer, self._ticked_at_s = None, asyncio.get_running_loop().time()
        if not self._pending:
            return
        pending, self._pending = joined(self._pending), []
        for piece in pending.pieces():
            for client in self._batched:
                client.offer(piece)

    async def _send(self, client: _Client, socket: WebSocket) -> None:
        send_waiting = self._send_frames if client.batch else self._send_singly
        try:
            while client.close is None:
                await client.wake.wait()
                client.wake.clear()
                await send_waiting(client, socket)
        except TimeoutError:
            client.close = Close(POLICY_VIOLATION, f"the connection took nothing for {SEND_TIMEOUT_S:g} s")

    async def _send_singly(self, client: _Client, socket: WebSocket) -> None:
        while client.close is None and (texts := client.feed.take_texts(BURST_EVENTS)):
            async with asyncio.timeout(SEND_TIMEOUT_S):
                for text in texts:
                    await socket.send({"type": "websocket.send", "text": text})
            await asyncio.sleep(0)

    async def _send_frames(self, client: _Client, socket: WebSocket) -> None:
        loop = asyncio.get_running_loop()
        if (early_s := client.sent_at_s + self._batch_interval_s - loop.time()) > 0:
            await asyncio.sleep(early_s)
        client.sent_at_s = loop.time()
        due = client.feed.taken + len(client.feed)
        # More than one frame an interval only where one would be larger than common clients accept.
        while client.feed.taken < due and (frame := client.feed.take_frame()) is not None:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await socket.send({"type": "websocket.send", "text": frame})
        if len(client.feed):
            client.wake.set()


def read_query(items: Sequence[tuple[str, str]]) -> FeedRequest:
    """Read `?vehicleId=ID&anomalies=true&batch=true`. Raises BadRequestError, for any other name too."""
    if (refusal := refused_names([name for name, _ in items], FeedQuery.__struct_encode_fields__)) is not None:
        raise BadRequestError(refusal)
    values = dict(items)
    vehicle_id = values.get("vehicleId")
    if vehicle_id is not None and not 0 < len(vehicle_id) <= MAX_VEHICLE_ID_CHARACTERS:
        raise BadRequestError(f"vehicleId: give an ID of 1 to {MAX_VEHICLE_ID_CHARACTERS} characters, or leave it out")
    return FeedRequest(Selection(vehicle_id, _flag(values, "anomalies")), _flag(values, "batch"))


def _flag(values: Mapping[str, str], name: str) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    try:
        return flags[values.get(name, "false").lower()]
    except KeyError:
        raise BadRequestError(f"{name}={values[name][:20]}: give true or false") from None


async def _receive(client: _Client, socket: WebSocket) -> None:
    """Wait for the client to leave; what it says is ignored, within bounds."""
    loop = asyncio.get_running_loop()
    window_ends_s, received = loop.time() + INCOMING_WINDOW_S, 0
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        if len(message.get("text") or message.get("bytes") or "") > MAX_INCOMING_CHARACTERS:
            client.close = Close(TOO_BIG, f"messages of more than {MAX_INCOMING_CHARACTERS} characters are not read")
            return
        if loop.time() > window_ends_s:
            window_ends_s, received = loop.time() + INCOMING_WINDOW_S, 0
        received += 1
        if received > MAX_INCOMING_PER_WINDOW:
            client.close = Close(POLICY_VIOLATION, "too many messages: this socket only sends")
            return


async def until_the_first_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run both sides of a connection; when one ends, the other does. A connection that breaks is no error."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect):
            raise outcome


async def _close(socket: WebSocket, close: Close) -> None:
    """Close an accepted connection with a reason, unless the other side is gone or takes nothing."""
    reason = close.reason.encode()[:123].decode(errors="ignore")  # all that a close frame has room for
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.close(close.code, reason)
    except (TimeoutError, RuntimeError, WebSocketDisconnect):
        logger.debug("close_not_sent", extra={"code": close.code})
