"""Figures of repeated runs: a median and how far the repeats lie apart; and ratios to a reference of the same run."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple


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


class Part(NamedTuple):
    """One step of an event's way: CPU µs per event; the spread is over blocks."""

    name: str
    us_per_event: Figure
