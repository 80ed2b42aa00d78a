"""Verdicts on a recording, by the detector that serves: `fleet.detection.detector`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.attribution import Reconstruction, score
from fleet.detection.detector import Conclusion
from fleet.detection.episodes import EpisodeRules
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Verdicts
from training.backtesting.histories import BLOCK_ROWS, detector_of, event_blocks, prepare, spec_columns
from training.backtesting.recordings import Recordings
from training.episodes import OpenedEpisodes, opened_episodes

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """The verdicts on a recording's R rows, in the file's order."""

    features: Features
    verdicts: Verdicts
    episode: list[str | None]
    opened: OpenedEpisodes
    time_s: Floats
    """float64[R]: as it went through the windows, without ties."""


def score_rows(
    model: Reconstruction, bundle: ModelBundle, recordings: Recordings, rules: EpisodeRules | None = None
) -> Scored:
    """Score and judge recordings as ingest does, in blocks, and follow their episodes."""
    spec = bundle.plan.spec
    prepared, names = prepare(recordings, spec.gap_s), recordings.vehicle_names
    # At five minutes an event, a silence is longer than at one second.
    detector = detector_of(bundle.plan, len(names), rules or replace(EpisodeRules(), silence_s=spec.gap_s))
    features: list[Features] = []
    conclusions: list[Conclusion] = []
    for block in event_blocks(prepared, spec_columns(spec, recordings), names):
        entered = detector.enter(block)
        features.append(entered.features)
        conclusions.append(detector.conclude(entered, score(model, bundle, entered.features, BLOCK_ROWS), bundle))
    back = np.empty(len(prepared.order), np.intp)
    back[prepared.order] = np.arange(len(back))
    episode_ids = [episode_id for conclusion in conclusions for episode_id in conclusion.episode_ids]
    return Scored(
        np.concatenate(features)[back],
        Verdicts.joined([conclusion.verdicts for conclusion in conclusions]).picked(back),
        [episode_ids[place] for place in back.tolist()],
        opened_episodes([change for conclusion in conclusions for change in conclusion.changes], names),
        prepared.time_s[back],
    )
