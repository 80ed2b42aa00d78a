"""Clients of the live feed: one that reads everything, one that never reads, one that reads slowly, and a crowd.

Neighbours: `cases.clients` connects them; the normal one keeps books of what it was sent.
"""

import secrets
import selectors
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fleet.errors import LocalServiceError
from fleet.events.fields import wire_name
from fleet.events.source import Source

TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.1
RECEIVE_BUFFER_BYTES: Final = 65_536  # of a client that reads too little: what it does not take shows soon
LARGEST_FRAME_BYTES: Final = 64 * 1024 * 1024
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class _Event(msgspec.Struct, rename=wire_name, gc=False):
    source: str
    scored_at: float


_decode = msgspec.json.Decoder(list[_Event]).decode


class FrameReader(ABC):
    """A client of the live feed that is given every frame, from entering the context until leaving it."""

    def __init__(self, url: str) -> None:
        """`url` is the page's."""
        self._url = url.replace("http", "ws", 1) + "/ws/telemetry?batch=true"
        self.failure: str | None = None
        self._connected, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="frame-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._connected.wait(TIMEOUT_S):
            raise LocalServiceError(f"The live feed at {self._url} let nobody in: {self.failure or 'no answer'}.")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S)

    @abstractmethod
    def take(self, frame: bytes) -> None:
        """Take a frame that has just arrived."""

    def _run(self) -> None:
        try:
            with connect(self._url, compression=None, max_size=LARGEST_FRAME_BYTES) as socket_:
                self._connected.set()
                while not self._stop.is_set():
                    try:
                        frame = socket_.recv(POLL_S, decode=False)
                    except TimeoutError:
                        continue
                    self.take(bytes(frame) if isinstance(frame, bytes) else frame.encode())
        except (ConnectionClosed, OSError) as failure:
            self.failure = str(failure)


class Screen(FrameReader):
    """A client as the page is one: it takes every frame, and remembers which events it was shown, and how late."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.last_offset: dict[int, int] = {}
        self.events = self.not_next = 0
        self._late_ms: list[float] = []

    def is_over(self, last_offsets: Mapping[int, int]) -> bool:
        """Whether it was shown the telemetry of each partition up to an offset, or was cut off."""
        return self.failure is not None or all(
            self.last_offset.get(partition, -1) >= offset for partition, offset in last_offsets.items()
        )

    def late_ms(self, percentile: float) -> float:
        """Return a percentile of the milliseconds from scoring to arrival."""
        return float(np.percentile(self._late_ms, percentile)) if self._late_ms else float("nan")

    def take(self, frame: bytes) -> None:
        """Read the events of a frame, and enter them."""
        now_s = time.time()
        for event in _decode(frame):
            source = Source.read(event.source.encode())
            assert source is not None
            last = self.last_offset.get(source.partition)
            self.not_next += last is not None and source.offset != last + 1
            self.last_offset[source.partition] = source.offset
            self.events += 1
            self._late_ms.append((now_s - event.scored_at) * 1000)


class Sockets:
    """Raw connections to the live feed; leaving the context resets those that are left."""

    def __init__(self, url: str) -> None:
        """`url` is the page's."""
        self._address = urlsplit(url)
        self._sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="faults-crowd", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        self.drop_all()
        self._selector.close()

    def never_reading(self) -> None:
        """Connect a client that takes nothing."""
        self._open("")

    def slow(self, bytes_per_s: int) -> None:
        """Connect a client that reads so fast and no faster."""
        sock = self._open("")
        threading.Thread(target=self._read_slowly, args=(sock, bytes_per_s), name="faults-slow", daemon=True).start()

    def reading(self, query: str) -> None:
        """Connect a client that takes everything."""
        sock = self._open(query)
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ)

    def drop_all(self) -> None:
        """Reset every connection at once."""
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            sock.close()

    def _open(self, query: str) -> socket.socket:
        assert self._address.hostname
        assert self._address.port
        sock = socket.socket()
        self._sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.settimeout(TIMEOUT_S)
        sock.connect((self._address.hostname, self._address.port))
        sock.sendall(_handshake(self._address.netloc, query))
        answer = sock.recv(64)
        if b" 101 " not in answer:
            raise LocalServiceError(f"The live feed refused a client: {answer.decode(errors='replace')}")
        return sock

    def _read_slowly(self, sock: socket.socket, bytes_per_s: int) -> None:
        while not self._stop.wait(POLL_S):
            try:
                if not sock.recv(int(bytes_per_s * POLL_S)):
                    return
            except OSError:
                return

    def _read_all(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(POLL_S):
                try:
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    sock.recv(1 << 20)
                except OSError:
                    continue


def _handshake(host: str, query: str) -> bytes:
    key = b64encode(secrets.token_bytes(16)).decode()
    return (
        f"GET /ws/telemetry{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
