"""What is done to a block of events, without Kafka: decode and window before it is scored; judge, follow, encode after.

Windows and episodes are kept by partition.

Neighbours: `floor` scores several partitions' blocks in one call; the peers call `LocalDetector`, records in and scored
records out, or `Detector` around a call to somewhere else.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fleet.detection.attribution import score
from fleet.detection.episodes import EpisodeTracker, judged_block
from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import ModelBundle, read_bundle
from fleet.detection.model.network import Network
from fleet.detection.verdicts import Scores, Verdicts, judge
from fleet.detection.windows import VehicleWindows, WindowedBlock, warm_up
from fleet.events.telemetry import TelemetryBlock, TelemetryDecoder
from fleet.records.scored import Provenance, encode_results
from fleet.settings import EpisodeSettings, IngestSettings, ScorerSettings

ScoreBlock = Callable[[NDArray[np.float32]], Scores]


class History:
    """What is remembered of one partition."""

    def __init__(self, plan: FeaturePlan) -> None:
        self.windows = VehicleWindows(plan)
        self.episodes = EpisodeTracker(EpisodeSettings().rules())


class Detector:
    """Takes blocks of a partition, in log order; who scores them is the caller's business."""

    def __init__(self, models: Path) -> None:
        self.bundle = read_bundle(models)
        warm_up(self.bundle.plan)
        self._decoder = TelemetryDecoder(self.bundle.plan.spec)
        self._most_bytes = IngestSettings().max_event_bytes
        self._histories: dict[int, History] = {}

    def windowed(
        self, partition: int, appended_at_ms: Sequence[int], values: Sequence[bytes]
    ) -> tuple[TelemetryBlock, WindowedBlock, NDArray[np.float64]]:
        """Decode N events and let them enter the windows; returns when they were appended, too, in Unix seconds."""
        block, rejects = self._decoder.decode_block(values, self._most_bytes)
        if rejects:
            raise ValueError(f"the workload has an event that cannot be read: {rejects[0].reason} {rejects[0].detail}")
        appended_at_s = np.array(appended_at_ms, np.float64) / 1000
        windows = self._history(partition).windows
        return block, windows.push(block.vehicle_ids, block.timestamp_s, block.signals, appended_at_s), appended_at_s

    def judged(
        self, block: TelemetryBlock, windowed: WindowedBlock, provenance: Provenance, verdicts: Verdicts
    ) -> list[bytes]:
        """Let the episodes go on, and encode."""
        version = self.bundle.version
        judged = judged_block(block, verdicts, provenance, counted=~windowed.repeat, model_version=version)
        return encode_results(
            block,
            verdicts,
            provenance,
            model_version=version,
            threshold=self.bundle.threshold,
            warming_up=windowed.warming_up.tolist(),
            repeat=windowed.repeat.tolist(),
            episode_ids=self._history(provenance.partition).episodes.update(judged)[0],
        )

    def _history(self, partition: int) -> History:
        if partition not in self._histories:
            self._histories[partition] = History(self.bundle.plan)
        return self._histories[partition]


class LocalDetector(Detector):
    """The whole detector in one object, for programs that have a place for a function."""

    def __init__(self, models: Path) -> None:
        super().__init__(models)
        self._score = local_scorer(self.bundle)

    def scored(
        self, partition: int, offsets: Sequence[int], appended_at_ms: Sequence[int], values: Sequence[bytes]
    ) -> list[bytes]:
        """Return the scored records of N events."""
        block, windowed, appended_at_s = self.windowed(partition, appended_at_ms, values)
        verdicts = judge(self._score(windowed.features), self.bundle)
        return self.judged(block, windowed, provenance_now(partition, offsets, appended_at_s), verdicts)


def local_scorer(bundle: ModelBundle) -> ScoreBlock:
    """Load the network here."""
    settings = ScorerSettings()
    network = Network.load(bundle, settings.threads)
    return lambda features: score(network, bundle, features, settings.explained_rows)


def provenance_now(partition: int, offsets: ArrayLike, appended_at_s: NDArray[np.float64]) -> Provenance:
    """Say where N events come from, taken in and scored now."""
    now_s = time.time()
    return Provenance(partition, np.array(offsets, np.int64), appended_at_s, now_s, now_s)
