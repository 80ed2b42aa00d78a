"""The ingest pool: Ray actors, as replicas of a Serve deployment, each a member of one Kafka consumer group.

A Serve deployment and not bare actors: its replicas get health checks, restarts, a drain on shutdown, and scaling
on lag (`deployments.autoscaling`). What a member does stands in `fleet.ingest.worker`.
"""

import asyncio
import logging

from ray import serve
from ray.serve import metrics
from ray.serve.handle import DeploymentHandle

from deployments.replica_logs import show_fleet_logs
from deployments.scorer_call import score_call, try_bundle
from fleet.counters import INGEST_LAG_RECORDS, INGEST_TOTAL, TAG, IngestCount
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.current import CurrentModel
from fleet.ingest.worker import IngestWorker
from fleet.settings import Settings

METRICS_INTERVAL_S = 1.0


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
        total = metrics.Counter(INGEST_TOTAL.name, INGEST_TOTAL.meaning, INGEST_TOTAL.tags)
        lag = metrics.Gauge(INGEST_LAG_RECORDS.name, INGEST_LAG_RECORDS.meaning, INGEST_LAG_RECORDS.tags)
        reported = dict.fromkeys(IngestCount, 0)
        while True:
            await asyncio.sleep(METRICS_INTERVAL_S)
            for count in IngestCount:
                if new := self._worker.counts[count] - reported[count]:
                    total.inc(new, tags={TAG: count.value})
                    reported[count] += new
            lag.set(self._worker.lag_records)


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        logging.getLogger("ray.serve").error("ingest_stopped: %s", failure, exc_info=failure)
