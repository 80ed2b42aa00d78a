"""All sockets of `/ws/v2` of this gateway replica, and the live log that they follow.

On the event's way: the tail hands records over with their places, a tick makes them a block of the live log, and every
connection is woken. Everything here runs in the gateway's event loop.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import Iterable
from typing import Final

from starlette.websockets import WebSocket

from deployments.web.feed.connection import Connection, close_socket
from deployments.web.feed.episode_list import EpisodeList
from deployments.web.feed.log_reader import LogReader, Records
from deployments.web.feed.sign_in import SignIn
from deployments.web.problems import refused_names
from deployments.web.tail import Followed, Polled
from fleet.delivery.feed.block import read_blocks
from fleet.delivery.feed.cursor import CursorKey
from fleet.delivery.feed.live_log import LiveLog
from fleet.delivery.feed.messages import SUBPROTOCOL, Close, CloseCode
from fleet.delivery.feed.recovery import RecoveryLimits
from fleet.delivery.feed.selection import EpisodeItem
from fleet.delivery.feed.session import House, Session, SignInRefusedError
from fleet.delivery.handling import Handlings
from fleet.settings import Settings

CURSOR_KEY_VARIABLE: Final = "FLEET_CURSOR_KEY"
CURSOR_KEY_MEANING: Final = (
    "Secret that cursors of `/ws/v2` are signed with, the same for all gateway replicas. Without it, a key is made of "
    "`kafka.application_id`: replicas agree, and whoever knows it could write cursors of their own."
)
_LONGEST_RETRY_S: Final = 5.0

logger = logging.getLogger(__name__)


class FeedHub:
    """The connected clients."""

    def __init__(self, settings: Settings, sign_in: SignIn, handlings: Handlings) -> None:
        gateway, recovery = settings.gateway, settings.recovery
        self._settings, self._sign_in = gateway, sign_in
        self._tick_s = gateway.batch_interval_ms / 1000
        self._episodes = EpisodeList(handlings)
        limits = RecoveryLimits(recovery.max_events, recovery.max_age_s)
        self._house = House(limits, self._tick_s, sign_in.by_token, self._episodes.latest_first)
        self._reader = LogReader(settings.kafka, recovery.readers)
        self._key = CursorKey(os.environ.get(CURSOR_KEY_VARIABLE, ""), settings.kafka.application_id)
        self._log: LiveLog | None = None
        self.connections: set[Connection] = set()
        self._pending: Records = []  # of one tick
        self._pending_episodes: list[EpisodeItem] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ticked_at_s = float("-inf")
        self._closing: Close | None = None
        self._lost_before = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def clients(self) -> int:
        """Count the connected clients."""
        return len(self.connections)

    @property
    def lost(self) -> int:
        """Count the events that slow clients were told to have lost, since the start."""
        return self._lost_before + (self._log.lost if self._log is not None else 0)

    # What comes in ---------------------------------------------------------------------------------------------------

    def publish(self, polled: Polled, acted_on: Iterable[str] = ()) -> None:
        """Take what one poll brought, and which episodes it did something about; clients have it at the next tick."""
        if polled.followed is not None:
            self._follow(polled.followed)
        self._pending += zip(polled.places, polled.scored, strict=True)
        self._pending_episodes += self._episodes.receive(polled.episodes)
        self._pending_episodes += self._episodes.acted_on(acted_on)
        if (self._pending or self._pending_episodes) and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._ticked_at_s + self._tick_s, loop.time()), self._tick)

    def _follow(self, followed: Followed) -> None:
        """Begin a live log, or go on with the one that there is where nothing is missing in between."""
        self._tick()
        if self._log is not None and self._log.goes_on_at(followed.epoch, followed.start):
            return
        if self._log is not None:
            self._lost_before += self._log.lost
            self._end_all(CloseCode.RESTART, "the results are read from another place: connect again")
        gateway = self._settings
        self._log = LiveLog(
            followed.epoch,
            followed.start,
            self._key,
            most_events=gateway.history_events,
            max_vehicles=gateway.max_vehicles,
            began_s=time.time(),
        )

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._ticked_at_s = None, asyncio.get_running_loop().time()
        pending, self._pending = self._pending, []
        episodes, self._pending_episodes = self._pending_episodes, []
        if self._log is None or not (pending or episodes):
            return
        for block in read_blocks(pending, self._log.head, time.time(), episodes):
            self._log.append(block)
        for connection in self.connections:
            connection.wake()

    # Who is connected ------------------------------------------------------------------------------------------------

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until either side ends it."""
        offered = socket.scope.get("subprotocols") or []
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        close = self._refusal(socket, offered)
        if close is not None or self._log is None:
            await close_socket(socket, close or _NOT_READY)
            return
        try:
            identity = self._sign_in.of(socket)
        except SignInRefusedError as refused:
            await close_socket(socket, Close(CloseCode.UNAUTHENTICATED, str(refused)))
            return
        session = Session(self._log, self._house, identity, time.time())
        connection = Connection(socket, session, self._reader)
        self.connections.add(connection)
        self._empty.clear()
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._empty.set()

    def _refusal(self, socket: WebSocket, offered: Iterable[str]) -> Close | None:
        if (refusal := refused_names([name for name, _ in socket.query_params.multi_items()], ())) is not None:
            return Close(CloseCode.MALFORMED, refusal)
        if offered and SUBPROTOCOL not in offered:
            return Close(CloseCode.MALFORMED, f"offer the subprotocol {SUBPROTOCOL}, or none")
        if self._closing is None and self.clients >= self._settings.max_clients:
            return Close(CloseCode.FULL, f"all {self._settings.max_clients} places are taken: try again later")
        return self._closing

    async def close(self, timeout_s: float) -> None:
        """Tell every client to come back elsewhere, refuse new ones, and wait a bounded time until all are gone."""
        self._closing = Close(CloseCode.GOING_AWAY, "this gateway is shutting down: connect again")
        self._end_all(*self._closing)
        if self._timer is not None:
            self._timer.cancel()
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            logger.warning("feed_clients_left_behind", extra={"clients": self.clients})

    async def watch_tokens(self, interval_s: float) -> None:
        """End, again and again, the connections of those whose token has expired or was revoked."""
        while True:
            await asyncio.sleep(interval_s)
            unwelcome = self._sign_in.unwelcome({one.session.identity for one in self.connections})
            for connection in self.connections:
                if connection.session.identity in unwelcome:
                    reason = "the token has expired or was revoked: sign in again"
                    connection.session.end(CloseCode.UNAUTHENTICATED, reason)
                    connection.wake()

    def _end_all(self, code: CloseCode, reason: str) -> None:
        for connection in self.connections:
            # Apart from one another, so that they do not all come back at once.
            connection.session.end(code, reason, random.uniform(0.0, _LONGEST_RETRY_S))
            connection.wake()


_NOT_READY: Final = Close(CloseCode.FULL, "Kafka has not answered yet: try again later")
