"""The link between the system and Kafka: a TCP proxy in a process of its own that can be cut, silenced and slowed.

It reads the header of every request that passes, so that it can also hold a chosen one: the moment of a transaction
at which a process is killed is then exact, and the product needs no hook for it.

Neighbours: `system` makes Kafka advertise the link's port to the system; `cases` command it.
"""

import asyncio
import contextlib
import multiprocessing
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from multiprocessing.connection import Connection
from typing import Self, TypeAlias

from fleet.errors import LocalServiceError
from launch.ports import free_port
from simulator.child_process import leave_signals_to_the_parent
from simulator.local_kafka import HOST

START_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
LARGEST_FRAME_BYTES = 128 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024
_SIZE = struct.Struct(">i")
_REQUEST_HEADER = struct.Struct(">hhih")  # API key, its version, correlation id, length of the client id
_CORRELATION_ID = struct.Struct(">i")


class Api(IntEnum):
    """The requests that make up a transaction, by Kafka's API keys."""

    PRODUCE = 0
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END_TRANSACTION = 26
    COMMIT_OFFSETS = 28


class Moment(Enum):
    """When a request is held: before Kafka sees it, or when Kafka has carried it out and the client does not know."""

    BEFORE = "before"
    AFTER = "after"


class State(Enum):
    """What becomes of connections."""

    OPEN = "open"
    REFUSED = "refused"  # nobody listens, and what was connected is reset
    SILENT = "silent"  # connections are accepted and stay, but nothing passes


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of the link, and how slow it is: a wait before each chunk, and bytes a second of a connection."""

    state: State = State.OPEN
    delay_s: float = 0.0
    bytes_per_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Catch:
    """Hold the next such request of a client whose id begins with `client_prefix`."""

    api: Api
    moment: Moment
    client_prefix: str


@dataclass(frozen=True, slots=True)
class Caught:
    """A held request: who sent it, and the client's port of its connection."""

    client_id: str
    port: int


class _Release:
    """Let what is held go on, or stop waiting for it."""


_Command: TypeAlias = Condition | Catch | _Release


class KafkaLink:
    """The proxy from `port` to Kafka at `kafka_port`; leaving the context ends its process. One thread at a time."""

    def __init__(self, kafka_port: int, port: int | None = None) -> None:
        self.port = port or free_port()
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(self.port, kafka_port, self._theirs), name="kafka-link", daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        if not self._pipe.poll(START_TIMEOUT_S):
            raise LocalServiceError(f"The link to Kafka on port {self.port} did not start: read the lines above.")
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(5.0)
        self._process.kill()
        self._process.join()

    def become(self, condition: Condition) -> None:
        """Put the link into a condition; returns when it holds."""
        self._tell(condition)

    @contextlib.contextmanager
    def being(self, condition: Condition) -> Iterator[None]:
        """Hold a condition for the length of a block."""
        self.become(condition)
        try:
            yield
        finally:
            self.become(Condition())

    def catch(self, catch: Catch, timeout_s: float) -> Caught:
        """Wait until such a request passes; it is held until `release`. Raises LocalServiceError when none comes."""
        self.arm(catch)
        return self.caught(timeout_s)

    def arm(self, catch: Catch) -> None:
        """Hold the next such request that passes; `caught` waits for it."""
        self._tell(catch)

    def caught(self, timeout_s: float) -> Caught:
        """Wait for what was armed. Raises LocalServiceError when it does not come in time."""
        if not self._pipe.poll(timeout_s):
            self.release()
            raise LocalServiceError(f"No such request passed the link to Kafka within {timeout_s:g} s.")
        caught = self._pipe.recv()
        assert isinstance(caught, Caught)
        return caught

    def release(self) -> None:
        """Let a held request go on, if its client still wants it."""
        self._tell(_Release())

    def _tell(self, command: _Command) -> None:
        """Send a command and wait until it is carried out; what was caught before that is of no interest any more."""
        self._pipe.send(command)
        while self._pipe.poll(START_TIMEOUT_S):
            if self._pipe.recv() == "done":
                return
        raise LocalServiceError("The link to Kafka does not answer: its process has gone.")


def _run(port: int, kafka_port: int, pipe: Connection) -> None:
    leave_signals_to_the_parent()
    asyncio.run(_Proxy(port, kafka_port, pipe).run())


