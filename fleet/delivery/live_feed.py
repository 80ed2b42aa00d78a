"""What one connected client still has to be sent: a filter and a bounded backlog, without sockets or clocks.

On the event's way this is the last stop before the wire: `fleet.delivery.fleet_view` lets new events through once,
`deployments.web.sockets` offers them to every client's `LiveFeed` as one shared `LiveBlock` and sends what
the feeds give out. Whatever is the same for many clients (a decoded text, a frame) is built once per block.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from fleet.events.fields import DEFAULT_TENANT

# Common clients refuse messages over 1 MiB unless told otherwise; a frame stays below.
MAX_FRAME_BYTES: Final = 1_000_000
_BYTES_PER_SEPARATOR: Final = 2  # a comma between two events, and the brackets around all


class Selection(NamedTuple):
    """Which events a client wants (those of one vehicle, anomalies alone, both, or all), and whose it may see."""

    vehicle_id: str | None = None
    anomalies: bool = False
    tenant: str | None = None
    """None stands for every tenant."""

    @property
    def is_everything(self) -> bool:
        """Say whether nothing is filtered out."""
        return self == Selection()


class LiveBlock:
    """N events in the order of their arrival, shared by every client; immutable.

    `bodies[i]` is the scored JSON object of an event as it came from Kafka. Without `tenants`, all are the default
    tenant's.
    """

    def __init__(
        self,
        vehicle_ids: Sequence[str],
        anomalous: Sequence[bool],
        bodies: Sequence[bytes],
        tenants: Sequence[str] | None = None,
    ) -> None:
        self.vehicle_ids, self.anomalous, self.bodies = vehicle_ids, anomalous, bodies
        self.tenants = [DEFAULT_TENANT] * len(bodies) if tenants is None else tenants
        self._selected: dict[Selection, LiveBlock] = {}

    def __len__(self) -> int:
        return len(self.bodies)

    @cached_property
    def texts(self) -> list[str]:
        """One text frame per event."""
        return [_text(body) for body in self.bodies]

    @cached_property
    def frame(self) -> str:
        """All events as one JSON array."""
        return json_array(self.bodies)

    @cached_property
    def size_bytes(self) -> int:
        """How long `frame` is."""
        return sum(map(len, self.bodies)) + len(self.bodies) + 1

    def select(self, selection: Selection) -> "LiveBlock":
        """Return the events that `selection` lets through, in order; computed once per selection."""
        if selection.tenant is not None and selection.tenant == self.only_tenant:
            selection = Selection(selection.vehicle_id, selection.anomalies)
        if selection.is_everything:
            return self
        block = self._selected.get(selection)
        if block is None:
            block = self._selected[selection] = self._rows(self._wanted(selection))
        return block

    @cached_property
    def only_tenant(self) -> str | None:
        """Whose all events are; None where they are several tenants'."""
        tenants = set(self.tenants)
        return tenants.pop() if len(tenants) == 1 else None

    def pieces(self, most_bytes: int = MAX_FRAME_BYTES) -> Iterator["LiveBlock"]:
        """Cut the block so that no piece's frame exceeds `most_bytes`, unless one event alone does."""
        if self.size_bytes <= most_bytes:
            yield self
            return
        first, size_bytes = 0, _BYTES_PER_SEPARATOR
        for row, body in enumerate(self.bodies):
            if row > first and size_bytes + len(body) > most_bytes:
                yield self._rows(range(first, row))
                first, size_bytes = row, _BYTES_PER_SEPARATOR
            size_bytes += len(body) + 1
        yield self._rows(range(first, len(self)))

    def _wanted(self, selection: Selection) -> Sequence[int]:
        rows = range(len(self)) if selection.vehicle_id is None else self._rows_by_vehicle.get(selection.vehicle_id, ())
        if selection.tenant is not None:
            rows = [row for row in rows if self.tenants[row] == selection.tenant]
        return [row for row in rows if self.anomalous[row]] if selection.anomalies else rows

    @cached_property
    def _rows_by_vehicle(self) -> dict[str, list[int]]:
        # One pass for all clients that watch a vehicle, however many they are.
        rows: dict[str, list[int]] = {}
        for row, vehicle_id in enumerate(self.vehicle_ids):
            rows.setdefault(vehicle_id, []).append(row)
        return rows

    def _rows(self, rows: Sequence[int]) -> "LiveBlock":
        return LiveBlock(
            [self.vehicle_ids[row] for row in rows],
            [self.anomalous[row] for row in rows],
            [self.bodies[row] for row in rows],
            [self.tenants[row] for row in rows],
        )


