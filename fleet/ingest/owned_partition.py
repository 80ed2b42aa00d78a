"""What a member of the ingest pool keeps of a partition for as long as it owns it.

`fleet.ingest.takeover` opens one, `fleet.ingest.worker` feeds and commits it. All of it belongs to one assignment: a
partition that leaves and comes back is opened anew.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fleet.detection.episodes import EpisodeTracker
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Verdicts
from fleet.detection.windows import VehicleWindows, WindowedBlock
from fleet.events.telemetry import Reject, TelemetryBlock
from fleet.ingest.pipeline import PartitionPipeline, Work
from fleet.kafka import Message, Record
from fleet.records.state import PartitionState


@dataclass(slots=True, eq=False)
class OwnedPartition:
    """One partition: its order, its vehicles and their episodes."""

    partition: int
    pipeline: PartitionPipeline[Record]
    windows: VehicleWindows
    resume_at: int
    """What stands before it was scored by an earlier owner; it is read again for the windows alone."""
    read_from: int
    """Where the windows stand: at `resume_at`, or before it."""
    state: PartitionState | None = None
    """What the earlier owner remembered, until the episodes are restored from it."""
    episodes: EpisodeTracker | None = None
    """None until they are restored."""
    bytes_since_state: int = 0
    state_bytes_per_vehicle: float = 0.0
    """As the last written state had; 0 before there was one."""
    has_state: bool = False
    """One is written, or about to be."""
    shares: "deque[Share]" = field(default_factory=deque)
    """Read and not finished, in log order."""
    closing: bool = False
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    """The restoring of episodes, the encoding of states."""

    def window(self, block: TelemetryBlock, messages: list[Message]) -> tuple[WindowedBlock, npt.NDArray[np.float64]]:
        """Let decoded messages enter the windows; returns their features, and when each event was appended."""
        events = events_among(messages, block)
        appended_at_s = np.array([message.timestamp()[1] for message in events], dtype=np.float64) / 1000
        self.bytes_since_state += sum(map(len, messages))
        return self.windows.push(block.vehicle_ids, block.timestamp_s, block.signals, appended_at_s), appended_at_s

    def windows_to_write(self, share_of_input: float) -> Mapping[str, Any] | None:
        """Return a snapshot of the windows if states stay within their share of the bytes that were read, else None.

        The first one always does: it is small, and whoever comes next replays what came after it.
        """
        per_vehicle = self.state_bytes_per_vehicle or self.windows.bytes_per_vehicle
        if self.has_state and self.bytes_since_state * share_of_input < per_vehicle * max(len(self.windows), 1):
            return None
        self.has_state, self.bytes_since_state = True, 0
        return self.windows.snapshot()


@dataclass(slots=True, eq=False)
class Share:
    """The part of a turn that came from one partition."""

    owned: OwnedPartition
    bundle: ModelBundle
    """The model that scores it, whatever serves by then."""
    work: Work[Record]
    messages: list[Message]
    block: TelemetryBlock
    windowed: WindowedBlock
    rejects: list[Reject]
    appended_at_s: npt.NDArray[np.float64]
    ingested_at_s: float
    remembered: Mapping[str, Any] | None = None
    """The windows after this share, if they are to be written."""
    verdicts: Verdicts | None = None
    """Once it is scored."""
    failed: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def events(self) -> list[Message]:
        """The messages that are events, in the order of the block."""
        return events_among(self.messages, self.block)


def events_among(messages: list[Message], block: TelemetryBlock) -> list[Message]:
    """Return the messages that were decoded into a block, in its order; mostly these are all."""
    return messages if len(block) == len(messages) else [messages[i] for i in block.index.tolist()]
