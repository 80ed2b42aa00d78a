"""How ingest and gateway call a scorer: what travels how, and whose fault an error is."""

import asyncio

import grpc
import numpy as np
import ray.exceptions
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Scores
from fleet.errors import FleetError, ScorerUnavailableError, ScorerUnwellError, ScoringFailedError
from fleet.ingest.block_scoring import Features, ScoreCall

# Larger blocks travel through the object store, all others straight from process to process, over gRPC. Not for speed:
# as an actor's call, an answer to a caller that is frozen blocks the scorer for everybody until that caller is dead.
MOST_DIRECT_BYTES = 3 * 1024 * 1024  # Serve's limit is 4 MiB a message
# For a scorer to load a bundle, on a machine that is busy.
TRIAL_TIMEOUT_S = 60.0


def score_call(scorer: DeploymentHandle) -> ScoreCall:
    """Adapt a handle to what the worker knows: errors, ScorerUnavailableError or ScoringFailedError."""
    direct, by_reference = scorer.options(_by_reference=False), scorer

    async def score(version: str, features: Features) -> Scores:
        handle = direct if features.nbytes <= MOST_DIRECT_BYTES else by_reference
        try:
            scores: Scores = await handle.score.remote(version, features)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise ScorerUnavailableError("the scorer gave the call up: it is ending") from None
        except Exception as error:
            raise _meaning(error) from None
        return scores

    return score


def is_cancelled() -> bool:
    """Whether this task was told to end; a CancelledError may also be what the other side answered."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _meaning(error: Exception) -> FleetError:
    """Say whether a call's error is the events' fault or the scorer's."""
    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    if isinstance(cause, ScorerUnwellError):
        return ScorerUnwellError(str(cause))
    if isinstance(cause, _AWAY):
        return ScorerUnavailableError(f"{type(cause).__name__}: {str(cause)[:200]}")
    return ScoringFailedError(str(cause)[:300])


_AWAY = (BackPressureError, DeploymentUnavailableError, RayServeException, ray.exceptions.RayError, grpc.RpcError)


async def try_bundle(score: ScoreCall, bundle: ModelBundle) -> None:
    """Have a scorer load a bundle and score a row with it. Raises what `score_call` does."""
    await asyncio.wait_for(
        score(bundle.version, np.full((1, len(bundle.features)), np.nan, np.float32)), TRIAL_TIMEOUT_S
    )
