"""The detector of one partition, or of one recording: columns in, verdicts and episodes out.

Whoever judges events goes this way, so that all judge alike: ingest, requests for scores, backtests, evaluation and
benchmarks. Between its two steps the features are scored, because a scorer may be remote, and several partitions may
share a call:

    entered = detector.enter(block)                          # windows: columns -> features
    scores = ...                                             # of entered.features, by a scorer
    conclusion = detector.conclude(entered, scores, bundle)  # verdicts, and the episodes that they open and close

Blocks enter in log order and are concluded in the same order; any number may be scored at once. One thread at a time
for each of the two steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.episodes import EpisodeChange, EpisodeRules, EpisodeTracker
from fleet.detection.features import FeaturePlan
from fleet.detection.judged import JudgedBlock
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.vehicle_thresholds import LOWEST, VehicleThresholds
from fleet.detection.verdicts import Scores, Verdicts, judge
from fleet.detection.windows import LATE_HORIZON_S, VehicleWindows, WindowedBlock
from fleet.events.telemetry import TelemetryBlock

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EventBlock:
    """N events of one partition in log order: whose they are, when they happened, what they carry."""

    partition: int
    offsets: npt.NDArray[np.int64]
    """int64[N]: places in the partition's log; they name episodes."""
    vehicle_ids: Sequence[str]
    tenant_ids: Sequence[str | None]
    time_s: Floats
    """float64[N]: event time, Unix seconds."""
    signals: Floats
    """float64[N, S] in the order of the specification's fields; NaN = unknown."""
    appended_at_s: Floats | None = None
    """float64[N]: the log's time, Unix seconds; None where there is no log."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.vehicle_ids)

    @classmethod
    def decoded(
        cls, block: TelemetryBlock, partition: int, offsets: npt.NDArray[np.int64], appended_at_s: Floats | None
    ) -> "EventBlock":
        """Say of decoded telemetry where it stands in the log."""
        ids, tenants = block.vehicle_ids, block.tenant_ids
        return cls(partition, offsets, ids, tenants, block.timestamp_s, block.signals, appended_at_s)

    @classmethod
    def recorded(
        cls, vehicle_ids: Sequence[str], time_s: Floats, signals: Floats, offsets: npt.NDArray[np.int64] | None = None
    ) -> "EventBlock":
        """Take events that stand in no log; `offsets` are what their episodes are named by, in place of its own."""
        count = len(vehicle_ids)
        places = np.arange(count) if offsets is None else offsets
        return cls(0, places, vehicle_ids, [None] * count, time_s, signals)


@dataclass(frozen=True, slots=True)
class EnteredBlock:
    """N events that are in the windows and wait for their scores."""

    events: EventBlock
    windowed: WindowedBlock

    def __len__(self) -> int:
        """Return N."""
        return len(self.events)

    @property
    def features(self) -> npt.NDArray[np.float32]:
        """float32[N, K] in the order of the plan; NaN = unknown."""
        return self.windowed.features


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What came of N events."""

    verdicts: Verdicts
    episode_ids: list[str | None]
    """By event: the episode that it belongs to, from the opening event to the closing one."""
    changes: list[EpisodeChange]
    """What is to be published of episodes, in order."""


class Detector:
    """Windows, thresholds and episodes of one partition's vehicles, at most `max_vehicles` of them.

    `idle_s` is the time of the log after which a silent vehicle's history is forgotten, `late_horizon_s` how late an
    event may come to be scored against what was known before its vehicle's silence.
    """

    def __init__(
        self,
        plan: FeaturePlan,
        rules: EpisodeRules | None = None,
        *,
        idle_s: float = 1800.0,
        max_vehicles: int = 200_000,
        late_horizon_s: float = LATE_HORIZON_S,
    ) -> None:
        self.windows = VehicleWindows(plan, idle_s, max_vehicles, late_horizon_s=late_horizon_s)
        self.episodes = EpisodeTracker(rules)
        self.thresholds = VehicleThresholds(max_vehicles)

    def enter(self, events: EventBlock) -> EnteredBlock:
        """Let the next N events enter the windows."""
        columns = events.vehicle_ids, events.time_s, events.signals, events.appended_at_s
        return EnteredBlock(events, self.windows.push(*columns))

    def conclude(
        self, entered: EnteredBlock, scores: Scores, bundle: ModelBundle, failed: Flags | None = None
    ) -> Conclusion:
        """Judge N events by the bundle that scored them, and let the episodes go on.

        `failed` bool[N] marks what could not be scored: like a repeat, it changes no episode.
        """
        return self.follow(entered, judge(scores, bundle, LOWEST), bundle, failed)

    def follow(
        self, entered: EnteredBlock, verdicts: Verdicts, bundle: ModelBundle, failed: Flags | None = None
    ) -> Conclusion:
        """Judge N events by their vehicles' own thresholds, and let the episodes go on: the second half of `conclude`.

        `verdicts` are by the bundle's threshold, with causes from the lowest of a vehicle's own on.
        """
        events = entered.events
        counted = ~entered.windowed.repeat if failed is None else ~(entered.windowed.repeat | failed)
        now_s = events.time_s if events.appended_at_s is None else events.appended_at_s
        own = self.thresholds.corrected(verdicts, bundle.threshold, events.vehicle_ids, now_s, counted)
        episode_ids, changes = self.episodes.update(_judged(entered, own, counted, bundle.version))
        return Conclusion(own, episode_ids, changes)


def _judged(entered: EnteredBlock, verdicts: Verdicts, counted: Flags, model_version: str) -> JudgedBlock:
    events = entered.events
    # Without a log there is no silence by the log's time: its clock stands still.
    appended_at_s = np.zeros(len(events)) if events.appended_at_s is None else events.appended_at_s
    return JudgedBlock(
        partition=events.partition,
        offsets=events.offsets,
        vehicle_ids=events.vehicle_ids,
        tenant_ids=events.tenant_ids,
        time_s=events.time_s,
        appended_at_s=appended_at_s,
        counted=counted,
        is_anomaly=verdicts.is_anomaly,
        severity=verdicts.severity,
        reconstruction_error=verdicts.reconstruction_error,
        causes=verdicts.causes,
        model_version=model_version,
        doubtful=entered.windowed.is_doubtful,
        usual_interval_s=entered.windowed.usual_interval_s,
        stands=entered.windowed.stands,
    )