@dataclass(slots=True, eq=False)
class _Connection:
    """One client's connection and the one to Kafka that belongs to it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    kafka_reader: asyncio.StreamReader
    kafka_writer: asyncio.StreamWriter
    awaited_id: int | None = None  # hold the answer with this correlation id
    client_id: str = ""

    @property
    def port(self) -> int:
        port: int = self.writer.get_extra_info("peername")[1]
        return port

    def abort(self) -> None:
        for writer in (self.writer, self.kafka_writer):
            writer.transport.abort()


class _Proxy:
    """What runs in the link's process, until the other end of its pipe closes."""

    def __init__(self, port: int, kafka_port: int, pipe: Connection) -> None:
        self._port, self._kafka_port, self._pipe = port, kafka_port, pipe
        self._condition = Condition()
        self._catch: Catch | None = None
        self._connections: set[_Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing, self._released, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._passing.set()

    async def run(self) -> None:
        self._server = await self._listen()
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._obey)
        self._pipe.send("done")
        await self._ended.wait()
        await self._close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, HOST, self._port, limit=_BUFFER_BYTES)

    async def _close(self) -> None:
        self._passing.set()
        self._server.close()
        for connection in self._connections:
            connection.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=CLOSE_TIMEOUT_S)

    def _obey(self) -> None:
        try:
            command: _Command = self._pipe.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._ended.set()
            return
        task = asyncio.create_task(self._carry_out(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, command: _Command) -> None:
        match command:
            case Condition():
                await self._become(command)
            case Catch():
                self._released.clear()
                self._catch = command
            case _Release():
                self._catch = None
                self._released.set()
        self._pipe.send("done")

    async def _become(self, condition: Condition) -> None:
        before, self._condition = self._condition, condition
        if condition.state is State.SILENT:
            self._passing.clear()
        else:
            self._passing.set()
        if condition.state is State.REFUSED:
            self._server.close()
            for connection in list(self._connections):
                connection.abort()
        elif before.state is State.REFUSED:
            self._server = await self._listen()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        try:
            kafka_reader, kafka_writer = await asyncio.open_connection(HOST, self._kafka_port, limit=_BUFFER_BYTES)
        except OSError:
            writer.transport.abort()  # Kafka itself is down
            return
        connection = _Connection(reader, writer, kafka_reader, kafka_writer)
        if self._condition.state is State.REFUSED:
            connection.abort()  # it was accepted just before
            return
        self._connections.add(connection)
        ways = [asyncio.create_task(way(connection)) for way in (self._requests, self._answers)]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connections.discard(connection)
            connection.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self, connection: _Connection) -> None:
        async for frame in _frames(connection.reader):
            api, _version, correlation_id, length = _REQUEST_HEADER.unpack_from(frame, _SIZE.size)
            start = _SIZE.size + _REQUEST_HEADER.size
            client_id = frame[start : start + max(length, 0)].decode(errors="replace")
            if (moment := self._take_catch(api, client_id)) is Moment.BEFORE:
                await self._hold(connection, client_id)
            elif moment is Moment.AFTER:
                connection.awaited_id, connection.client_id = correlation_id, client_id
            await self._pass_on(frame, connection.kafka_writer)

    async def _answers(self, connection: _Connection) -> None:
        async for frame in _frames(connection.kafka_reader):
            if connection.awaited_id == _CORRELATION_ID.unpack_from(frame, _SIZE.size)[0]:
                connection.awaited_id = None
                await self._hold(connection, connection.client_id)
            await self._pass_on(frame, connection.writer)

    def _take_catch(self, api: int, client_id: str) -> Moment | None:
        catch = self._catch
        if catch is None or catch.api != api or not client_id.startswith(catch.client_prefix):
            return None
        self._catch = None
        return catch.moment

    async def _hold(self, connection: _Connection, client_id: str) -> None:
        self._pipe.send(Caught(client_id, connection.port))
        await self._released.wait()

    async def _pass_on(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        if wait_s := self._condition.delay_s + len(frame) / self._condition.bytes_per_s:
            await asyncio.sleep(wait_s)
        writer.write(frame)
        await writer.drain()


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole requests or answers with their sizes in front, until the connection ends."""
    while True:
        try:
            prefix = await reader.readexactly(_SIZE.size)
            (size,) = _SIZE.unpack(prefix)
            if not _CORRELATION_ID.size <= size <= LARGEST_FRAME_BYTES:
                return
            yield prefix + await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
