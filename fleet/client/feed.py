"""The live feed over a socket that may break: connects again, resumes where it was, and gives out every event once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from fleet.backoff import BackOff
from fleet.client.state import Event, FeedState, Loss, Message
from fleet.delivery.feed.messages import RETRIED_CLOSES, SUBPROTOCOL
from fleet.errors import FleetError

SUBSCRIPTION: Final = "feed"
FIRST_BACK_OFF_S: Final = 0.2
LONGEST_BACK_OFF_S: Final = 20.0
# One event alone may be larger than a frame is made otherwise.
MAX_FRAME_BYTES: Final = 20_000_000
_REFUSALS: Final = range(4400, 4500)


class FeedRefusedError(FleetError):
    """The gateway does not serve this subscription; trying again does not help."""


class _ConnectAgainError(Exception):
    """The gateway asks to be connected to anew."""


class Feed:
    """An asynchronous iterator of events; it ends with FeedRefusedError alone.

    `options` are the fields of `subscribe`, as `filter={"anomalies": True}`, `delta=True`, `snapshot=True` or
    `resume=` a cursor of an earlier run. A loss is said to `on_lost` before the events that come after it.
    """

    def __init__(
        self, url: str, *, token: str | None = None, on_lost: Callable[[Loss], None] = lambda _: None, **options: Any
    ) -> None:
        self._url, self._token, self._options = url, token, options
        self._state = FeedState(on_lost, snapshot=options.get("snapshot", False))
        self._state.cursor = self._options.pop("resume", None)
        self._back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        self._retry_after_s = 0.0
        self.recovered: bool | None = None
        """Whether the last connection went on where the one before it ended; None on the first."""

    @property
    def cursor(self) -> str | None:
        """The place after the last event that was taken; keep it to resume there in another run."""
        return self._state.cursor

    @property
    def vehicles(self) -> dict[str, Event]:
        """The newest event of each vehicle that is in view."""
        return self._state.vehicles

    @property
    def episodes(self) -> dict[str, dict[str, Any]]:
        """The latest record of each episode that this heard of."""
        return self._state.episodes

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Give out events, over as many connections as it takes. Raises FeedRefusedError."""
        while True:
            try:
                async with connect(
                    self._url, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_FRAME_BYTES, compression=None
                ) as socket:
                    async for event in self._events(socket):
                        yield event
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed, _ConnectAgainError):
                pass
            wait_s = self._retry_after_s + self._back_off.next_s() * random.uniform(0.5, 1.0)
            self._retry_after_s = 0.0
            await asyncio.sleep(wait_s)

    async def _events(self, socket: ClientConnection) -> AsyncIterator[Event]:
        try:
            if self._token is not None:
                await self._send(socket, type="auth", token=self._token)
            await self._subscribe(socket)
            async for text in socket:
                message = json.loads(text)
                await self._follow(socket, message)
                for event in self._state.apply(message):
                    yield event
                self._state.come_to(message)
        except ConnectionClosed:
            pass
        if socket.close_code in _REFUSALS and socket.close_code not in RETRIED_CLOSES:
            raise FeedRefusedError(f"The gateway refused: {socket.close_reason or socket.close_code}.")

    async def _follow(self, socket: ClientConnection, message: Message) -> None:
        """Do what a message asks of the connection."""
        kind = message["type"]
        if kind == "subscribed":
            self.recovered = message["recovered"]
            self._back_off.reset()
        elif kind == "goodbye":
            self._retry_after_s = (message["retryAfterMs"] or 0) / 1000
        elif kind == "error" and message["code"] == "bad_cursor":
            self._state.begin_anew()
            await self._subscribe(socket)
        elif kind == "error" and message["retryable"]:
            raise _ConnectAgainError
        elif kind == "error":
            raise FeedRefusedError(message["detail"])

    async def _subscribe(self, socket: ClientConnection) -> None:
        resume = {} if self._state.cursor is None else {"resume": self._state.cursor}
        await self._send(socket, type="subscribe", id=SUBSCRIPTION, **self._options, **resume)

    async def _send(self, socket: ClientConnection, **message: Any) -> None:
        await socket.send(json.dumps(message))
