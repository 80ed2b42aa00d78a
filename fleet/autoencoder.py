"""The detector's network: a denoising autoencoder that scores an event on the signals it has.

The only module that imports TensorFlow. Neighbours: `deployments.scorer` loads it from a `fleet.model_bundle` and
sends feature blocks; `training` creates and trains it. It judges nothing: errors become verdicts in
`fleet.scoring`.

Features are scaled, on either side of the mean by itself (an engine may be 60 °C below its usual temperature, but not
20 °C above); unknown ones are set to the mean and said to be unknown (a mask of the same width). An encoder
of saturating units squeezes them through a bottleneck, so that values outside what training saw cannot be
reproduced; the decoder is given the bottleneck, the conditions (features that are told, not judged) and the mask. A
second head, which sees the mask and the conditions alone, says how far reconstructions usually are off, so that a
missing signal widens the tolerance of what it would have explained. A head that also saw the measured values was
rejected: an anomaly could then excuse itself. Trained by Gaussian likelihood, as in Nix and Weigend, "Estimating the
mean and variance of the target probability distribution", 1994.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its greetings about CPU instructions and absent GPUs

import keras
import tensorflow as tf

from fleet.errors import ModelBundleError
from fleet.model_bundle import LayerSizes, ModelBundle

Features: TypeAlias = npt.NDArray[np.float32]

# What the encoder sees of a scaled value: beyond it, further is no more information but would saturate the rest.
INPUT_LIMIT: Final = 3.0
# What a scaled value may be in an error: its square, divided by the smallest variance, fits a float32.
SCALED_LIMIT: Final = 1e6
# Bounds of the spread's log variance in scaled units. A fifth of the scale at least: a tighter fit than that is one
# to the simulator, not to vehicles.
LOG_VARIANCE: Final = (float(np.log(0.2**2)), 4.0)
# Weight in training of known signals that were hidden from the input, beside those that were shown.
HIDDEN_WEIGHT: Final = 0.3
WARM_SIZES: Final = (1, 32, 512, 4096)

logger = logging.getLogger(__name__)


def limit_threads(threads: int) -> None:
    """Let TensorFlow use `threads` threads inside an operation and one across; to be called before any other use."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # its pools exist already: slower or greedier, not wrong
        logger.warning("tensorflow_threads_unchanged", extra={"threads": threads})


def start_runtime() -> None:
    """Let TensorFlow set itself up now, with whatever it then says on stderr, instead of at the first call."""
    tf.zeros([1])


