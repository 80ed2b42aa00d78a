"""Telemetry records -> scored records, without Kafka: decode and enter before the scorer; conclude and encode after.

Neighbours: `fleet.detection.detector` is what judges, one for each partition; `floor` scores the records of several
partitions in one call; the peers call `LocalRecordScoring`, or `RecordScoring` around a call to somewhere else.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fleet.detection.attribution import score
from fleet.detection.detector import Conclusion, Detector, EnteredBlock, EventBlock
from fleet.detection.model.bundle import ModelBundle, read_bundle
from fleet.detection.model.network import Network
from fleet.detection.verdicts import Scores
from fleet.detection.windows import warm_up
from fleet.events.telemetry import TelemetryBlock, TelemetryDecoder
from fleet.records.scored import Provenance, encode_results
from fleet.settings import EpisodeSettings, IngestSettings, ScorerSettings

ScoreBlock = Callable[[NDArray[np.float32]], Scores]


@dataclass(frozen=True, slots=True)
class EnteredRecords:
    """N records of one partition that are in the windows and wait for their scores."""

    telemetry: TelemetryBlock
    entered: EnteredBlock
    appended_at_s: NDArray[np.float64]
    """float64[N]: the log's time, Unix seconds."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.entered)

    @property
    def features(self) -> NDArray[np.float32]:
        """float32[N, K] in the order of the plan; NaN = unknown."""
        return self.entered.features


class ScoredRecords(NamedTuple):
    """N scored records: key, value, and the place of the event that each judges."""

    vehicle_ids: Sequence[str]
    values: list[bytes]
    sources: Sequence[str]


class RecordScoring:
    """Takes records of a partition, in log order; who scores them is the caller's business."""

    def __init__(self, models: Path) -> None:
        self.bundle = read_bundle(models)
        warm_up(self.bundle.plan)
        self._decoder = TelemetryDecoder(self.bundle.plan.spec)
        self._most_bytes = IngestSettings().max_event_bytes
        self._detectors: dict[int, Detector] = {}

    def enter(
        self, partition: int, offsets: Sequence[int], appended_at_ms: Sequence[int], values: Sequence[bytes]
    ) -> EnteredRecords:
        """Decode N records and let their events enter the windows."""
        telemetry, rejects = self._decoder.decode_block(values, self._most_bytes)
        if rejects:
            raise ValueError(f"the workload has an event that cannot be read: {rejects[0].reason} {rejects[0].detail}")
        appended_at_s = np.array(appended_at_ms, np.float64) / 1000
        events = EventBlock.decoded(telemetry, partition, np.array(offsets, np.int64), appended_at_s)
        return EnteredRecords(telemetry, self._detector(partition).enter(events), appended_at_s)

    def conclude(self, records: EnteredRecords, scores: Scores) -> ScoredRecords:
        """Judge N events, let the episodes go on, and encode."""
        detector = self._detector(records.entered.events.partition)
        return encoded(records, detector.conclude(records.entered, scores, self.bundle), self.bundle)

    def _detector(self, partition: int) -> Detector:
        if partition not in self._detectors:
            self._detectors[partition] = Detector(self.bundle.plan, EpisodeSettings().rules())
        return self._detectors[partition]


class LocalRecordScoring(RecordScoring):
    """The whole way in one object, for programs that have a place for a function."""

    def __init__(self, models: Path) -> None:
        super().__init__(models)
        self._score = local_scorer(self.bundle)

    def scored(
        self, partition: int, offsets: Sequence[int], appended_at_ms: Sequence[int], values: Sequence[bytes]
    ) -> list[bytes]:
        """Return the scored records of N events."""
        records = self.enter(partition, offsets, appended_at_ms, values)
        return self.conclude(records, self._score(records.features)).values


def local_scorer(bundle: ModelBundle) -> ScoreBlock:
    """Load the network here."""
    settings = ScorerSettings()
    network = Network.load(bundle, settings.threads)
    return lambda features: score(network, bundle, features, settings.explained_rows)


def encoded(records: EnteredRecords, conclusion: Conclusion, bundle: ModelBundle) -> ScoredRecords:
    """Write what came of N records, taken in and scored now."""
    events, now_s = records.entered.events, time.time()
    provenance = Provenance(events.partition, events.offsets, records.appended_at_s, now_s, now_s)
    values = encode_results(
        records.telemetry,
        conclusion.verdicts,
        provenance,
        records.entered.windowed.standing(),
        model_version=bundle.version,
        episode_ids=conclusion.episode_ids,
    )
    return ScoredRecords(events.vehicle_ids, values, provenance.sources)
