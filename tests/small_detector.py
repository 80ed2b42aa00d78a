"""Detectors small enough for tests: one trained on a few simulated vehicles, and made-up ones that have no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fleet.detection.calibration import Calibration
from fleet.detection.detector import Detector, EventBlock
from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Scores, Verdicts, judge
from fleet.events.channels import VEHICLE_DATA
from fleet.events.telemetry import TelemetryDecoder

PLAN = FeaturePlan.of(VEHICLE_DATA)


def table(plan: FeaturePlan = PLAN) -> Calibration:
    """Every kind of error is reached by a tenth of the ordinary events at 1, by a hundredth at 2, and so on to 4."""
    kinds = 4 * len(plan.aspects) + 1
    decades = np.array([1.0, 2.0, 3.0, 4.0])
    return Calibration(decades, np.tile(decades, (kinds, 1)), np.full(kinds, 10.0))


def made_up_bundle(plan: FeaturePlan = PLAN, threshold: float = 3.0, version: str = "test-1") -> ModelBundle:
    """Return a bundle that stands nowhere on disk."""
    return ModelBundle(
        version=version,
        folder=Path(),
        trained_at="2026-01-01T00:00:00Z",
        plan=plan,
        threshold=threshold,
        calibration=table(plan),
        metrics={},
        network_sha256="",
    )


class LoadedDetector(NamedTuple):
    """A bundle with its network, and the way from records to verdicts."""

    model: Any
    bundle: ModelBundle

    def features(self, values: Sequence[bytes], appended_at_s: Any = None) -> Any:
        """Decode records and window them, as ingest does."""
        block, rejects = TelemetryDecoder(self.bundle.plan.spec).decode_block(values, 100_000)
        assert rejects == []
        events = EventBlock.decoded(block, 0, np.arange(len(block)), appended_at_s)
        return Detector(self.bundle.plan).enter(events).features

    def scores(self, features: Any, most_explained: int = 1_000) -> Scores:
        """Score features, as the scorer does."""
        from fleet.detection.attribution import score

        return score(self.model, self.bundle, features, most_explained)

    def verdicts(self, values: Sequence[bytes]) -> Verdicts:
        """Judge records."""
        return judge(self.scores(self.features(values)), self.bundle)


def train_small(models_folder: Path) -> ModelBundle:
    """Train on a small part of what the product trains on; about ten seconds."""
    from commands.train import make_fleet
    from training.dataset import CALIBRATION, TRAINING, collect, plan_drives
    from training.fitting import FitSettings, fit_detector
    from training.train import write_detector

    settings = FitSettings(epochs=4, false_alarm_rate=0.002)  # a rate that so few rows can show
    habits = {"every_10_s": 0.1}
    parts = []
    for purpose, cities, hours in ((TRAINING, (1, 2), 20.0), (CALIBRATION, (5,), 20.0)):
        drives = plan_drives(settings.seed, purpose, hours, cities, 0.0, habits=habits, duration_s=1200.0)
        rows = collect(PLAN, make_fleet, drives, lambda _line: None, "small")
        parts.append((rows.features, rows.vehicle))
    detector = fit_detector(PLAN, parts[0], parts[1], settings, lambda _line: None)
    return write_detector(models_folder, PLAN, detector, settings, {"false_alarm_rate": settings.false_alarm_rate})
