"""The compiled loops over events' errors: by feature -> by aspect -> rarities -> what stands out most.

Neighbours: `fleet.detection.calibration` fits the tables, `fleet.detection.verdicts` asks for the weighing.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from fleet.detection.compiled import compiled

HIGHEST_RARITY: Final = 300.0
# Less than this a float32 rounds so much that shares no longer add up.
SMALLEST_WEIGHT: Final = 1e-30
# Larger errors than this say no more; their sums and shares stay finite.
ERROR_LIMIT: Final = 1e12
# What a run's log(1 + surprise) is divided by, with the surprise in nats: its square is the run's error.
RUN_UNIT: Final = 0.4
# In place of a steepness: a run is as rare as it says itself, and its tail needs no guess.
RUN: Final = 0.0


@compiled
def run_rarity(error: Any) -> Any:
    """Return how rare a run of this error is: the inverse of `run_error`."""
    return np.expm1(np.minimum(RUN_UNIT * np.sqrt(error), 700.0)) / np.log(10)


@compiled
def sum_by_aspect(errors: Any, aspect_of: Any, shares: Any, sums: Any) -> None:
    """Add the errors [N, 2 J + 1] of events up into sums [N, 4 A + 1]."""
    for i in range(len(errors)):
        add_up(errors[i], aspect_of, shares, sums[i])


@compiled
def add_up(errors: Any, aspect_of: Any, shares: Any, sums: Any) -> None:
    """Add one event's errors [2 J + 1] up by aspect, kind and sign, into sums [4 A + 1].

    `shares` [A] is one by the number of each aspect's features.
    """
    sums[:] = 0.0
    judged = len(aspect_of)
    for k in range(judged):
        aspect = aspect_of[k]
        sharp, plain = errors[k], errors[judged + k]
        sums[4 * aspect + (1 if sharp > 0.0 else 0)] += min(abs(sharp), ERROR_LIMIT) * shares[aspect]
        sums[4 * aspect + (3 if plain > 0.0 else 2)] += min(abs(plain), ERROR_LIMIT) * shares[aspect]
    sums[len(sums) - 1] = min(errors[2 * judged], ERROR_LIMIT)


@compiled
def rarities(errors: Any, rarity: Any, quantiles: Any, steepness: Any, out: Any) -> None:
    """Turn errors [N, C] into their rarities, out [N, C]."""
    for i in range(errors.shape[0]):
        for c in range(errors.shape[1]):
            out[i, c] = rarity_at(errors[i, c], rarity, quantiles[c], steepness[c])


@compiled
def rarity_at(error: float, rarity: Any, quantiles: Any, steepness: float) -> float:
    """Interpolate one error's rarity in its quantiles [M]; from 0 at an error of 0 to the tail beyond the last."""
    last = len(rarity) - 1
    if error >= quantiles[last]:
        if steepness == RUN:
            beyond = run_rarity(error) - run_rarity(quantiles[last])
        else:
            beyond = steepness * np.log10((1 + error) / (1 + quantiles[last]))
        return float(min(rarity[last] + beyond, HIGHEST_RARITY))
    place = np.searchsorted(quantiles, error, side="right")
    if place == 0:
        return float(rarity[0] * max(error, 0.0) / quantiles[0])
    share = (error - quantiles[place - 1]) / (quantiles[place] - quantiles[place - 1])
    return float(rarity[place - 1] + share * (rarity[place] - rarity[place - 1]))


class Aspects(NamedTuple):
    """Which features stand for which aspect (A of them), and how much each counts."""

    of: Any
    """int64[J]: the aspect of each judged feature."""
    shares: Any
    """float64[A]: one by the number of its features."""
    weights: Any
    """float64[4 A]: of its errors among the contributions."""


class Tails(NamedTuple):
    """How rare an error is; the columns of a `Calibration`."""

    rarity: Any
    quantiles: Any
    steepness: Any


class Weighed(NamedTuple):
    """What a scorer answers for N events; the columns of `Scores` that are weighed here, all zero before."""

    error: Any
    aspect: Any
    largest: Any
    share: Any


def weigh_events(errors: Any, aspects: Aspects, tails: Tails, weighed: Weighed) -> None:
    """Weigh each event's errors float32[N, 2 J + 1]."""
    # numba asks Python for the type of a named tuple at every call; that of a plain one it knows.
    _weigh_plain(errors, tuple(aspects), tuple(tails), tuple(weighed))


@compiled
def _weigh_plain(errors: Any, aspects: Any, tails: Any, weighed: Any) -> None:
    _weigh(errors, Aspects(*aspects), Tails(*tails), Weighed(*weighed))


@compiled
def _weigh(errors: Any, aspects: Any, tails: Any, weighed: Any) -> None:
    rarity, quantiles, steepness = tails.rarity, tails.quantiles, tails.steepness
    last = 4 * len(aspects.shares)
    sums = np.empty(last + 1)
    for i in range(len(errors)):
        add_up(errors[i], aspects.of, aspects.shares, sums)
        highest, floor, chosen = 0.0, 0, 0
        for c in range(last):
            # Most are below what the event has already reached: one look instead of a search.
            if sums[c] > quantiles[c, floor]:
                own = rarity_at(sums[c], rarity, quantiles[c], steepness[c])
                if own > highest:
                    highest, chosen = own, c
                    while floor + 1 < len(rarity) and rarity[floor + 1] <= highest:
                        floor += 1
        weighed.aspect[i] = chosen // 4
        total = _rank(errors[i], aspects, weighed.largest[i], weighed.share[i])
        highest += rarity_at(sums[last], rarity, quantiles[last], steepness[last])
        weighed.error[i] = highest if total > 0.0 else 0.0
        if total > 0.0:
            weighed.share[i] /= total


@compiled
def _rank(errors: Any, aspects: Any, largest: Any, share: Any) -> float:
    """Find the three features of one event that weigh most; returns the weight of all together."""
    total, judged = 0.0, len(aspects.of)
    for k in range(judged):
        aspect = aspects.of[k]
        sharp, plain = errors[k], errors[judged + k]
        weighed = max(
            abs(sharp) * aspects.weights[4 * aspect + (1 if sharp > 0.0 else 0)],
            abs(plain) * aspects.weights[4 * aspect + (3 if plain > 0.0 else 2)],
        )
        weighed *= aspects.shares[aspect]
        if weighed < SMALLEST_WEIGHT:
            continue
        total += weighed
        if weighed > share[2]:
            rank = 2
            while rank > 0 and weighed > share[rank - 1]:
                share[rank], largest[rank] = share[rank - 1], largest[rank - 1]
                rank -= 1
            share[rank], largest[rank] = weighed, k
    return total
