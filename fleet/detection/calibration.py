"""How often ordinary events reach an error: errors of different kinds -> one scale, -log10 of their tail probability.

A detector has 4 A + 1 errors per event: of each aspect (the features of a channel that stand for one cause) a sharp and
a plain one, each by how much it is too low and by how much it is too high; and the joint one. A large error of a noisy
aspect may be common, a small one of a quiet aspect rare, and a filling tank is no leaking one; on this scale they
compare, and the largest one is the event's error. `training.fitting` measures it on vehicles unseen in training,
`fleet.detection.verdicts` reads it.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.weighing import RUN, RUN_UNIT, rarities, run_rarity, sum_by_aspect

Floats: TypeAlias = npt.NDArray[np.float64]

# Bounds of the tail's steepness, where the last errors of a calibration lie oddly (all alike, or far apart).
STEEPNESS: Final = (2.0, 12.0)


@dataclass(frozen=True)
class Calibration:
    """Quantiles of the errors of ordinary events, and how their tails go on (C = 4 A + 1 kinds of errors)."""

    rarity: Floats
    """float64[M], increasing from 0: -log10 of the share of ordinary events whose error is larger."""
    error: Floats
    """float64[C, M], increasing along M: the error that goes with it."""
    steepness: Floats
    """float64[C]: decades of rarity per decade of 1 + error beyond the last quantile (a Pareto tail), or `RUN`.

    One is the size of an ordinary error: below it, ratios mean nothing."""

    @classmethod
    def of(cls, rarity: Floats, error: Floats, least: Floats, is_run: npt.NDArray[np.bool_]) -> "Calibration":
        """Fit the tails to the last decade of rarity (the slope of a Hill plot; Hill, Annals of Statistics, 1975).

        `rarity` is float64[M], `error` and the `least` that it is taken to be (`FeaturePlan.least_errors`) are
        float64[C, M], `is_run` is bool[C].
        """
        rising = np.maximum.accumulate(np.maximum(error, least), axis=1) + 1e-9 * (1 + np.arange(error.shape[1]))
        anchor = min(int(np.searchsorted(rarity, rarity[-1] - 1.0)), len(rarity) - 2)
        decades = np.log10((1 + rising[:, -1]) / (1 + rising[:, anchor]))
        steepness = (rarity[-1] - rarity[anchor]) / np.maximum(decades, 1e-9)
        return cls(rarity, rising, np.where(is_run, RUN, np.clip(steepness, *STEEPNESS)))

    def error_at(self, rarity: float) -> Floats:
        """Return the errors float64[C] of a rarity."""
        inside = np.array([np.interp(rarity, self.rarity, row) for row in self.error])
        more = np.maximum(rarity - self.rarity[-1], 0.0)
        is_run = self.steepness == RUN
        by_tail = (1 + inside) * 10 ** (more / np.where(is_run, 1.0, self.steepness)) - 1
        errors: Floats = np.where(is_run, run_error(run_rarity(inside) + more), by_tail)
        return errors

    def rarity_of(self, errors: Floats) -> Floats:
        """Map errors float64[N, C] to their rarity float64[N, C]."""
        rarity = np.empty(errors.shape)
        rarities(np.ascontiguousarray(errors, np.float64), self.rarity, self.error, self.steepness, rarity)
        return rarity


def run_error(rarity: Floats) -> Floats:
    """Return the error of a run that is so rare by the vehicle's own past."""
    error: Floats = (np.log1p(rarity * np.log(10)) / RUN_UNIT) ** 2
    return error


def event_rarity(rarity: Floats) -> Floats:
    """Sum rarities float64[N, C] up to the events' errors float64[N]: the largest aspect's, and the joint one.

    Added like the logarithms of independent p-values (Fisher, 1925): what stands out in a part and as a whole counts
    for more than either.
    """
    both: Floats = rarity[:, :-1].max(axis=1) + rarity[:, -1]
    return both


def aspect_errors(errors: npt.NDArray[np.float32], aspect_of: npt.NDArray[np.int64]) -> Floats:
    """Turn errors float32[N, 2 J + 1] of features into those of aspects, float64[N, 4 A + 1].

    `aspect_of` is int64[J]. The order is, aspect by aspect: sharp too low, sharp too high, plain too low, plain too
    high; and at the end the joint error. An aspect's error is the sum over its known features divided by the number
    of its features, known or not.
    """
    shares = 1.0 / np.bincount(aspect_of)
    sums = np.empty((len(errors), 4 * len(shares) + 1))
    sum_by_aspect(errors, aspect_of, shares, sums)
    return sums
