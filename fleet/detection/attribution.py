"""Features -> scores, in the scorer: the network's errors weighed, and for alarms the group that is at fault.

The largest error is not the cause: a wrong temperature makes the network expect wrong things of whatever depends on it.
So each group in turn is put to what it was expected to be, and the rest rescored: the group whose imputation leaves the
least unusual event behind is at fault. Signs of a broken sensor, sender or clock that alarm by themselves are believed
before that: a frozen speed explains why positions contradict it. Imputing costs one reconstruction per group, so it is
done for alarms only, where more than one group alarms, the largest first, and for a bounded number of them; the others
keep the aspect with the largest error. Of the same alarms it is said what was expected of their largest features.
"""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.expectation import expected_values
from fleet.detection.verdicts import Scores, aspect_rarity, weigh

Float32s = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


# Of the threshold on the sum of an event's largest aspect and its joint error.
ALARMING_SHARE: Final = 0.6


class Reconstruction(Protocol):
    """What this needs of `fleet.detection.model.network.Network`."""

    def errors(self, features: Float32s) -> Float32s:
        """Return errors float32[N, 2 J + 1]."""

    def imputed_errors(self, features: Float32s) -> Float32s:
        """Return errors float32[N, G, 2 J + 1] after imputing each group."""

    def expectations(self, features: Float32s) -> Float32s:
        """Return lower bounds, expected values and upper bounds, float32[N, 3, J]."""


def score(model: Reconstruction, bundle: ModelBundle, features: Float32s, most_explained: int) -> Scores:
    """Score features float32[N, K], and find the group at fault of up to `most_explained` of the alarms."""
    errors = model.errors(features)
    scores = weigh(errors, bundle)
    alarms = np.flatnonzero(scores.error > bundle.threshold)
    if len(alarms) > most_explained:
        alarms = alarms[np.argsort(-scores.error[alarms], kind="stable")[:most_explained]]
    if len(alarms):
        scores.aspect[alarms] = _aspects_at_fault(model, bundle, features[alarms], errors[alarms])
        scores.explained[alarms] = True
        _expect(model, bundle, features[alarms], scores, alarms)
    return scores


def warm_up(model: Reconstruction, bundle: ModelBundle) -> None:
    """Weigh an unknown row and explain it, so that neither the first event nor the first alarm waits for a compiler."""
    unknown = np.full((1, len(bundle.features)), np.nan, np.float32)
    errors = model.errors(unknown)
    weigh(errors, bundle)
    _aspects_at_fault(model, bundle, unknown, errors)


def _expect(
    model: Reconstruction, bundle: ModelBundle, features: Float32s, scores: Scores, alarms: npt.NDArray[np.intp]
) -> None:
    """Note what was expected of the largest features of `alarms` intp[M], whose features are float32[M, K]."""
    blamed = scores.largest[alarms], scores.share[alarms]
    said = expected_values(model.expectations(features), *blamed, bundle.possible, bundle.features)
    for alarm, expected in zip(alarms.tolist(), said, strict=True):
        scores.expected[alarm] = expected


def _aspects_at_fault(
    model: Reconstruction, bundle: ModelBundle, features: Float32s, errors: Float32s
) -> npt.NDArray[np.int64]:
    """Return for each row the aspect with the largest error within the group at fault, int64[N]."""
    plan = bundle.plan
    by_aspect = aspect_rarity(errors, bundle)[:, :-1].reshape(len(errors), -1, 4).max(axis=2)
    own = np.where(plan.aspect_group == _groups_at_fault(model, bundle, features, by_aspect)[:, None], by_aspect, -1.0)
    aspects: npt.NDArray[np.int64] = own.argmax(axis=1)
    for explains in (np.where(plan.aspect_is_jump, own, -1.0), np.where(plan.aspect_is_break, by_aspect, -1.0)):
        aspects = np.where(explains.max(axis=1) > _alarming(bundle), explains.argmax(axis=1), aspects)
    return aspects


def _groups_at_fault(
    model: Reconstruction, bundle: ModelBundle, features: Float32s, by_aspect: Floats
) -> npt.NDArray[np.int64]:
    """Return the group at fault, int64[N]; where only one alarms, there is nothing to impute."""
    plan = bundle.plan
    by_group = np.stack([by_aspect[:, plan.aspect_group == g].max(axis=1) for g in range(len(plan.groups))], axis=1)
    culprit: npt.NDArray[np.int64] = by_group.argmax(axis=1)
    broken = np.where(plan.aspect_is_break, by_aspect, -1.0).max(axis=1) > _alarming(bundle)
    unclear = np.flatnonzero(((by_group > _alarming(bundle)).sum(axis=1) != 1) & ~broken)
    if len(unclear):
        remaining = model.imputed_errors(features[unclear])
        left = weigh(remaining.reshape(len(unclear) * len(plan.groups), -1), bundle).error
        culprit[unclear] = left.reshape(len(unclear), -1).argmin(axis=1)
    return culprit


def _alarming(bundle: ModelBundle) -> float:
    """Return the rarity from which a single aspect would make an alarm, with a joint error that is nothing special."""
    return ALARMING_SHARE * bundle.threshold
