"""A run of scored records with their places in the log, shared by every subscription; immutable.

Whatever is the same for several subscriptions (the rows of a selection, their text) is made once and kept here until
the block is no longer the newest that anybody is likely to be sent.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import compress
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.delivery.feed.cursor import Positions
from fleet.delivery.feed.delta import members_of
from fleet.delivery.feed.selection import DEFAULT_TENANT, EpisodeItem, Mask, Selection
from fleet.events import fields
from fleet.events.fields import wire_name

# A frame of several blocks stays below what common clients accept.
MAX_BLOCK_BYTES: Final = 262_144
_ALWAYS_SENT: Final = ("vehicleId", "source")
_encode = msgspec.json.Encoder().encode


class FeedEvent(msgspec.Struct, gc=False, rename=wire_name):
    """What subscriptions go by; everything else of a scored record stays in its bytes."""

    vehicle_id: fields.VehicleId
    is_anomaly: fields.IsAnomaly
    severity: fields.Severity
    source: fields.SourceText
    anomaly_type: fields.Cause = None
    tenant_id: fields.TenantId = None
    latitude: float | str | None = None
    longitude: float | str | None = None


_decode: Callable[[bytes], FeedEvent] = msgspec.json.Decoder(FeedEvent).decode


class Place(NamedTuple):
    """Where a record stands in the scored topic."""

    partition: int
    offset: int


class Row(msgspec.Struct, gc=False, frozen=True):
    """One scored record. Many are held: the garbage collector need not look at them."""

    partition: int
    offset: int
    event: FeedEvent
    body: bytes


class Sent(NamedTuple):
    """An event as it is sent: whose it is, and its text."""

    vehicle_id: str
    body: bytes


class FeedBlock:
    """N scored records in the order of their arrival, and the episodes that came with them.

    `end` is the next offset of every partition after the block.
    """

    def __init__(
        self, rows: Sequence[Row], end: Positions, at_s: float = 0.0, episodes: Sequence[EpisodeItem] = ()
    ) -> None:
        self.rows, self.end, self.at_s, self.episodes = rows, end, at_s, episodes
        self.vehicle_ids = [row.event.vehicle_id for row in rows]
        self.events_before = 0  # in the live log, since its start
        self._chosen: dict[Selection, Chosen] = {}
        self.token: str | None = None  # the cursor after the block, once somebody has written it

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, selection: Selection) -> "Chosen":
        """Return what a selection lets through; found once for equal selections."""
        chosen = self._chosen.get(selection)
        if chosen is None:
            chosen = self._chosen[selection] = Chosen(self, selection)
        return chosen

    def forget_selections(self) -> None:
        """Let go of what was kept for subscriptions that keep up."""
        self._chosen.clear()

    def since(self, positions: Positions) -> "FeedBlock":
        """Return the block without the records before these positions."""
        later = [row for row in self.rows if row.offset >= positions.get(row.partition, 0)]
        return self if len(later) == len(self) else FeedBlock(later, self.end, self.at_s, self.episodes)

    @cached_property
    def anomalous(self) -> Mask:
        """bool[N]."""
        return np.fromiter((row.event.is_anomaly for row in self.rows), np.bool_, len(self))

    @cached_property
    def severity(self) -> NDArray[np.float64]:
        """float64[N] in 0..1."""
        return np.fromiter((row.event.severity for row in self.rows), np.float64, len(self))

    @cached_property
    def latitude(self) -> NDArray[np.float64]:
        """float64[N] in degrees; NaN where it is unknown."""
        return _numbers(row.event.latitude for row in self.rows)

    @cached_property
    def longitude(self) -> NDArray[np.float64]:
        """float64[N] in degrees; NaN where it is unknown."""
        return _numbers(row.event.longitude for row in self.rows)

    def rows_where(self, name: Literal["tenant", "vehicle", "cause"], values: Collection[str]) -> Mask:
        """Say of each row (bool[N]) whether its tenant, its vehicle or its cause is one of these."""
        mask: Mask = np.zeros(len(self), np.bool_)
        places = self._places[name]
        for value in values:
            mask[places.get(value, [])] = True
        return mask

    @cached_property
    def _places(self) -> dict[str, dict[str | None, list[int]]]:
        # One pass for all subscriptions, however many vehicles each of them names.
        return {
            "tenant": _rows_by(row.event.tenant_id or DEFAULT_TENANT for row in self.rows),
            "vehicle": _rows_by(self.vehicle_ids),
            "cause": _rows_by(row.event.anomaly_type for row in self.rows),
        }

    @cached_property
    def last_row(self) -> dict[str, int]:
        """The last row of each vehicle."""
        return {vehicle_id: row for row, vehicle_id in enumerate(self.vehicle_ids)}


class Chosen:
    """What a selection lets through of a block: M vehicles and their events as they are sent."""

    def __init__(self, block: FeedBlock, selection: Selection) -> None:
        self._block, self._selection = block, selection
        self._rows = selection.rows(block)
        everything = len(self._rows) == len(block)
        self.vehicle_ids = block.vehicle_ids if everything else [block.vehicle_ids[row] for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def bodies(self) -> list[bytes]:
        """The events, each as its JSON text."""
        bodies = [self._block.rows[row].body for row in self._rows]
        wanted = self._selection.fields
        return bodies if wanted is None else [projected(body, wanted) for body in bodies]

    @cached_property
    def text(self) -> str:
        """The events with commas between them."""
        return b",".join(self.bodies).decode("utf-8", "replace")

    @cached_property
    def conflated(self) -> "Conflated":
        """The same with one event per vehicle, but for anomalies."""
        anomalous = [self._block.rows[row].event.is_anomaly for row in self._rows]
        events = list(map(Sent, self.vehicle_ids, self.bodies))
        anomalies = list(compress(events, anomalous))
        latest: dict[str, bytes] = {}
        for (vehicle_id, body), is_anomaly in zip(events, anomalous, strict=True):
            if is_anomaly:
                latest.pop(vehicle_id, None)
            else:
                latest[vehicle_id] = body
        return Conflated(anomalies, latest)

    @cached_property
    def entered(self) -> frozenset[str]:
        """The vehicles whose newest event of the block is sent."""
        return frozenset(self.vehicle_ids) - self.left

    @cached_property
    def left(self) -> frozenset[str]:
        """The vehicles whose newest event of the block is not sent."""
        sent = set(self._rows)
        return frozenset(vehicle_id for vehicle_id, row in self._block.last_row.items() if row not in sent)

    @cached_property
    def passed_through(self) -> frozenset[str]:
        """The vehicles that entered in the block and left in it again."""
        return self.left & frozenset(self.vehicle_ids)


class Conflated(NamedTuple):
    """All anomalies, and of each vehicle the newest event after its last anomaly."""

    anomalies: list[Sent]
    latest: dict[str, bytes]


def read_blocks(
    records: Sequence[tuple[Place, bytes | None]],
    start: Positions,
    at_s: float = 0.0,
    episodes: Sequence[EpisodeItem] = (),
) -> Iterator[FeedBlock]:
    """Read records of the scored topic that follow `start`, in blocks of at most `MAX_BLOCK_BYTES` (or one record).

    What is no scored record is passed over. The episodes come with the last block; there is at least one.
    """
    rows: list[Row] = []
    end, size_bytes = dict(start), 0
    for place, value in records:
        body = value or b""
        if rows and size_bytes + len(body) > MAX_BLOCK_BYTES:
            yield FeedBlock(rows, dict(end), at_s)
            rows, size_bytes = [], 0
        end[place.partition] = place.offset + 1
        try:
            rows.append(Row(place.partition, place.offset, _decode(body), body))
        except (ValueError, RecursionError):
            continue
        size_bytes += len(body) + 1
    yield FeedBlock(rows, end, at_s, episodes)


def projected(body: bytes, wanted: Sequence[str]) -> bytes:
    """Return of an event the wanted fields that it has, after those that every event is told apart by."""
    members = members_of(body)
    return _encode({name: members[name] for name in (*_ALWAYS_SENT, *wanted) if name in members})


def _rows_by(values: Iterable[str | None]) -> dict[str | None, list[int]]:
    rows: dict[str | None, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    return rows


def _numbers(values: Iterable[float | str | None]) -> NDArray[np.float64]:
    return np.array([_number(value) for value in values], np.float64)


def _number(value: float | str | None) -> float:
    try:
        return float("nan" if value is None else value)
    except ValueError:  # a word for an unknown position
        return float("nan")
