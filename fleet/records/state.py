"""What is remembered of a partition's vehicles <-> records of the `vehicle-state` topic.

On the event's way this stands beside the commit: now and then `fleet.ingest.worker` publishes the partition's windows
and open episodes in the same transaction as results, and whoever owns the partition next begins with them. A state
names the offset that it has come to (every event before it is in), so that its reader knows what to replay.

Columns and not vehicles are written: one compressed block of arrays, cut into records that a broker takes. Their keys
name partition and chunk, so that compaction keeps the latest state whole.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

CHUNKS_HEADER: Final = "chunks"
# Raise it when the meaning of a column of the windows or of the episodes' snapshot changes.
FORMAT: Final = 3
# Level 1: a third of the bytes for a fifth of the time of the default level, and numbers that hardly repeat.
_COMPRESSION: Final = 1


class StateHeaders(msgspec.Struct, frozen=True):
    """The headers of each chunk of a state."""

    source: Annotated[str, Meta(description="`partition:offset` of the last telemetry record that is in it")]
    chunks: Annotated[int, Meta(description="how many chunks the state has")]


class StateError(ValueError):
    """Records of the state topic that cannot be continued from, with the reason."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Windows and episodes of one partition, with every event before `next_offset` in them."""

    next_offset: int
    windows: Mapping[str, Any] | None
    """As `VehicleWindows.snapshot` returns it; None where it is of other features: windows begin anew."""
    episodes: bytes
    """As `EpisodeTracker.snapshot` returns it."""
    scored_from: int = 0
    """An offset of the scored topic's partition: no result of `next_offset` or later stands before it."""
    thresholds: bytes = b""
    """As `VehicleThresholds.snapshot` returns it; empty where none were remembered."""


class _Array(msgspec.Struct, array_like=True):
    shape: tuple[int, ...]
    type: Literal["<f8", "<f4", "|u1"]
    values: bytes

    @classmethod
    def of(cls, column: Any) -> "_Array":
        return cls(column.shape, column.dtype.str, np.ascontiguousarray(column).tobytes())

    def column(self) -> Any:
        return np.frombuffer(self.values, self.type).reshape(self.shape).copy()


class _Head(msgspec.Struct, kw_only=True):
    """What every format has: episodes go on whatever became of the windows."""

    format: int
    plan: str
    next_offset: int
    scored_from: int
    episodes: bytes
    thresholds: bytes = b""


class _Written(_Head, kw_only=True):
    vehicle_ids: list[str]
    swept_at_s: float
    arrays: dict[str, _Array]


def encode_state(state: PartitionState, plan_name: str, chunk_bytes: int) -> list[bytes]:
    """Encode a state as one or more chunks of at most `chunk_bytes`."""
    windows = dict(state.windows or {})
    written = _Written(
        format=FORMAT,
        plan=plan_name,
        next_offset=state.next_offset,
        scored_from=state.scored_from,
        episodes=state.episodes,
        thresholds=state.thresholds,
        vehicle_ids=windows.pop("vehicle_ids"),
        swept_at_s=windows.pop("swept_at_s"),
        arrays={name: _Array.of(column) for name, column in windows.items()},
    )
    whole = zlib.compress(msgspec.msgpack.encode(written), _COMPRESSION)
    return [whole[start : start + chunk_bytes] for start in range(0, len(whole), chunk_bytes)]


def decode_state(chunks: Sequence[bytes], plan_name: str, most_vehicles: int) -> PartitionState:
    """Put the chunks of a state together.

    Of one that has another format or other features, the episodes are left. Raises StateError for what is no state, or
    is too large.
    """
    try:
        whole = zlib.decompress(b"".join(chunks))
        head = msgspec.msgpack.decode(whole, type=_Head)
        if (head.format, head.plan) != (FORMAT, plan_name):
            return PartitionState(head.next_offset, None, head.episodes, head.scored_from, head.thresholds)
        written = msgspec.msgpack.decode(whole, type=_Written)
        arrays = {name: array.column() for name, array in written.arrays.items()}
    except (zlib.error, ValueError) as error:
        raise StateError(f"it cannot be read: {error}") from None
    if len(written.vehicle_ids) > most_vehicles:
        raise StateError(f"it holds {len(written.vehicle_ids)} vehicles, but ingest.max_vehicles is {most_vehicles}")
    windows = {**arrays, "vehicle_ids": written.vehicle_ids, "swept_at_s": written.swept_at_s}
    return PartitionState(written.next_offset, windows, written.episodes, written.scored_from, written.thresholds)
