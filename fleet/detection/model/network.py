"""The detector's network as it is served: features -> reconstruction errors and expected values, by TensorFlow.

`training.autoencoder` says what the network is and freezes it into a bundle; this runs what is there. It judges
nothing: errors become scores in `fleet.detection.attribution`, and verdicts in `fleet.detection.verdicts`.
"""

from pathlib import Path
from typing import Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.frozen_graph import FrozenGraph, FrozenGraphError
from fleet.errors import ModelBundleError

Features: TypeAlias = npt.NDArray[np.float32]

ERRORS: Final = "errors"
IMPUTED_ERRORS: Final = "imputed_errors"
EXPECTATIONS: Final = "expectations"


class Network:
    """A bundle's network, ready to score (K features, J of them judged, in G groups)."""

    def __init__(self, path: Path, threads: int) -> None:
        """Raise OSError where the file cannot be read, FrozenGraphError where it holds no such network."""
        self._graph = FrozenGraph(path.read_bytes(), (ERRORS, IMPUTED_ERRORS, EXPECTATIONS), threads)

    @classmethod
    def load(cls, bundle: ModelBundle, threads: int = 1) -> Self:
        """Load the network of `bundle`, and score an unknown row with it: TensorFlow plans a graph at its first call.

        `threads` may work inside one operation. Raises ModelBundleError where the network is none, or was made for
        other features than the manifest names.
        """
        unknown = np.full((1, len(bundle.features)), np.nan, np.float32)
        kinds = 2 * bundle.judged + 1
        wanted = (1, kinds), (1, len(bundle.plan.groups), kinds), (1, 3, bundle.judged)
        try:
            network = cls(bundle.network_path, threads)
            answers = network.errors(unknown), network.imputed_errors(unknown), network.expectations(unknown)
        except (OSError, FrozenGraphError) as mistake:
            raise _misfit(bundle, str(mistake)) from None
        if (found := tuple(answer.shape for answer in answers)) != wanted:
            raise _misfit(bundle, f"it answers {found} for a row, and not {wanted}")
        return network

    def errors(self, features: Features) -> Features:
        """Return the errors float32[N, 2 J + 1] of features float32[N, K]: sharp ones, plain ones, and the joint one.

        Squares, with the sign of the residual: too low is negative. About 1 in size on average for ordinary values; 0
        where the feature is unknown. All are finite.
        """
        return self._graph.run(ERRORS, features)

    def imputed_errors(self, features: Features) -> Features:
        """Return the errors float32[N, G, 2 J + 1] that would remain if each of the G groups were as expected."""
        return self._graph.run(IMPUTED_ERRORS, features)

    def expectations(self, features: Features) -> Features:
        """Return what the other groups say of judged features, float32[N, 3, J], each in its own unit.

        The lower bound, the expected value, the upper bound: all finite. Of the simulator's ordinary values in a city
        unseen in training 99.0 % lie between; least of the battery's level, 96.6 %, which vehicles differ in most.
        """
        return self._graph.run(EXPECTATIONS, features)


def _misfit(bundle: ModelBundle, reason: str) -> ModelBundleError:
    return ModelBundleError(
        f"{bundle.network_path} does not hold the network that its manifest describes ({reason}):"
        " train a new bundle with `fleet train`."
    )
