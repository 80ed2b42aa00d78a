"""What was expected of the features that weigh most in an alarm, between which bounds: as it travels with a result.

`training.autoencoder` says where the numbers come from, `fleet.detection.attribution` asks for them. Values, means and
changes have an expected one. Runs, steps and excesses have none: what is expected of them is that there are none.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.features import Feature, FeaturePlan
from fleet.events.fields import Expected

Float32s: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float64]
Int16s: TypeAlias = npt.NDArray[np.int16]

_VALUES: Final = frozenset({"level", "mean5", "mean30"})
_CHANGES: Final = frozenset({"fast", "medium", "slow", "drift"})
# Of the formulas, those whose result may be below 0.
_TWO_SIDED_FORMULAS: Final = frozenset({None, "rate", "travel_error"})
# Numbers are rounded to a hundredth of what the bounds leave room for.
_DECIMALS_OF_WIDTH: Final = 2
_MOST_DECIMALS: Final = 6


def possible_values(plan: FeaturePlan) -> Floats:
    """Return the least and the largest value float64[2, J] that judged features can have.

    Infinite where a channel has no range; NaN for features that have no expected value.
    """
    return np.array([_possible(plan, feature) for feature in plan.features if feature.cause]).T


def expected_values(
    expectations: Float32s, largest: Int16s, share: Float32s, possible: Floats, names: Sequence[str]
) -> list[Expected]:
    """Return what was expected of the features `largest` int16[M, 3] of M events, where their `share` is above 0.

    `expectations` is float32[M, 3, J]: lower bounds, values, upper bounds. `possible` is of `possible_values`.
    """
    of_largest = np.take_along_axis(expectations, largest[:, None].astype(np.intp), axis=2).astype(np.float64)
    least, most = possible[:, None, largest].transpose(0, 2, 1, 3)
    rounded = _rounded(np.clip(of_largest, least, most)).transpose(0, 2, 1)
    is_said = (share > 0) & ~np.isnan(rounded[..., 1])
    return [
        {names[feature]: tuple(values) for feature, values, said in zip(*event, strict=True) if said}
        for event in zip(largest.tolist(), rounded.tolist(), is_said.tolist(), strict=True)
    ]


def _possible(plan: FeaturePlan, feature: Feature) -> tuple[float, float]:
    channel = plan.spec.channels[feature.channel]
    bounds = channel.range or channel.limits
    if feature.channel < 0 or channel.formula not in _TWO_SIDED_FORMULAS or feature.kind not in _VALUES | _CHANGES:
        return np.nan, np.nan
    return bounds if bounds and feature.kind in _VALUES else (-np.inf, np.inf)


def _rounded(values: Floats) -> Floats:
    """Round bounds and values float64[M, 3, 3] to digits that their distance makes sensible."""
    width = np.maximum(values[:, 2] - values[:, 0], 10.0**-_MOST_DECIMALS)
    unit = 10.0 ** np.clip(_DECIMALS_OF_WIDTH - np.floor(np.log10(width)), 0, _MOST_DECIMALS)
    rounded: Floats = np.round(values * unit[:, None]) / unit[:, None]
    return rounded
