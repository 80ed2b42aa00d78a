"""The ingest pool: Ray actors, as replicas of a Serve deployment, each a member of one Kafka consumer group.

A Serve deployment and not bare actors: its replicas get health checks, restarts, a drain on shutdown, and scaling
on lag (`deployments.autoscaling`). What a member does stands in `fleet.ingest.worker`.
"""

import asyncio
import logging

from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.metrics import INTERVAL_S, IngestMetrics
from deployments.replica_logs import show_fleet_logs
from deployments.scorer_call import score_call, try_bundle
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.current import CurrentModel
from fleet.ingest.worker import IngestWorker
from fleet.settings import Settings


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
        """Publish the worker's metrics, now and then."""
        published = IngestMetrics(self._worker)
        while True:
            await asyncio.sleep(INTERVAL_S)
            published.publish()


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        logging.getLogger("ray.serve").error("ingest_stopped: %s", failure, exc_info=failure)
