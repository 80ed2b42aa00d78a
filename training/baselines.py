"""The simple detectors that the shipped one must beat, on the same rows of features.

Neighbours: `training.evaluate` and the backtest fit them on ordinary rows and hand their scores to
`training.metrics`. Each has `fit(features)` and `score(features)`, larger = more anomalous, on float32[M, K] with
NaN = unknown, which they set to the mean: that they cannot say "unknown" is part of what they are.

`PcaResidual`, `Mahalanobis`, `LargestDeviation` and `NearestNeighbours` are meant for the windowed features that the
detector sees; `OriginAutoencoder` is the origin system's model and gets the raw values of a row. TensorFlow is imported
when that one is fitted, and nowhere else here.
"""

from collections.abc import Iterator
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Features: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float64]

_BLOCK_ROWS: Final = 65_536
# Each of these rows is compared with thousands.
_NEIGHBOUR_ROWS: Final = 2_048
# Eigenvalues below this share of the mean one are raised to it: duplicates of a feature would be divided by zero.
_LEAST_EIGENVALUE: Final = 1e-6


class Baseline(Protocol):
    """A detector that learns from ordinary rows."""

    name: str

    def fit(self, features: Features) -> None:
        """Learn from float32[M, K], M ≥ 2; features without a known value are left out of the score."""

    def score(self, features: Features) -> Floats:
        """Return float64[M], larger = more anomalous."""


def windowed_baselines() -> tuple[Baseline, ...]:
    """Return new baselines for windowed features, unfitted."""
    return PcaResidual(), Mahalanobis(), LargestDeviation(), NearestNeighbours()


class _Scaling:
    """Mean and standard deviation by feature; constant ones are only centred, as everyone's StandardScaler does."""

    def __init__(self, features: Features) -> None:
        known = ~np.isnan(features)
        count = np.maximum(known.sum(axis=0), 1)
        self._mean = np.where(known, features, 0).sum(axis=0, dtype=np.float64) / count
        square = np.zeros(features.shape[1])
        for block in _blocks(features):
            off = np.nan_to_num(block - self._mean)
            square += (off**2).sum(axis=0)
        deviation = np.sqrt(square / count)
        constant = deviation <= 1e-7 * np.abs(self._mean)
        self._scale = np.where(constant, 1.0, deviation)
        self.ever_known = known.any(axis=0)

    def scaled(self, features: Features) -> Iterator[Floats]:
        """Yield float64 blocks of rows: unknown is 0, the mean; so are features that were never known."""
        for block in _blocks(features):
            yield np.where(self.ever_known & ~np.isnan(block), (block - self._mean) / self._scale, 0.0)

    def covariance(self, features: Features) -> Floats:
        """Return the second moments float64[K, K] of the scaled rows."""
        total = np.zeros((features.shape[1],) * 2)
        for block in self.scaled(features):
            total += block.T @ block
        return total / len(features)


class LargestDeviation:
    """The largest |z| of a row's features."""

    name = "max |z|"

    def fit(self, features: Features) -> None:
        """Learn mean and standard deviation."""
        self._scaling = _Scaling(features)

    def score(self, features: Features) -> Floats:
        """Return the largest distance from the mean, in standard deviations."""
        return _by_block(np.abs(block).max(axis=1) for block in self._scaling.scaled(features))


class PcaResidual:
    """What is left of a row beside the principal components that explain 95 % of the variance."""

    name = "PCA residual"

    def __init__(self, explained: float = 0.95) -> None:
        """Keep the fewest components that explain the share `explained`, but not all of them."""
        self._explained = explained

    def fit(self, features: Features) -> None:
        """Learn scaling and components."""
        self._scaling = _Scaling(features)
        variance, directions = np.linalg.eigh(self._scaling.covariance(features))
        share = np.cumsum(variance[::-1]) / max(variance.sum(), np.finfo(float).tiny)
        self.components = min(int(np.searchsorted(share, self._explained)) + 1, len(variance) - 1)
        self._rest = directions[:, : len(variance) - self.components]

    def score(self, features: Features) -> Floats:
        """Return the squared length of the residual."""
        return _by_block(((block @ self._rest) ** 2).sum(axis=1) for block in self._scaling.scaled(features))


class Mahalanobis:
    """The Mahalanobis distance with a shrunk covariance."""

    name = "Mahalanobis"

    def fit(self, features: Features) -> None:
        """Learn scaling and covariance."""
        self._scaling = _Scaling(features)
        covariance = self._scaling.covariance(features)
        fourth = sum(float(((block**2).sum(axis=1) ** 2).sum()) for block in self._scaling.scaled(features))
        variance, directions = np.linalg.eigh(shrunk(covariance, fourth, len(features)))
        floor = _LEAST_EIGENVALUE * max(variance.mean(), np.finfo(float).tiny)
        self._whitening = directions / np.sqrt(np.maximum(variance, floor))

    def score(self, features: Features) -> Floats:
        """Return the distance from the mean."""
        blocks = self._scaling.scaled(features)
        return _by_block(np.sqrt(((block @ self._whitening) ** 2).sum(axis=1)) for block in blocks)


