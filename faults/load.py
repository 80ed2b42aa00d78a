"""The load under which every fault happens: simulated telemetry at an open-loop rate, numbered, and what was accepted.

An event is accepted when Kafka has acknowledged it; its place in the log and its number are kept for the books.

Neighbours: `simulator.publisher` paces and sends, `books` compares, `trial` starts and stops it.
"""

import threading
import time
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import msgspec

from fleet.errors import LocalServiceError
from fleet.events.json_object import BYTE_ORDER_MARK
from fleet.kafka import KafkaError, Message
from simulator.publisher import Columns, FleetPlan, FleetPublisher, VehicleData
from simulator.sender import Sender
from simulator.vehicles import FAULTS

VEHICLES = 1_000
FIRST_VEHICLE = 2_000_000  # beside a simulator and a load test, not on top of their vehicles
QUEUED_KIB = 2_000_000
QUEUED_RECORDS = 1_000_000  # the load goes on while Kafka is away; nothing that was due is skipped
FLUSH_TIMEOUT_S = 60.0
METADATA_INTERVAL_MS = 2_000  # partitions that are added get events soon
# Messages lost before Kafka sees them are for the detector to find, not for the books; clocks have a case of their own.
_FAULTS = tuple(fault for fault in FAULTS if fault not in ("clock_skew", "message_loss"))


class NumberedEvent(VehicleData, gc=False):
    """Telemetry with an unknown field, which the system must carry through; it rises with every event of a vehicle."""

    sequence: int


class Entry(NamedTuple):
    """One telemetry record: its place in the log and what it says, by `content_of`."""

    partition: int
    offset: int
    content: int


class _Sequence(msgspec.Struct, gc=False):
    sequence: int


_NULL = -1 - 2**32  # below every checksum
_encode = msgspec.json.Encoder().encode
_decode_sequence = msgspec.json.Decoder(_Sequence).decode


def content_of(value: bytes | None) -> int:
    """Return the event's number, or, for what is no event of ours, a negative checksum of the bytes."""
    if value is None:
        return _NULL
    try:
        return _decode_sequence(value.removeprefix(BYTE_ORDER_MARK)).sequence
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return -1 - zlib.crc32(value)


class Content:
    """What is sent; a case that sends something else overrides one of the two steps."""

    def alter(self, columns: Columns) -> Columns:
        """Change the vehicles' data: columns in the order of the event's fields, before they are encoded."""
        return columns

    def mix(self, values: list[bytes]) -> Sequence[bytes | None]:
        """Replace some of the encoded events; as many must come back."""
        return values


class Load:
    """Sends `rate` events a second from entering the context until leaving it; its thread stands in this process."""

    def __init__(
        self, topic: str, rate: float, seed: int, content: Content | None = None, first_vehicle: int = FIRST_VEHICLE
    ) -> None:
        self.accepted: list[Entry] = []
        self.refused: dict[str, int] = {}
        self.content = content or Content()
        self._next_number = 0
        self._plan = FleetPlan(VEHICLES, topic, first_vehicle, seed, rate / VEHICLES, faults=_FAULTS, is_lossless=True)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="faults-load", daemon=True)
        self._began_s = self.seconds = self.stopped_s = 0.0

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait until Kafka has answered for everything. Raises LocalServiceError if it broke."""
        if not self._stop.is_set():
            self._stop.set()
            self.seconds = time.monotonic() - self._began_s
        self._thread.join(2 * FLUSH_TIMEOUT_S)
        self.stopped_s = time.monotonic()
        if self._failure is not None:
            raise LocalServiceError(f"The load broke off: {type(self._failure).__name__}: {self._failure}.")

    @property
    def sent(self) -> int:
        """How many events were handed to the client so far."""
        return self._next_number

    def _run(self) -> None:
        overrides: dict[str, Any] = {
            "delivery.report.only.error": False,
            "on_delivery": self._delivered,
            "queue.buffering.max.messages": QUEUED_RECORDS,
            "queue.buffering.max.kbytes": QUEUED_KIB,
            "topic.metadata.refresh.interval.ms": METADATA_INTERVAL_MS,
        }
        sender = Sender(self._plan.topic, "faults-load", self._stop, **overrides)
        try:
            FleetPublisher(self._plan, sender, self._stop, self._values).run()
            sender.flush(FLUSH_TIMEOUT_S)
        except Exception as failure:  # the thread's owner raises it where it is seen
            self._failure = failure

    def _values(self, columns: Columns) -> Sequence[bytes | None]:
        columns = self.content.alter(columns)
        numbers = range(self._next_number, self._next_number + len(columns[0]))
        self._next_number = numbers.stop
        return self.content.mix([_encode(event) for event in map(NumberedEvent, *columns, numbers)])

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.accepted.append(Entry(message.partition(), message.offset(), content_of(message.value())))
        else:
            self.refused[error.str()] = self.refused.get(error.str(), 0) + 1
