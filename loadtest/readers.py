"""The two ways out of the system, each read in a thread of its own: the scored topic and the WebSocket.

Neighbours: `arrivals` keeps the books, `run` starts and stops the readers.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from fleet.errors import FleetError, KafkaUnavailableError
from fleet.events.fields import wire_name
from fleet.kafka import (
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
    bootstrap_servers,
    is_unreachable,
    tail_consumer,
)
from fleet.settings import KafkaSettings
from loadtest.arrivals import Arrivals

READY_TIMEOUT_S = 20.0
POLL_S = 0.1
RECORDS_AT_ONCE = 2_000
LARGEST_FRAME_BYTES = 64 * 1024 * 1024


class Arrival(msgspec.Struct, rename=wire_name, gc=False):
    """What the load test needs of a scored event; one of another sender has no run."""

    loadtest_run: str = ""
    loadtest_sequence: int = -1
    loadtest_due_at: float = 0.0


_decode_one = msgspec.json.Decoder(Arrival).decode
_decode_many = msgspec.json.Decoder(list[Arrival]).decode


class Reader(ABC):
    """Reads one way out until told to stop. `failure` says why it ended early, if it did."""

    def __init__(self, name: str, run: str, arrivals: Arrivals) -> None:
        self.name, self.arrivals = name, arrivals
        self.failure: str | None = None
        self.busy_s = 0.0
        """Seconds spent on what had arrived: a reader that is always busy measures itself."""
        self._run_id = run
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"loadtest-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read; returns when nothing that is produced from now on can be missed.

        Raises FleetError when the reader cannot connect.
        """
        self._thread.start()
        if not self._ready.wait(READY_TIMEOUT_S):
            self.failure = self.failure or f"no connection within {READY_TIMEOUT_S:.0f} s"
        if self.failure:
            self.stop()
            raise FleetError(f"The load test cannot read the {self.name}: {self.failure}.")

    def stop(self) -> None:
        """Stop reading and let go of the connection; safe to call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(READY_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._read()
        except FleetError as error:
            self.failure = str(error).rstrip(".")
        except Exception as error:  # a thread's exception would be lost: the report must say it
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._ready.set()

    @abstractmethod
    def _read(self) -> None:
        """Connect, set `_ready`, and take arrivals until `_stop` is set."""

    def busy_share(self) -> float:
        """Return the share of the time between the first and the last arrival that went into reading."""
        span_s = self.arrivals.last_at_s - self.arrivals.first_at_s
        return self.busy_s / span_s if span_s > 0 else 0.0

    def _take(self, decode: Callable[[], Sequence[Arrival]]) -> None:
        """Decode what has just arrived, and enter it."""
        arrived_at_s = time.time()
        events = decode()
        ours = [event for event in events if event.loadtest_run == self._run_id]
        sequence = np.array([event.loadtest_sequence for event in ours], np.int64)
        self.arrivals.take(sequence, np.array([event.loadtest_due_at for event in ours]), arrived_at_s)
        self.busy_s += time.time() - arrived_at_s


class ScoredTopicReader(Reader):
    """Follows all partitions of the scored topic from their present end, as a read_committed reader sees them."""

    def __init__(self, topic: str, run: str, arrivals: Arrivals) -> None:
        super().__init__("scored topic", run, arrivals)
        self._topic = topic

    def _read(self) -> None:
        consumer = tail_consumer(KafkaSettings(), "loadtest")
        try:
            consumer.assign(self._ends(consumer))
            self._ready.set()
            while not self._stop.is_set():
                messages = consumer.consume(RECORDS_AT_ONCE, POLL_S)
                for error in filter(None, (message.error() for message in messages)):
                    if not is_unreachable(error):
                        raise FleetError(error.str())
                self._take(partial(_decode_messages, messages))
        finally:
            consumer.close()

    def _ends(self, consumer: Consumer) -> list[TopicPartition]:
        """Return the present end of every partition; a topic made this moment may have no leader yet."""
        deadline = time.monotonic() + READY_TIMEOUT_S / 2
        while True:
            try:
                return self._ask_for_ends(consumer)
            except KafkaException as exception:
                if not is_unreachable(exception.args[0]) or time.monotonic() > deadline or self._stop.wait(POLL_S):
                    raise KafkaUnavailableError(
                        f"Kafka at {bootstrap_servers()} does not answer ({exception.args[0].str()})"
                    ) from None

    def _ask_for_ends(self, consumer: Consumer) -> list[TopicPartition]:
        found = consumer.list_topics(self._topic, timeout=5.0).topics[self._topic]
        if found.error is not None:
            raise FleetError(f"there is no topic {self._topic}; start the application, which creates it")
        parts = [TopicPartition(self._topic, number) for number in found.partitions]
        ends = [consumer.get_watermark_offsets(part, timeout=5.0)[1] for part in parts]
        return [TopicPartition(part.topic, part.partition, end) for part, end in zip(parts, ends, strict=True)]


class WebSocketReader(Reader):
    """Follows the live feed as a screen does; use an address with ?batch=true."""

    def __init__(self, url: str, run: str, arrivals: Arrivals) -> None:
        super().__init__("WebSocket", run, arrivals)
        self._url = url

    def _read(self) -> None:
        try:
            from websockets.exceptions import ConnectionClosed  # a development requirement: absent in a container
            from websockets.sync.client import connect
        except ImportError:
            raise FleetError("the package websockets is not installed; install requirements/dev.txt") from None
        with connect(self._url, compression=None, max_size=LARGEST_FRAME_BYTES) as socket:
            self._ready.set()
            while not self._stop.is_set():
                try:
                    self._take(partial(_decode_frame, socket.recv(POLL_S, decode=False)))
                except TimeoutError:
                    continue
                except ConnectionClosed as closed:
                    raise FleetError(f"it was closed by the other side ({closed})") from None


def _decode_messages(messages: Sequence[Message]) -> list[Arrival]:
    return [_decode_one(message.value()) for message in messages if not message.error()]


def _decode_frame(frame: bytes | str) -> list[Arrival]:
    """Decode one frame: an array of events, or a single one."""
    text = frame.encode() if isinstance(frame, str) else frame
    return _decode_many(text) if text.startswith(b"[") else [_decode_one(text)]
