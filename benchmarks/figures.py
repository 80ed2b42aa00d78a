"""Figures of repeated runs: a median and how far the repeats lie apart; and ratios to a reference of the same run."""

import itertools
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOWS = 3

Floats = NDArray[np.float64]


class Figure(NamedTuple):
    """The median of some repeats, and the least and the largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Figure":
        """Sum up repeats; NaN where there are none."""
        held = sorted(values)
        return cls(median(held), held[0], held[-1]) if held else cls(float("nan"), float("nan"), float("nan"))

    @classmethod
    def ratio(cls, ours: Sequence[float], reference: Sequence[float]) -> "Figure":
        """Sum up the ratios, repeat by repeat."""
        return cls.of(own / other for own, other in zip(ours, reference, strict=True))

    def text(self, form: str = ",.2f") -> str:
        """Write it as `0.81 (0.78–0.83)`."""
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def in_windows(values: Floats, at_s: Floats, begin_s: float, seconds: float) -> list[Floats]:
    """Cut values [N] by their times [N] into equal windows: repeats of a run whose conditions stay the same."""
    edges_s = begin_s + np.linspace(0.0, seconds, WINDOWS + 1)
    return [values[(at_s >= begin) & (at_s < end)] for begin, end in itertools.pairwise(edges_s)]


def percentiles(windows: Sequence[Floats], wanted: Sequence[int]) -> dict[int, Figure]:
    """Return the figure of each percentile over the windows that hold something."""
    return {
        percentile: Figure.of(float(np.percentile(window, percentile)) for window in windows if len(window))
        for percentile in wanted
    }


class Part(NamedTuple):
    """One step of an event's way: CPU µs per event; the spread is over blocks."""

    name: str
    us_per_event: Figure
