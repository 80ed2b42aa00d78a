"""The ingest pool: Ray actors, as replicas of a Serve deployment, each a member of one Kafka consumer group.

A Serve deployment and not bare actors: its replicas get health checks, restarts, a drain on shutdown, and scaling
on lag (`deployments.autoscaling`). What a member does stands in `fleet.ingest.worker`.
"""

import asyncio
import logging
from collections import Counter as Counts

import grpc
import numpy as np
import ray.exceptions
from ray import serve
from ray.serve import metrics
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.replica_logs import show_fleet_logs
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.current import CurrentModel
from fleet.detection.verdicts import Scores
from fleet.errors import FleetError, ScorerUnavailableError, ScorerUnwellError, ScoringFailedError
from fleet.ingest.block_scoring import Features, ScoreCall
from fleet.ingest.worker import IngestWorker
from fleet.settings import Settings

METRICS_INTERVAL_S = 1.0
# Larger blocks travel through the object store, all others straight from process to process, over gRPC. Not for speed:
# as an actor's call, an answer to a caller that is frozen blocks the scorer for everybody until that caller is dead
# (measured: of 36 requests beside a stopped member of the pool 12 got no answer in 3 s; over gRPC all did).
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


@serve.deployment(max_ongoing_requests=8)
class Ingest:
    """One member of the pool: starts its worker with the replica and drains it at the end."""

    def __init__(self, settings: Settings, version: str, scorer: DeploymentHandle) -> None:
        show_fleet_logs()
        self._settings, self._score = settings, score_call(scorer)
        self._model = CurrentModel(settings.model.absolute_folder, settings.model.version, version)
        self._worker = IngestWorker(settings, self._model.bundle, self._score)
        self._task = asyncio.get_running_loop().create_task(self._worker.run())
        self._task.add_done_callback(_log_failure)
        self._metrics_task = asyncio.get_running_loop().create_task(self._report_metrics())
        self._model_task = asyncio.get_running_loop().create_task(self._model.follow(self._use))

    def check_health(self) -> None:
        """Fail when the worker has failed or is stuck; Serve then replaces this replica."""
        self._worker.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Feed `deployments.autoscaling.ScaleOnLag`."""
        return {
            "lag_records": float(self._worker.lag_records),
            "busy_share": self._worker.busy_share,
            "partitions": float(len(self._worker.owned_partitions)),
        }

    async def __del__(self) -> None:
        """Finish what is in flight, commit it, leave the group. Serve calls this, and later the garbage collector."""
        if not hasattr(self, "_task"):
            return
        self._metrics_task.cancel()
        self._model_task.cancel()
        self._worker.stop()
        await asyncio.wait([self._task], timeout=2 * self._settings.ingest.drain_timeout_s + 1)

    async def _use(self, bundle: ModelBundle) -> None:
        await try_bundle(self._score, bundle)
        self._worker.use(bundle)

    async def _report_metrics(self) -> None:
        """Publish the worker's counts under names that Prometheus can read."""
        events = metrics.Counter("fleet_ingest_total", description="what ingest counted, by name", tag_keys=("count",))
        lag = metrics.Gauge("fleet_ingest_lag_records", description="records behind the owned partitions")
        reported: Counts[str] = Counts()
        while True:
            await asyncio.sleep(METRICS_INTERVAL_S)
            counts = self._worker.counts.copy()
            for name, count in (counts - reported).items():
                events.inc(count, tags={"count": name})
            reported = counts
            lag.set(self._worker.lag_records)


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        logging.getLogger("ray.serve").error("ingest_stopped: %s", failure, exc_info=failure)
