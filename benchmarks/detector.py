"""The whole detector in one object, for programs that have a place for a function: records in, scored records out.

It is what the floor does to a block, without Kafka. Windows and episodes are kept by partition.

Neighbours: `quix_app`, `faststream_app` and `serve_app` call it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fleet.attribution import score
from fleet.autoencoder import Autoencoder, limit_threads
from fleet.episodes import EpisodeTracker, JudgedBlock
from fleet.features import FeaturePlan
from fleet.model_bundle import ModelBundle, read_bundle
from fleet.results import Provenance, encode_results
from fleet.scoring import Scores, judge
from fleet.settings import EpisodeSettings, IngestSettings, ScorerSettings
from fleet.telemetry import TelemetryBlock, TelemetryDecoder
from fleet.windows import VehicleWindows, WindowedBlock, warm_up

ScoreBlock = Callable[[NDArray[np.float32]], Scores]


class History:
    """What is remembered of one partition."""

    def __init__(self, plan: FeaturePlan) -> None:
        self.windows = VehicleWindows(plan)
        self.episodes = EpisodeTracker(EpisodeSettings().rules())


class Detector:
    """Takes blocks of a partition, in log order; `score` may be anything that answers as a scorer does."""

    def __init__(self, models: Path, score_block: ScoreBlock | None = None) -> None:
        self.bundle = read_bundle(models)
        warm_up(self.bundle.plan)
        self._score = score_block or local_scorer(self.bundle)
        self._decoder = TelemetryDecoder(self.bundle.plan.spec)
        self._histories: dict[int, History] = {}

    def scored(
        self, partition: int, offsets: Sequence[int], appended_at_ms: Sequence[int], values: Sequence[bytes]
    ) -> list[bytes]:
        """Return the scored records of N events."""
        block, windowed, appended_at_s = self.windowed(partition, appended_at_ms, values)
        return self.judged(partition, offsets, appended_at_s, block, windowed, self._score(windowed.features))

    def windowed(
        self, partition: int, appended_at_ms: Sequence[int], values: Sequence[bytes]
    ) -> tuple[TelemetryBlock, WindowedBlock, NDArray[np.float64]]:
        """Decode N events and let them enter the windows."""
        block, rejects = self._decoder.decode_block(values, IngestSettings().max_event_bytes)
        if rejects:
            raise ValueError(f"the workload has an event that cannot be read: {rejects[0].reason} {rejects[0].detail}")
        appended_at_s = np.array(appended_at_ms, np.float64) / 1000
        windows = self._history(partition).windows
        return block, windows.push(block.vehicle_ids, block.timestamp_s, block.signals, appended_at_s), appended_at_s

    def judged(
        self,
        partition: int,
        offsets: Sequence[int],
        appended_at_s: NDArray[np.float64],
        block: TelemetryBlock,
        windowed: WindowedBlock,
        scores: Scores,
    ) -> list[bytes]:
        """Judge scores, let the episodes go on, and encode."""
        verdicts = judge(scores, self.bundle)
        now_s = time.time()
        provenance = Provenance(partition, np.array(offsets, np.int64), appended_at_s, now_s, now_s)
        judged = JudgedBlock(
            partition=partition,
            offsets=provenance.offsets,
            vehicle_ids=block.vehicle_ids,
            tenant_ids=block.tenant_ids,
            time_s=block.timestamp_s,
            appended_at_s=appended_at_s,
            counted=~windowed.repeat,
            is_anomaly=verdicts.is_anomaly,
            severity=verdicts.severity,
            reconstruction_error=verdicts.reconstruction_error,
            causes=verdicts.causes,
            model_version=self.bundle.version,
        )
        return encode_results(
            block,
            verdicts,
            provenance,
            model_version=self.bundle.version,
            threshold=self.bundle.threshold,
            warming_up=windowed.warming_up.tolist(),
            repeat=windowed.repeat.tolist(),
            episode_ids=self._history(partition).episodes.update(judged)[0],
        )

    def _history(self, partition: int) -> History:
        if partition not in self._histories:
            self._histories[partition] = History(self.bundle.plan)
        return self._histories[partition]


def local_scorer(bundle: ModelBundle) -> ScoreBlock:
    """Load the network here."""
    limit_threads(ScorerSettings().threads)
    model = Autoencoder.load(bundle)
    return lambda features: score(model, bundle, features, ScorerSettings().explained_rows)