class NearestNeighbours:
    """The distance to the fifth nearest of some thousand ordinary rows, in standard deviations."""

    name = "nearest neighbours"

    def __init__(self, neighbours: int = 5, most_rows: int = 4_000) -> None:
        """Compare with at most `most_rows` rows, drawn evenly."""
        self._neighbours, self._most_rows = neighbours, most_rows

    def fit(self, features: Features) -> None:
        """Keep ordinary rows."""
        self._scaling = _Scaling(features)
        step = max(1, -(-len(features) // self._most_rows))
        self._rows = np.concatenate(list(self._scaling.scaled(features[::step])))
        self._place = min(self._neighbours, len(self._rows)) - 1

    def score(self, features: Features) -> Floats:
        """Return the distance to the nearest rows."""
        parts = np.array_split(features, max(1, -(-len(features) // _NEIGHBOUR_ROWS)))
        return _by_block(self._distance(block) for part in parts for block in self._scaling.scaled(part))

    def _distance(self, block: Floats) -> Floats:
        square = (block**2).sum(axis=1)[:, None] + (self._rows**2).sum(axis=1) - 2 * block @ self._rows.T
        nearest: Floats = np.partition(square, self._place, axis=1)[:, self._place]
        return np.sqrt(np.maximum(nearest, 0.0))


def shrunk(covariance: Floats, fourth_moments: float, rows: int) -> Floats:
    """Return Ledoit and Wolf's estimate of a covariance: the sample's, drawn towards a multiple of the identity.

    Ledoit, Wolf: "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate
    Analysis 88, 2004, equations (14) and lemmas 3.2 to 3.5. With S the sample covariance of n centred rows x of length
    p, and ‖A‖² = tr(AA')/p: m = tr(S)/p, d² = ‖S - m I‖², b² = min(d², Σ ‖xx' - S‖² / n²), and the estimate is
    (b²/d²) m I + (1 - b²/d²) S. The sum is Σ (x'x)² / p - n ‖S‖², so that no row's matrix is ever built.

    Args:
        covariance: S, float64[K, K].
        fourth_moments: Σ (x'x)² over the rows.
        rows: n.

    """
    size = len(covariance)
    identity = np.eye(size)
    mean_variance = np.trace(covariance) / size
    square = (covariance**2).sum() / size
    distance = ((covariance - mean_variance * identity) ** 2).sum() / size
    if distance == 0:
        return covariance
    error = min(distance, max(fourth_moments / size - rows * square, 0.0) / rows**2)
    weight = error / distance
    estimate: Floats = weight * mean_variance * identity + (1 - weight) * covariance
    return estimate


class OriginAutoencoder:
    """The origin system's dense autoencoder on a row's raw values: K - K/2 - K/2 - K, mean squared error.

    With its ten features these are 10-5-5-10. Hidden layers are rectified, the output is linear, the optimizer is Adam
    at its defaults, values are standardised. The origin trained on 5 % anomalies; this one on the rows it is given.
    """

    name = "origin's autoencoder"

    def __init__(self, seed: int = 0, epochs: int = 30, batch_rows: int = 256, most_rows: int = 100_000) -> None:
        """Train for `epochs` on at most `most_rows` rows, drawn evenly."""
        self._seed, self._epochs, self._batch_rows, self._most_rows = seed, epochs, batch_rows, most_rows

    def fit(self, features: Features) -> None:
        """Learn scaling and weights."""
        import keras

        self._scaling = _Scaling(features)
        step = max(1, -(-len(features) // self._most_rows))
        rows = np.concatenate(list(self._scaling.scaled(features[::step]))).astype(np.float32)
        width, hidden = features.shape[1], max(1, features.shape[1] // 2)
        keras.utils.set_random_seed(self._seed)
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((width,)),
                layers.Dense(hidden, activation="relu"),
                layers.Dense(hidden, activation="relu"),
                layers.Dense(width),
            ]
        )
        model.compile(optimizer="adam", loss="mse")
        model.fit(rows, rows, batch_size=self._batch_rows, epochs=self._epochs, verbose=0)
        self._layers: list[list[Any]] = [layer.get_weights() for layer in model.layers]

    def score(self, features: Features) -> Floats:
        """Return the mean squared error of the reconstruction."""
        return _by_block(
            ((self._reconstructed(block) - block) ** 2).mean(axis=1) for block in self._scaling.scaled(features)
        )

    def _reconstructed(self, block: Floats) -> Floats:
        """Apply the layers: three small products need no TensorFlow."""
        for number, (weights, bias) in enumerate(self._layers):
            block = block @ weights + bias
            if number < len(self._layers) - 1:
                block = np.maximum(block, 0.0)
        return block


def _blocks(features: Features) -> Iterator[Floats]:
    for first in range(0, len(features), _BLOCK_ROWS):
        yield features[first : first + _BLOCK_ROWS].astype(np.float64)


def _by_block(scores: Iterator[Floats]) -> Floats:
    return np.concatenate([np.empty(0), *scores])
