"""Cuts a test's time into pieces, and says for each how fast and how late things were.

Neighbours: `samples` and `arrivals` hold what happened, `page` draws what comes out. Pure.
"""

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]

PERCENTS: Final = (50.0, 95.0, 99.0)
_SHORTEST_S, _MOST_PIECES = 0.5, 240


def edges_s(seconds: float) -> Float64s:
    """Return the borders of at most 240 equal pieces, none shorter than half a second: float64[P + 1]."""
    pieces = int(np.clip(seconds / _SHORTEST_S, 1, _MOST_PIECES))
    return np.linspace(0.0, seconds, pieces + 1)


def rates(offsets_s: Float64s, edges: Float64s) -> Float64s:
    """Return things per second in each piece, float64[P], for things that happened at float64[N] from the start."""
    counts = np.histogram(offsets_s, edges)[0]
    per_second: Float64s = counts / np.diff(edges)
    return per_second


def percentiles(offsets_s: Float64s, values: Float64s, edges: Float64s) -> Float64s:
    """Return the percentiles of `PERCENTS` by piece: float64[3, P], NaN where there was nothing.

    Values are float64[N] of things due at `offsets_s`; NaN values are left out.
    """
    known = ~np.isnan(values)
    offsets_s, values = offsets_s[known], values[known]
    order = np.argsort(offsets_s, kind="stable")
    borders = np.searchsorted(offsets_s[order], edges)
    borders[-1] = len(order)  # the last piece has its end too
    result = np.full((len(PERCENTS), len(edges) - 1), np.nan)
    for piece, (begin, end) in enumerate(itertools.pairwise(borders)):
        if end > begin:
            result[:, piece] = np.percentile(values[order[begin:end]], PERCENTS)
    return result
