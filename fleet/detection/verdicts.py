"""Scores -> verdicts: anomalous or not, how severe, and why.

On the event's way this stands between the scorer, which answers `Scores`, and the encoding of results. `weigh` runs in
the scorer, beside the network, so that an answer is a few numbers per event and not all of its errors; `judge` runs in
ingest and in the gateway, with the threshold and the words of the bundle that the scorer answered with.

An event's reconstruction error is the largest of its aspects' errors plus its joint error, each as the -log10 of the
share of ordinary events that reach it (`fleet.detection.calibration`). They are added like the logarithms of p-values
(Fisher, 1925): what stands out in a part and as a whole counts for more than either.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.columns import Columns
from fleet.detection.calibration import aspect_errors
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.weighing import Aspects, Tails, Weighed, weigh_events
from fleet.events.fields import Expected
from fleet.records.scored import Verdicts as Verdicts

Float32s: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float64]
Int16s: TypeAlias = npt.NDArray[np.int16]

CONTRIBUTIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Scores(Columns):
    """What a scorer answers for N events. All numbers are finite."""

    error: Float32s
    """float32[N]: the reconstruction error; 0 where no judged feature is known."""
    aspect: Int16s
    """int16[N]: the aspect at fault, as an index into the plan's."""
    explained: npt.NDArray[np.bool_]
    """bool[N]: the aspect was found by imputing and rescoring; else it is the one with the largest error."""
    largest: Int16s
    """int16[N, 3]: the features that weigh most in the error, the largest first."""
    share: Float32s
    """float32[N, 3]: their shares of it; 0 where there are fewer."""
    expected: list[Expected | None]
    """What was expected of them; None where it was not asked: of all but explained alarms."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.error)

    @property
    def is_finite(self) -> bool:
        """Whether this is what a scorer may answer."""
        return bool(np.isfinite(self.error).all() and np.isfinite(self.share).all())

    @classmethod
    def none(cls, count: int) -> "Scores":
        """Return scores of `count` events of which nothing is known."""
        return cls(
            np.zeros(count, np.float32),
            np.zeros(count, np.int16),
            np.zeros(count, np.bool_),
            np.zeros((count, CONTRIBUTIONS), np.int16),
            np.zeros((count, CONTRIBUTIONS), np.float32),
            [None] * count,
        )


def judge(scores: Scores, bundle: ModelBundle, lowest: float = 0.0) -> Verdicts:
    """Judge the scores of a block by the threshold of `bundle`.

    A cause is named from its threshold plus `lowest` on: a vehicle's own may be as low.
    """
    error = scores.error.astype(np.float64)
    is_anomaly = error > bundle.threshold
    causes: list[str | None] = [None] * len(error)
    for row in np.flatnonzero(error > bundle.threshold + lowest).tolist():
        causes[row] = bundle.plan.aspects[scores.aspect[row]].cause
    return Verdicts(
        reconstruction_error=error,
        is_anomaly=is_anomaly,
        severity=severity(error, bundle.threshold),
        causes=causes,
        contributions=_contributions(scores, bundle.feature_names),
        threshold=np.full(len(error), bundle.threshold),
        expected=scores.expected,
    )


def severity(error: Floats, threshold: float | Floats) -> Floats:
    """Map reconstruction errors float64[N] to 0..1 by how rarely ordinary events reach them.

    `threshold` is one, or float64[N]. The error counts decades of rarity. With r = error / threshold it is
    r^3 / (1 + r^3): 0.5 at the threshold, under 0.05 for nine ordinary events in ten, 0.9 at twice the decades.
    """
    cubed = (error / threshold) ** 3
    in_0_to_1: Floats = cubed / (1.0 + cubed)
    return in_0_to_1


def weigh(errors: Float32s, bundle: ModelBundle) -> Scores:
    """Sum up the errors float32[N, 2 J + 1] of a block: the largest rarity, whose it is, what weighs most in it."""
    scores = Scores.none(len(errors))
    plan, calibration = bundle.plan, bundle.calibration
    weigh_events(
        errors,
        Aspects(plan.aspect_of, 1.0 / plan.aspect_sizes, bundle.aspect_weights),
        Tails(calibration.rarity, calibration.error, calibration.steepness),
        Weighed(scores.error, scores.aspect, scores.largest, scores.share),
    )
    return scores


def aspect_rarity(errors: Float32s, bundle: ModelBundle) -> Floats:
    """Return the rarity float64[N, 4 A + 1] of errors float32[N, 2 J + 1], in the order of `aspect_errors`."""
    return bundle.calibration.rarity_of(aspect_errors(errors, bundle.plan.aspect_of))


def _contributions(scores: Scores, features: npt.NDArray[np.object_]) -> list[dict[str, float]]:
    """List each event's largest shares of its error, the largest first."""
    named = features[scores.largest].T.tolist()
    shares = np.round(scores.share.astype(np.float64), 4)
    listed = [{a: x, b: y, c: z} for a, b, c, x, y, z in zip(*named, *shares.T.tolist(), strict=True)]
    for i in np.flatnonzero(shares[:, -1] <= 0).tolist():  # fewer than three features have an error
        pairs = zip(features[scores.largest[i]].tolist(), shares[i].tolist(), strict=True)
        listed[i] = {name: part for name, part in pairs if part > 0}
    return listed
