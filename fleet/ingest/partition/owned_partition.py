"""What a member of the ingest pool keeps of a partition for as long as it owns it.

`fleet.ingest.takeover` opens one, `fleet.ingest.turn` feeds it, `fleet.ingest.commit` commits it. All of it belongs to
one assignment: a partition that leaves and comes back is opened anew.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fleet.detection.detector import Detector, EnteredBlock, EventBlock
from fleet.detection.senders import SenderReports
from fleet.events.telemetry import Reject, TelemetryBlock
from fleet.ingest.partition.pipeline import PartitionPipeline
from fleet.ingest.partition.stages import ScoredRun, events_among
from fleet.kafka import Message, Record
from fleet.records.sender import SenderReport
from fleet.records.state import PartitionState


@dataclass(slots=True, eq=False)
class OwnedPartition:
    """One partition: its order, its vehicles' histories and their episodes."""

    partition: int
    pipeline: PartitionPipeline[ScoredRun, Record]
    detector: Detector
    senders: SenderReports
    resume_at: int
    """What stands before it was scored by an earlier owner; it is read again for the windows alone."""
    read_from: int
    """Where the windows stand: at `resume_at`, or before it."""
    state: PartitionState | None = None
    """What the earlier owner remembered, until the episodes are restored from it; nothing is concluded before."""
    has_state: bool = False
    """One is written, or about to be."""
    state_bytes_per_vehicle: float = 0.0
    """As the last written state had; 0 before there was one."""
    bytes_since_state: int = 0
    closing: bool = False
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    """The restoring of episodes, the encoding of states."""

    def enter(self, telemetry: TelemetryBlock, messages: Sequence[Message]) -> EnteredBlock:
        """Let the events that were decoded from messages enter the windows."""
        events = events_among(messages, telemetry)
        offsets = np.array([message.offset() for message in events], dtype=np.int64)
        appended_at_s = np.array([message.timestamp()[1] for message in events], dtype=np.float64) / 1000
        self.bytes_since_state += sum(map(len, messages))
        return self.detector.enter(EventBlock.decoded(telemetry, self.partition, offsets, appended_at_s))

    def reports(
        self, entered: EnteredBlock, messages: Sequence[Message], rejects: Sequence[Reject]
    ) -> list[SenderReport]:
        """Return what is to be said of senders after these messages, and the events among them, have been read."""
        self.senders.heard(entered.events.vehicle_ids, entered.events.tenant_ids)
        for reject in rejects:
            self.senders.rejected(messages[reject.index].key())
        return self.senders.due(messages[-1].timestamp()[1] / 1000)

    def windows_to_write(self, share_of_input: float) -> Mapping[str, Any] | None:
        """Return a snapshot of the windows if states stay within their share of the bytes that were read, else None.

        The first one always does: it is small, and whoever comes next replays what came after it.
        """
        windows = self.detector.windows
        per_vehicle = self.state_bytes_per_vehicle or windows.bytes_per_vehicle
        if self.has_state and self.bytes_since_state * share_of_input < per_vehicle * max(len(windows), 1):
            return None
        self.has_state, self.bytes_since_state = True, 0
        return windows.snapshot()


class OwnedPartitions(dict[int, OwnedPartition]):
    """The partitions that a member owns now, by number. The loop alone changes it; any thread may look things up."""

    def holds(self, owned: OwnedPartition) -> bool:
        """Whether it is owned under this very assignment: a partition that came back was opened anew."""
        return self.get(owned.partition) is owned

    @property
    def uncommitted_records(self) -> int:
        """Count what was read and is not known to be committed."""
        return sum(owned.pipeline.uncommitted_records for owned in self.values())