def joined(blocks: Sequence[LiveBlock]) -> LiveBlock:
    """Lay blocks end to end; a single one is returned as it is."""
    if len(blocks) == 1:
        return blocks[0]
    return LiveBlock(
        [vehicle_id for block in blocks for vehicle_id in block.vehicle_ids],
        [anomalous for block in blocks for anomalous in block.anomalous],
        [body for block in blocks for body in block.bodies],
        [tenant for block in blocks for tenant in block.tenants],
    )


def json_array(bodies: Sequence[bytes]) -> str:
    """Lay JSON texts out as one array."""
    return _text(b"[" + b",".join(bodies) + b"]")


class LiveFeed:
    """One client's backlog: at most `backlog_events` events, of which the oldest are dropped and counted."""

    def __init__(self, selection: Selection, backlog_events: int) -> None:
        if backlog_events < 1:
            raise ValueError(f"backlog_events must be at least 1, but it is {backlog_events}.")
        self.selection = selection
        self.backlog_events = backlog_events
        self.dropped = 0
        self.taken = 0
        self._blocks: deque[LiveBlock] = deque()
        self._head = 0  # rows of the first block that are gone
        self._waiting = 0

    def __len__(self) -> int:
        """Count the events that wait."""
        return self._waiting

    def offer(self, block: LiveBlock) -> bool:
        """Add what the client wants of a block; drop the oldest beyond the bound. Say whether anything waits."""
        wanted = block.select(self.selection)
        if wanted:
            self._blocks.append(wanted)
            self._waiting += len(wanted)
            self._drop(self._waiting - self.backlog_events)
        return self._waiting > 0

    def take_texts(self, most_events: int) -> list[str]:
        """Give out the oldest events, one text each, at most `most_events` of them and of one block."""
        if not self._blocks:
            return []
        first, block = self._head, self._blocks[0]
        texts = block.texts[first : first + most_events]
        self._remove(len(texts))
        self.taken += len(texts)
        return texts

    def take_frame(self, most_bytes: int = MAX_FRAME_BYTES) -> str | None:
        """Give out the oldest events as one JSON array of at most `most_bytes` (or of one event); None = none.

        A client that keeps up is given the frame that all others of its kind are given.
        """
        if not self._blocks:
            return None
        if self._head == 0 and self._next_block_is_a_frame(most_bytes):
            frame, count = self._blocks[0].frame, len(self._blocks[0])
        else:
            bodies = self._oldest(most_bytes)
            frame, count = json_array(bodies), len(bodies)
        self._remove(count)
        self.taken += count
        return frame

    def _next_block_is_a_frame(self, most_bytes: int) -> bool:
        first_bytes = self._blocks[0].size_bytes
        if first_bytes > most_bytes:
            return False
        return len(self._blocks) == 1 or first_bytes + self._blocks[1].size_bytes > most_bytes

    def _oldest(self, most_bytes: int) -> list[bytes]:
        bodies: list[bytes] = []
        size_bytes, first = _BYTES_PER_SEPARATOR, self._head
        for block in self._blocks:
            for row in range(first, len(block)):
                size_bytes += len(block.bodies[row]) + 1
                if bodies and size_bytes > most_bytes:
                    return bodies
                bodies.append(block.bodies[row])
            first = 0
        return bodies

    def _drop(self, count: int) -> None:
        if count > 0:
            self._remove(count)
            self.dropped += count

    def _remove(self, count: int) -> None:
        self._waiting -= count
        self._head += count
        while self._blocks and self._head >= len(self._blocks[0]):
            self._head -= len(self._blocks.popleft())


def _text(body: bytes) -> str:
    # What the ingest pool publishes is valid UTF-8; one foreign record must not end every client's feed.
    return body.decode("utf-8", "replace")
