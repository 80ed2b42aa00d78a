"""One socket of `/ws/v2`: carries a session's frames out and the client's messages in, and reads the log for it."""

import asyncio
import logging
import time
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments.web.feed.log_reader import LogReader
from deployments.web.sockets import CLOSE_TIMEOUT_S, SEND_TIMEOUT_S, until_the_first_ends
from fleet.delivery.feed.block import read_blocks
from fleet.delivery.feed.messages import Close, CloseCode
from fleet.delivery.feed.session import Recovering, Session
from fleet.errors import FleetError, RetentionGapError

_REASON_BYTES: Final = 123  # all that a close frame has room for

logger = logging.getLogger(__name__)


class Connection:
    """Serves one session on one accepted socket."""

    def __init__(self, socket: WebSocket, session: Session, reader: LogReader) -> None:
        self.socket, self.session, self._reader = socket, session, reader
        self._wake, self._drained = asyncio.Event(), asyncio.Event()
        self._recoveries: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look for what is due."""
        self._wake.set()

    async def run(self) -> None:
        """Serve until either side ends it."""
        try:
            await until_the_first_ends(self._send(), self._receive())
        finally:
            for recovery in self._recoveries:
                recovery.cancel()
            for subscription in self.session.subscriptions.values():
                subscription.end()
        if self.session.close is not None:
            await close_socket(self.socket, self.session.close)

    async def _send(self) -> None:
        try:
            while True:
                frames = self.session.take(time.time())
                if frames:
                    await self._send_frames(frames)
                elif self.session.close is not None:
                    return
                else:
                    self._drained.set()
                    await self._until_due()
                    self._drained.clear()
        except TimeoutError:
            self.session.end(CloseCode.FULL, f"the connection took nothing for {SEND_TIMEOUT_S:g} s")

    async def _send_frames(self, frames: list[str]) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            for frame in frames:
                await self.socket.send({"type": "websocket.send", "text": frame})
        # A send that needs not wait does not let go of the loop by itself.
        await asyncio.sleep(0)

    async def _until_due(self) -> None:
        try:
            async with asyncio.timeout(max(self.session.due_at_s() - time.time(), 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _receive(self) -> None:
        while (message := await self.socket.receive())["type"] != "websocket.disconnect":
            if self.session.close is not None:
                continue  # it is being said
            self.session.receive(message.get("text") or message.get("bytes") or "", time.time())
            while self.session.recovering:
                recovery = asyncio.create_task(self._recover(self.session.recovering.popleft()))
                self._recoveries.add(recovery)
                recovery.add_done_callback(self._recoveries.discard)
            self.wake()

    # Going on from the log -------------------------------------------------------------------------------------------

    async def _recover(self, recovering: Recovering) -> None:
        try:
            if self.session.resume(recovering, await self._reader.edges(), time.time()):
                await self._replay(recovering)
        except RetentionGapError:
            self.session.begin_anew(recovering, "retention")
        except FleetError as problem:
            logger.warning("resume_failed", extra={"problem": str(problem)})
            detail = "Kafka does not answer at the moment: subscribe again with the same cursor."
            self.session.drop(recovering.subscription, "log_unavailable", detail, retryable=True)
        except Exception:
            logger.exception("resume_failed")
            self.session.end(CloseCode.RESTART, "the gateway failed to read the log; its own log has the reason", 1.0)
        self.wake()

    async def _replay(self, recovering: Recovering) -> None:
        """Read on until the subscription has come to what is held in memory; no faster than the client takes it."""
        subscription = recovering.subscription
        while not self.session.has_caught_up(recovering):
            until = self.session.head
            async for records in self._reader.read(subscription.positions, until):
                for block in read_blocks(records, subscription.positions, time.time()):
                    self.session.say(subscription.replay(block, time.time()))
                    await self._sent()
                if not self.session.holds(subscription):
                    return
            subscription.come_to(until)

    async def _sent(self) -> None:
        self._drained.clear()
        self.wake()
        await self._drained.wait()


async def close_socket(socket: WebSocket, close: Close) -> None:
    """Close an accepted socket with a reason, unless the other side is gone or takes nothing."""
    reason = close.reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.close(close.code, reason)
    except (TimeoutError, RuntimeError, WebSocketDisconnect):
        logger.debug("close_not_sent", extra={"code": close.code})