class Autoencoder:
    """Scores feature blocks (K features); `load` makes one that serves, `create` one that is to be trained."""

    def __init__(self, network: keras.Model, mean: Features, scale: Features, judged: npt.NDArray[np.bool_]) -> None:
        self._network = network
        self._mean, self._scale = tf.constant(mean), tf.constant(scale)
        self._judged = tf.constant(judged.astype(np.float32))
        width = len(mean)
        block = tf.TensorSpec([None, width], tf.float32)
        # No XLA: it compiles anew for every block size.
        self._errors = tf.function(self._errors_of, input_signature=[block], jit_compile=False)
        self._step = tf.function(self._step_on, input_signature=[block, block], jit_compile=False)
        self._optimizer: Any = None

    @classmethod
    def load(cls, bundle: ModelBundle) -> Self:
        """Build the network of `bundle`, load its weights, trace and warm it.

        Raises ModelBundleError when the weights do not fit the layers that the manifest names.
        """
        network = _network(bundle.judged, bundle.layers)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of layers that it found no weights for
                network.load_weights(bundle.weights_path)
        except (ValueError, OSError, KeyError, UserWarning) as mismatch:
            raise ModelBundleError(
                f"{bundle.weights_path} does not hold the weights of the layers that its manifest names"
                f" ({str(mismatch).splitlines()[0]}): train a new bundle with `fleet train`."
            ) from None
        model = cls(network, bundle.mean, bundle.scale, bundle.judged)
        for size in WARM_SIZES:
            model.errors(np.full((size, len(bundle.features)), np.nan, np.float32))
        return model

    @classmethod
    def create(
        cls, mean: Features, scale: Features, judged: npt.NDArray[np.bool_], layers: LayerSizes, seed: int
    ) -> Self:
        """Build an untrained network for mean float32[K], scale float32[2, K] and judged bool[K]."""
        keras.utils.set_random_seed(seed)
        return cls(_network(judged, layers), mean, scale, judged)

    def errors(self, features: Features) -> Features:
        """Return the squared scaled reconstruction error float32[N, K] of each feature float32[N, K].

        About 1 on average for an ordinary value; NaN where the feature is unknown, 0 for conditions, else finite.
        """
        errors: Features = self._errors(features).numpy()
        return errors

    def train_epoch(self, shown: Features, target: Features, batch_rows: int, learning_rate: float) -> float:
        """Train once through rows float32[M, K], reconstructing `target` from `shown`; returns the mean loss.

        `shown` is `target` with some values hidden (NaN). The rows are taken in the order given.
        """
        if self._optimizer is None:
            self._optimizer = keras.optimizers.Adam(learning_rate)
            self._optimizer.build(self._network.trainable_variables)
        self._optimizer.learning_rate.assign(learning_rate)
        losses = [
            self._step(a, b) for a, b in zip(_slices(shown, batch_rows), _slices(target, batch_rows), strict=True)
        ]
        return float(np.mean(losses))

    def save_weights(self, path: Path) -> None:
        """Write the weights; `path` ends in `.weights.h5`."""
        self._network.save_weights(path)

    def _scaled(self, features: Any) -> tuple[Any, Any]:
        """Return the scaled features, 0 where unknown, and 1.0 where they are known; both [N, K]."""
        known = tf.logical_not(tf.math.is_nan(features))
        off = features - self._mean
        scaled = off / tf.where(off < 0, self._scale[0], self._scale[1])
        scaled = tf.clip_by_value(scaled, -SCALED_LIMIT, SCALED_LIMIT)
        return tf.where(known, scaled, 0.0), tf.cast(known, tf.float32)

    def _errors_of(self, features: Any) -> Any:
        scaled, known = self._scaled(features)
        expected, log_variance = self._network([scaled, known])
        errors = tf.square(scaled - expected) * tf.exp(-log_variance) * self._judged
        return tf.where(known > 0, errors, np.float32(np.nan))

    def _step_on(self, shown: Any, target: Any) -> Any:
        wanted, known = self._scaled(target)
        scaled, visible = self._scaled(shown)
        weight = self._judged * known * (HIDDEN_WEIGHT + (1 - HIDDEN_WEIGHT) * visible)
        with tf.GradientTape() as tape:
            expected, log_variance = self._network([scaled, visible])
            likelihood = tf.square(wanted - expected) * tf.exp(-log_variance) + log_variance
            loss = tf.reduce_sum(likelihood * weight) / tf.reduce_sum(weight)
        variables = self._network.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss


def _network(judged: npt.NDArray[np.bool_], layers: LayerSizes) -> keras.Model:
    """Build (scaled [N, K], known [N, K]) -> (expected [N, K], log variance [N, K])."""
    width = len(judged)
    conditions = np.flatnonzero(~judged).tolist()
    scaled = keras.Input([width], name="scaled")
    known = keras.Input([width], name="known")
    seen = keras.ops.clip(scaled, -INPUT_LIMIT, INPUT_LIMIT)
    told = keras.ops.concatenate([keras.ops.take(seen, conditions, axis=1), known], axis=1)
    hidden = _dense(layers.encoder, "encoder")(keras.ops.concatenate([seen, known], axis=1))
    squeezed = _dense(layers.bottleneck, "bottleneck")(hidden)
    hidden = _dense(layers.decoder, "decoder")(keras.ops.concatenate([squeezed, told], axis=1))
    expected = keras.layers.Dense(width, name="expected")(hidden)
    hidden = _dense(layers.spread, "spread")(told)
    spread = keras.layers.Dense(width, name="log_variance")(keras.ops.concatenate([hidden, told], axis=1))
    return keras.Model([scaled, known], [expected, keras.ops.clip(spread, *LOG_VARIANCE)])


def _dense(units: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(units, activation="tanh", name=name)


def _slices(rows: Features, size: int) -> Iterator[Features]:
    starts: Sequence[int] = range(0, len(rows), size)
    return (rows[start : start + size] for start in starts)
