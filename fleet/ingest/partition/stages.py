"""What becomes of a run of records: a read run, a scored run, a finished run.

Each is whole when it is made and never changes. `fleet.ingest.turn` makes one from the other;
`fleet.ingest.partition.pipeline` keeps them in the order of their partition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fleet.detection.detector import EnteredBlock
from fleet.detection.model.bundle import ModelBundle
from fleet.events.telemetry import Reject, TelemetryBlock
from fleet.kafka import Message
from fleet.records.scored import Verdicts
from fleet.records.sender import SenderReport

RecordT = TypeVar("RecordT")


class RunOffsets(NamedTuple):
    """Consecutive records of one partition: where they stand in its log, and how many they are."""

    first: int
    following: int
    """The offset after the last record. Offsets may have holes, so this says nothing of how many there are."""
    records: int


class KeyCounts(NamedTuple):
    """Events of a run that nothing keeps in the order of their vehicle: without a key, and with another one."""

    keyless: int
    foreign: int


ALL_KEYED = KeyCounts(0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class ReadRun:
    """What one turn read of one partition: decoded, and in the windows."""

    offsets: RunOffsets
    messages: Sequence[Message]
    """As they were polled, rejected ones included."""
    telemetry: TelemetryBlock
    entered: EnteredBlock
    """The N events among the messages."""
    rejects: Sequence[Reject]
    """By index into the messages."""
    bundle: ModelBundle
    """The model that scores it, whatever serves by then."""
    ingested_at_s: float
    """Unix seconds."""
    senders: Sequence[SenderReport]
    """What has been learnt of some senders, to be published with it."""
    windows: Mapping[str, Any] | None
    """A snapshot of the partition's windows after this run, where one is to be written."""

    @property
    def events(self) -> Sequence[Message]:
        """The N messages that are events, in the order of the block."""
        return events_among(self.messages, self.telemetry)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRun:
    """A read run with the verdicts on its N events."""

    read: ReadRun
    verdicts: Verdicts
    failed: npt.NDArray[np.bool_]
    """bool[N]: the scorer cannot score these; they become dead letters."""


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun(Generic[RecordT]):
    """What a scored run brings about. Raises ValueError unless it accounts for each record that was read, once."""

    offsets: RunOffsets
    records: Sequence[RecordT]
    """To be published, in log order."""
    scored: int
    dead_lettered: int
    finished_at_s: float
    """Unix seconds."""
    keys: KeyCounts = ALL_KEYED

    def __post_init__(self) -> None:
        if self.scored + self.dead_lettered != self.offsets.records:
            raise ValueError(
                f"{self.offsets.records} records were read, but {self.scored} scored and {self.dead_lettered} "
                "dead-lettered"
            )


def events_among(messages: Sequence[Message], telemetry: TelemetryBlock) -> Sequence[Message]:
    """Return the messages that were decoded into a block, in its order; mostly these are all."""
    return messages if len(telemetry) == len(messages) else [messages[i] for i in telemetry.index.tolist()]
