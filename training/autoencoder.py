"""The detector's network: a masked autoencoder that reconstructs each group of features from all the others.

The only module that imports TensorFlow's Python and Keras. Neighbours: `training.fitting` creates and trains it;
`freeze` writes what of it serves, which `fleet.detection.model.network` runs. It judges nothing: errors become verdicts
in `fleet.detection.verdicts`.

Why groups are left out: an autoencoder that may look at what it reconstructs learns to copy it, anomalies and all.
Here the connections from a group to its own reconstruction are cut by masks, as in Germain et al., "MADE: masked
autoencoder for distribution estimation", ICML 2015, so a coolant temperature is what speed, load, battery and
circumstances say it should be; what it has done lately may also be explained by its level (a cold engine warms up), but
not the other way round. For each feature the network says an expected value and a log variance; both come
from the other groups alone, so that nothing excuses itself, and missing neighbours widen the tolerance.

From value to error (J judged features out of K):
1. scaled: distance from an ordinary value in units of the ordinary spread, above and below by itself; beyond 8 units
   compressed logarithmically, so that 900 °C is a finding and not an overflow.
2. residual: (scaled - expected) / spread.
3. sharp: whitened by aspect (the features of a channel that stand for one cause), Σ^(-1/2) of its residuals: related
   features count once. In squares, these are the errors that find what contradicts the other groups.
4. plain: the squares of the scaled values, the residuals if nothing else were known. They find what is extreme
   whatever explains it: fuel that sloshes forward must not excuse the braking that made it slosh.
5. joint: the Mahalanobis length of all scaled features, which finds what no part shows alone.

Trained by the likelihood of Student's t distribution (20 degrees of freedom) and not of the Gaussian one: the faults
that hide in training data, and rare ordinary moments, would otherwise widen every tolerance.
"""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from training.lean_import import uncollected, without

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its greetings about CPU instructions and absent GPUs

# Keras loads matplotlib to draw with: a quarter of what all this takes to import. Collections are a tenth of the rest.
with without("matplotlib"), uncollected():
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from fleet.detection.features import FeaturePlan
from fleet.detection.model.frozen_graph import INPUT
from fleet.detection.model.network import ERRORS, EXPECTATIONS, IMPUTED_ERRORS

Features: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float64]

# What the network sees of a scaled value at most: further is no more information but would saturate the rest.
INPUT_LIMIT: Final = 3.0
# Beyond this, scaled values are compressed logarithmically.
LINEAR_LIMIT: Final = 8.0
# The spread that the network says, in scaled units, is a fifth at least, because a tighter fit is one to the training
# data; half of the smallest difference that means something; and all of it for a run, which measures itself.
LEAST_SPREAD: Final = 0.2
LEAST_SPREAD_IN_DIFFERENCES: Final = 0.5
LARGEST_LOG_VARIANCE: Final = 4.0
DEGREES_OF_FREEDOM: Final = 20.0
# A bound that is farther away, in scaled units, means nothing; what it is in the feature's unit still fits a float32.
FARTHEST_BOUND: Final = 60.0
WEIGHT_DECAY: Final = 1e-3


def start_runtime() -> None:
    """Let TensorFlow set itself up now, with whatever it then says on stderr, instead of at the first call."""
    tf.zeros([1])


