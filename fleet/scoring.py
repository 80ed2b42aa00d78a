"""Errors per feature -> verdicts: anomalous or not, how severe, and why.

On the event's way this stands between the scorer, which answers `float32[N, K]` errors, and the encoding of
results. It needs the bundle that the scorer answered with, and numpy alone.

The reconstruction error of an event is the sum of its known features' errors divided by the number of judged
features, known or not. Dividing by the known ones alone was rejected: an event with two readings would then
alarm on one moderate residual, so a vehicle without sensors would alarm more often than one with all of them.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.model_bundle import ModelBundle

Floats: TypeAlias = npt.NDArray[np.float64]
Names: TypeAlias = list[str]

# Larger errors than this say no more; their sums and shares stay finite.
ERROR_LIMIT: Final = 1e12
CONTRIBUTIONS: Final = 3
# Bounds of the tail's exponent where the calibration's largest errors lie oddly (all alike, or far apart).
TAIL_EXPONENTS: Final = (1.0, 8.0)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts on one block of N events, in the order of the events. All numbers are finite."""

    reconstruction_error: Floats
    """float64[N]; 0 where no judged feature is known."""
    is_anomaly: npt.NDArray[np.bool_]
    """bool[N]: the error exceeds the bundle's threshold."""
    severity: Floats
    """float64[N] in 0..1, rising with the error; 0.5 at the threshold."""
    causes: list[str | None]
    """The cause whose features weigh most in the error; None where there is no anomaly."""
    contributions: list[dict[str, float]]
    """Feature -> share of the error, the largest three; empty where the error is 0."""

    def rows(self, start: int, end: int) -> "Verdicts":
        """Return the verdicts on a run of the block's events."""
        part = slice(start, end)
        return Verdicts(
            self.reconstruction_error[part],
            self.is_anomaly[part],
            self.severity[part],
            self.causes[part],
            self.contributions[part],
        )


def judge(errors: npt.NDArray[np.float32], bundle: ModelBundle) -> Verdicts:
    """Judge the errors float32[N, K] (NaN = unknown) of a block by the thresholds of `bundle`."""
    known = np.nan_to_num(errors.astype(np.float64), nan=0.0, posinf=ERROR_LIMIT, neginf=0.0)
    np.clip(known, 0.0, ERROR_LIMIT, out=known)
    known[:, ~bundle.judged] = 0.0
    total = known.sum(axis=1)
    error = total / np.count_nonzero(bundle.judged)
    is_anomaly = error > bundle.threshold
    return Verdicts(
        reconstruction_error=error,
        is_anomaly=is_anomaly,
        severity=severity(error, bundle),
        causes=_causes(known, is_anomaly, bundle),
        contributions=_contributions(known, total, bundle.features),
    )


def severity(error: Floats, bundle: ModelBundle) -> Floats:
    """Map reconstruction errors float64[N] to 0..1 by how rarely ordinary events reach them.

    With r = log(share of ordinary events with a larger error) / log(that share at the threshold) it is
    r^3 / (1 + r^3): 0.5 at the threshold, under 0.05 for nine ordinary events in ten, 0.9 where an error is so rare
    that the threshold's exceedance is common beside it (r = 2: one in a million for a threshold of one in a thousand).
    """
    at_threshold = max(float(_rarity(np.array([bundle.threshold]), bundle)[0]), 1e-3)
    cubed = (_rarity(error, bundle) / at_threshold) ** 3
    in_0_to_1: Floats = cubed / (1.0 + cubed)
    return in_0_to_1


def _rarity(error: Floats, bundle: ModelBundle) -> Floats:
    """-log10 of the tail probability: interpolated in the calibration, a Pareto tail beyond its largest error."""
    tail_log10, calibrated = bundle.calibration.tail_log10, bundle.calibration.error
    inside = np.interp(error, np.concatenate([[0.0], calibrated]), np.concatenate([[0.0], tail_log10]))
    anchor = np.searchsorted(tail_log10, tail_log10[-1] - 1.0)  # a decade of probability before the end
    anchor = min(int(anchor), len(calibrated) - 2)
    decades = np.log10(calibrated[-1] / max(calibrated[anchor], np.finfo(float).tiny))
    exponent = np.clip((tail_log10[-1] - tail_log10[anchor]) / max(decades, 1e-9), *TAIL_EXPONENTS)
    beyond: Floats = exponent * np.log10(np.maximum(error / calibrated[-1], 1.0))
    rarity: Floats = inside + beyond
    return rarity


def _causes(known: Floats, is_anomaly: npt.NDArray[np.bool_], bundle: ModelBundle) -> list[str | None]:
    """Name for each anomaly the cause whose features hold the largest part of the error."""
    causes: list[str | None] = [None] * len(known)
    anomalous = np.flatnonzero(is_anomaly)
    if len(anomalous):
        names = tuple(dict.fromkeys(bundle.causes))
        of_cause = np.array([[cause == name for name in names] for cause in bundle.causes], np.float64)
        largest = (known[anomalous] @ of_cause).argmax(axis=1)
        for row, cause in zip(anomalous.tolist(), largest.tolist(), strict=True):
            causes[row] = names[cause]
    return causes


def _contributions(known: Floats, total: Floats, features: tuple[str, ...]) -> list[dict[str, float]]:
    """List each event's largest shares of its error, the largest first."""
    rows = np.arange(len(known))
    remaining = known.copy()
    columns: list[Names] = []
    shares: list[list[float]] = []
    safe_total = np.where(total > 0, total, 1.0)
    named = np.array(features, object)
    for _ in range(CONTRIBUTIONS):  # three times the largest: half the cost of a partition and a sort
        largest = remaining.argmax(axis=1)
        shares.append(np.round(remaining[rows, largest] / safe_total, 4).tolist())
        columns.append(named[largest].tolist())
        remaining[rows, largest] = -1.0
    listed = [{a: x, b: y, c: z} for a, b, c, x, y, z in zip(*columns, *shares, strict=True)]
    for i in np.flatnonzero(np.array(shares[-1]) <= 0).tolist():  # fewer than three features have an error
        listed[i] = {name: share for name, share in listed[i].items() if share > 0}
    return listed