class Masked(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """A dense layer some of whose connections are cut for good; `mask` is bool[inputs, units]."""

    def __init__(self, mask: npt.NDArray[np.bool_], name: str) -> None:
        super().__init__(name=name)
        self._mask = tf.constant(mask.astype(np.float32))
        fan_in = max(float(mask.sum(axis=0).mean()), 1.0)
        self.kernel = self.add_weight(
            shape=mask.shape, initializer=keras.initializers.RandomNormal(stddev=fan_in**-0.5), name="kernel"
        )
        self.bias = self.add_weight(shape=mask.shape[1:], initializer="zeros", name="bias")

    def effective_kernel(self) -> Any:
        """Return the kernel with its cut connections at zero."""
        return self.kernel * self._mask

    def call(self, inputs: Any) -> Any:
        """Map [N, inputs] to [N, units]."""
        return tf.matmul(inputs, self.effective_kernel()) + self.bias


class GroupNetwork(keras.Model):  # type: ignore[misc]
    """(scaled [N, K], known [N, K]) -> (expected [N, J], log variance [N, J]), and the constants around it."""

    def __init__(self, plan: FeaturePlan, units: int) -> None:
        super().__init__(name="group_network")
        group, judged = plan.group_of, len(plan.aspect_of)
        channels = plan.columns[:, 1]
        # One flag for each source of features: what else is unknown follows from it and from the length of history.
        self._flags = [int(np.flatnonzero(channels == c)[0]) for c in dict.fromkeys(channels.tolist())]
        place, tier = np.concatenate([np.arange(len(group)), self._flags]), plan.tier_of
        # Two blocks of hidden units for each group: for its levels, and for the rest, which may see the levels.
        block = 2 * group + tier
        of_block = np.repeat(np.arange(2 * len(plan.groups)), units)
        may_see = (group[:, None] != of_block // 2) | ((tier[:, None] == 0) & (of_block % 2 == 1))
        other, own = may_see[place], of_block[:, None] == block[None, :judged]
        direct = (group[:, None] != group[:judged]) | ((tier[:, None] == 0) & (tier[:judged] == 1))
        self.hidden = Masked(other, "hidden")
        self.expected = Masked(own, "expected")
        self.log_variance = Masked(own, "log_variance")
        self.direct = Masked(direct, "direct")
        self.log_variance.kernel.assign(0.1 * self.log_variance.kernel)
        self.direct.kernel.assign(tf.zeros_like(self.direct.kernel))
        width = len(group)
        self.ordinary = self._constant("ordinary", [width])
        self.spread = self._constant("spread", [2, width])
        in_differences = np.where(plan.is_run, 1.0, LEAST_SPREAD_IN_DIFFERENCES)
        self._smallest = tf.constant((in_differences * plan.smallest[:judged]).astype(np.float32))
        self.aspect_whitening = self._constant("aspect_whitening", [judged, judged])
        self.joint_whitening = self._constant("joint_whitening", [judged, judged])
        self.bounds = self._constant("bounds", [2, judged])

    def _constant(self, name: str, shape: list[int]) -> Any:
        return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)

    def call(self, scaled: Any, known: Any) -> Any:
        """Reconstruct each judged feature from the other groups."""
        seen = tf.clip_by_value(scaled, -INPUT_LIMIT, INPUT_LIMIT)
        flags = tf.gather(known, self._flags, axis=1)
        hidden = tf.tanh(self.hidden(tf.concat([seen, flags], axis=1)))
        expected = self.expected(hidden) + self.direct(seen)
        unit = tf.reduce_min(self.spread[:, : len(self._smallest)], axis=0)
        least = 2 * tf.math.log(tf.maximum(self._smallest / tf.maximum(unit, 1e-9), LEAST_SPREAD))
        return expected, tf.clip_by_value(self.log_variance(hidden), least, LARGEST_LOG_VARIANCE)


class Autoencoder:
    """The network while it is made: scores feature blocks, and is trained."""

    def __init__(self, plan: FeaturePlan, units: int) -> None:
        self.plan = plan
        self.judged = len(plan.aspect_of)
        self._network = GroupNetwork(plan, units)
        nothing = tf.zeros([1, len(plan.features)])
        self._network(nothing, nothing)  # Keras makes the weights at the first call
        self._only_much = tf.constant(plan.sides[: self.judged] > 0)
        self._only_little = tf.constant(plan.sides[: self.judged] < 0)
        self._hiding = tf.constant(_hiding_units(plan))
        block = tf.TensorSpec([None, len(plan.features)], tf.float32)
        hidden_share = tf.TensorSpec([], tf.float32)
        self._errors = _graph(self._errors_of, block)
        self._imputed = _graph(self._imputed_of, block)
        self._expectations = _graph(self._expectations_of, block)
        self._deviations = _graph(self._deviations_of, block)
        self._residuals = _graph(self._residuals_of, block)
        self._step = _graph(self._step_on, block, hidden_share)
        self._loss = _graph(self._loss_on, block)
        self._optimizer: Any = None

    @classmethod
    def create(cls, plan: FeaturePlan, ordinary: Floats, spread: Floats, units: int, seed: int) -> Self:
        """Build an untrained network for ordinary values float64[K] and their spread below and above float64[2, K]."""
        keras.utils.set_random_seed(seed)
        model = cls(plan, units)
        model._network.ordinary.assign(ordinary.astype(np.float32))
        model._network.spread.assign(spread.astype(np.float32))
        return model

    def errors(self, features: Features) -> Features:
        """Return the errors float32[N, 2 J + 1] of features float32[N, K]: sharp ones, plain ones, and the joint one.

        Squares, with the sign of the residual: too low is negative. About 1 in size on average for ordinary values; 0
        where the feature is unknown. All are finite.
        """
        errors: Features = self._errors(features).numpy()
        return errors

    def imputed_errors(self, features: Features) -> Features:
        """Return the errors float32[N, G, 2 J + 1] that would remain if each of the G groups were as expected."""
        errors: Features = self._imputed(features).numpy()
        return errors

    def expectations(self, features: Features) -> Features:
        """Return what is expected of judged features, float32[N, 3, J]: the lower bound, the value, the upper bound.

        Each is in its feature's own unit and finite; see `fleet.detection.model.network.Network.expectations`.
        """
        expectations: Features = self._expectations(features).numpy()
        return expectations

    def deviations(self, features: Features) -> Features:
        """Return (scaled - expected) / spread, float32[N, J], whichever side is a finding; NaN where unknown."""
        deviations: Features = self._deviations(features).numpy()
        return deviations

    def residuals(self, features: Features) -> Features:
        """Return (scaled - expected) / spread, float32[N, J]; 0 where the feature is unknown."""
        residuals: Features = self._residuals(features).numpy()
        return residuals

    def scaled(self, features: Features) -> Features:
        """Return scaled features float32[N, K], 0 where unknown."""
        scaled: Features = self._scaled(tf.constant(features))[0].numpy()
        return scaled

    def start_linear(self, direct: Floats) -> None:
        """Begin with a linear reconstruction float64[K, J] of the scaled features."""
        self._network.direct.kernel.assign(direct.astype(np.float32))

    def silence(self, still: npt.NDArray[np.bool_]) -> None:
        """Expect features bool[K] that never moved in training at their ordinary value, and learn nothing from them.

        Their weights were drawn and never trained: the day such a feature moves, they would disturb all others.
        """
        network, judged = self._network, still[: self.judged]
        for layer in (network.hidden, network.direct):
            kernel = layer.kernel.numpy()
            kernel[: len(still)][still] = 0.0
            layer.kernel.assign(kernel)
        for layer in (network.expected, network.direct, network.log_variance):
            kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
            kernel[:, judged] = 0.0
            bias[judged] = 0.0
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)

    def set_whitening(self, by_aspect: Floats, joint: Floats) -> None:
        """Set what decorrelates the residuals, float64[J, J] each."""
        self._network.aspect_whitening.assign(by_aspect.astype(np.float32))
        self._network.joint_whitening.assign(joint.astype(np.float32))

    def set_bounds(self, bounds: Floats) -> None:
        """Set the deviations float64[2, J] between which ordinary values lie, in spreads."""
        self._network.bounds.assign(bounds.astype(np.float32))

    def train_epoch(self, rows: Features, batch_rows: int, learning_rate: float, hidden_share: float) -> float:
        """Train once through rows float32[M, K] in the order given; returns the mean loss.

        In `hidden_share` of the rows some sources of features are hidden from the network, few or most of them.
        """
        if self._optimizer is None:
            self._optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=WEIGHT_DECAY)
            self._optimizer.build(self._network.trainable_variables)
        self._optimizer.learning_rate.assign(learning_rate)
        losses = [self._step(batch, np.float32(hidden_share)) for batch in _slices(rows, batch_rows)]
        return float(np.mean(losses))

    def loss(self, rows: Features) -> float:
        """Return the mean loss of rows float32[M, K]."""
        parts = [(float(self._loss(part)), len(part)) for part in _slices(rows, 65_536)]
        return sum(loss * count for loss, count in parts) / max(sum(count for _, count in parts), 1)

    def weights(self) -> list[Any]:
        """Return a copy of all weights."""
        copy: list[Any] = self._network.get_weights()
        return copy

    def set_weights(self, weights: list[Any]) -> None:
        """Take weights as `weights` returned them."""
        self._network.set_weights(weights)

    def freeze(self, path: Path) -> None:
        """Write what serves to `path`: the graphs of errors and expectations with the weights in them, a GraphDef."""
        outputs = {ERRORS: self._errors_of, IMPUTED_ERRORS: self._imputed_of, EXPECTATIONS: self._expectations_of}

        def served(features: Any) -> list[Any]:
            return [tf.identity(output(features), name) for name, output in outputs.items()]

        block = tf.TensorSpec([None, len(self.plan.features)], tf.float32, INPUT)
        traced = tf.function(served, input_signature=[block], autograph=False).get_concrete_function()
        path.write_bytes(convert_variables_to_constants_v2(traced).graph.as_graph_def().SerializeToString())

    def _scaled(self, features: Any) -> tuple[Any, Any]:
        """Return the scaled features, 0 where unknown, and 1.0 where they are known; both [N, K]."""
        known = tf.logical_not(tf.math.is_nan(features))
        off = features - self._network.ordinary
        spread = tf.where(off < 0, self._network.spread[0], self._network.spread[1])
        size = tf.abs(off) / spread
        size = tf.where(size > LINEAR_LIMIT, LINEAR_LIMIT + tf.math.log1p(size - LINEAR_LIMIT), size)
        return tf.where(known, tf.sign(off) * size, 0.0), tf.cast(known, tf.float32)

    def _unscaled(self, scaled: Any) -> Any:
        """Return judged features [..., J] in their own units: the inverse of the scaling."""
        size = tf.minimum(tf.abs(scaled), FARTHEST_BOUND)
        size = tf.where(size > LINEAR_LIMIT, LINEAR_LIMIT + tf.math.expm1(size - LINEAR_LIMIT), size)
        below, above = self._network.spread[0, : self.judged], self._network.spread[1, : self.judged]
        return self._network.ordinary[: self.judged] + tf.sign(scaled) * size * tf.where(scaled < 0, below, above)

    def _expectations_of(self, features: Any) -> Any:
        expected, log_variance = self._network(*self._scaled(features))
        low, high = (expected + bound * tf.exp(log_variance / 2) for bound in tf.unstack(self._network.bounds))
        return self._unscaled(tf.stack([low, expected, high], axis=1))

    def _deviations_of(self, features: Any) -> Any:
        scaled, known = (part[:, : self.judged] for part in self._scaled(features))
        expected, log_variance = self._network(*self._scaled(features))
        return tf.where(known > 0, (scaled - expected) * tf.exp(-log_variance / 2), np.nan)

    def _residual(self, scaled: Any, known: Any) -> tuple[Any, Any, Any]:
        """Return the residuals by what the other groups say, and if they said nothing, 0 where unknown; and all values.

        Among the values, [N, J] each, what is unknown is what is expected of it.
        """
        expected, log_variance = self._network(scaled, known)
        value, known = scaled[:, : self.judged], known[:, : self.judged]
        # Nothing lost is no loss, even where the network, unsure of itself, expects less than nothing.
        expected = tf.where(self._only_much, tf.maximum(expected, 0.0), expected)
        sharp = (value - expected) * tf.exp(-log_variance / 2) * known
        residual, plain = map(self._on_its_side, (sharp, value * known))
        return residual, plain, tf.where(known > 0, value, expected)

    def _on_its_side(self, off: Any) -> Any:
        """Return what of deviations [N, J] is a finding."""
        off = tf.where(self._only_much, tf.maximum(off, 0.0), off)
        return tf.where(self._only_little, tf.minimum(off, 0.0), off)

    def _errors_from(self, residual: Any, plain: Any, values: Any) -> Any:
        # Whitening spreads a residual over its aspect; what is unknown, or not too much, still has no error.
        sharp = tf.where(residual == 0.0, 0.0, tf.matmul(residual, self._network.aspect_whitening))
        whitened = tf.matmul(values, self._network.joint_whitening)
        joint = tf.reduce_mean(tf.square(whitened), axis=1, keepdims=True)
        return tf.concat([sharp * tf.abs(sharp), plain * tf.abs(plain), joint], axis=1)

    def _errors_of(self, features: Any) -> Any:
        return self._errors_from(*self._residual(*self._scaled(features)))

    def _imputed_of(self, features: Any) -> Any:
        scaled, known = self._scaled(features)
        expected, _ = self._network(scaled, known)
        padding = tf.zeros_like(scaled[:, self.judged :])
        expected = tf.concat([expected, padding], axis=1)
        # All groups in one block [G N, K]: a graph with the network in it once is traced in a fifth of the time.
        groups, width = len(self.plan.groups), len(self.plan.group_of)
        inside = self.plan.group_of == np.arange(groups)[:, None]
        witness = inside & (np.arange(width) >= self.judged)
        imputed = tf.where(tf.constant(inside[:, None]) & (known > 0), expected, scaled)
        visible = tf.where(tf.constant(witness[:, None]), 0.0, known)  # nothing is expected of a witness: not heard
        flat = (tf.reshape(values, [-1, width]) for values in (imputed, visible))
        remaining = self._errors_from(*self._residual(*flat))
        return tf.transpose(tf.reshape(remaining, [groups, -1, 2 * self.judged + 1]), [1, 0, 2])

    def _residuals_of(self, features: Any) -> Any:
        return self._residual(*self._scaled(features))[0]

    def _negative_log_likelihood(self, scaled: Any, known: Any, shown: Any) -> Any:
        expected, log_variance = self._network(scaled * shown, known * shown)
        off = tf.square(scaled[:, : self.judged] - expected) * tf.exp(-log_variance)
        nu = DEGREES_OF_FREEDOM
        terms = ((nu + 1) / 2 * tf.math.log1p(off / nu) + log_variance / 2) * known[:, : self.judged]
        return tf.reduce_sum(terms) / (tf.reduce_sum(known[:, : self.judged]) + 1.0)

    def _step_on(self, features: Any, hidden_share: Any) -> Any:
        scaled, known = self._scaled(features)
        shown = self._shown(tf.shape(features)[0], hidden_share)
        with tf.GradientTape() as tape:
            loss = self._negative_log_likelihood(scaled, known, shown)
        variables = self._network.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def _loss_on(self, features: Any) -> Any:
        scaled, known = self._scaled(features)
        return self._negative_log_likelihood(scaled, known, tf.ones_like(known))

    def _shown(self, rows: Any, hidden_share: Any) -> Any:
        """Draw which features each row shows: sources are hidden as a whole, in some rows few, in some most."""
        lot = tf.random.uniform([rows, 1])
        share = tf.where(lot < hidden_share, 0.15, 0.0)
        share = tf.where(lot < hidden_share * 0.4, 0.6, share)
        share = tf.where(lot < hidden_share * 0.2, 0.9, share)
        hidden = tf.cast(tf.random.uniform([rows, self._hiding.shape[0]]) < share, tf.float32)
        return 1.0 - tf.matmul(hidden, self._hiding)


def _graph(function: Callable[..., Any], *inputs: Any) -> Any:
    """Return a function that is traced at its first call, once, for blocks of any size.

    No XLA: it compiles anew for every block size. No AutoGraph: no statement here depends on a tensor, and reading the
    source for some that might takes half of the time that a scorer needs to load a model. What was traced is called
    itself: looking at the arguments, to find it again each time, is a large part of a call with few rows.
    """
    graph = tf.function(function, input_signature=inputs, jit_compile=False, autograph=False)
    traced = cache(graph.get_concrete_function)
    return lambda *values: traced()(*map(tf.constant, values))


def _hiding_units(plan: FeaturePlan) -> Features:
    """Return float32[H, K]: features that go missing together, because they come from one channel."""
    channels = plan.columns[:, 1]
    return np.stack([channels == c for c in dict.fromkeys(channels.tolist())]).astype(np.float32)


def _slices(rows: Features, size: int) -> Iterator[Features]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
