"""What ingest and gateway publish for Prometheus, by the names of the catalogue (`fleet.counters`).

A histogram is published as its three series, each a gauge that only grows: Ray's own histogram takes one value a call,
and an event each would cost more than scoring it.
"""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Final, get_args

from ray.serve import metrics

from deployments.web.core import GatewayCore
from fleet import counters
from fleet.counters import BOUND_TAG, FINDING_TAG, LEG_TAG, PARTITION_TAG, VERSION_TAG, Metric
from fleet.histograms import Histogram
from fleet.ingest.worker import IngestWorker
from fleet.records.sender import FindingKind

INTERVAL_S: Final = 5.0  # Ray hands them to its node's endpoint every 10 s


class _Gauge:
    def __init__(self, metric: Metric) -> None:
        self._gauge = metrics.Gauge(metric.name, metric.meaning, metric.tags)

    def set(self, value: float, **tags: str) -> None:
        self._gauge.set(value, tags=tags)


class _Total:
    """A counter by one tag, fed from counts that only grow."""

    def __init__(self, metric: Metric) -> None:
        self._counter = metrics.Counter(metric.name, metric.meaning, metric.tags)
        [self._tag] = metric.tags
        self._published: Counter[str] = Counter()

    def publish(self, counts: Iterable[tuple[str, int]]) -> None:
        for name, count in list(counts):
            if new := count - self._published[name]:
                self._counter.inc(new, tags={self._tag: str(name)})
                self._published[name] = count


class _Distribution:
    def __init__(self, metric: Metric) -> None:
        names = (("_bucket", (*metric.tags, BOUND_TAG)), ("_sum", metric.tags), ("_count", metric.tags))
        self._buckets, self._sum, self._count = (
            metrics.Gauge(f"{metric.name}{suffix}", metric.meaning, tags) for suffix, tags in names
        )

    def publish(self, histogram: Histogram, **tags: str) -> None:
        counts = histogram.cumulative()
        for bound, count in zip((*histogram.bounds, float("inf")), counts, strict=True):
            self._buckets.set(count, tags={**tags, BOUND_TAG: "+Inf" if bound == float("inf") else f"{bound:g}"})
        self._sum.set(histogram.sum, tags=tags)
        self._count.set(counts[-1], tags=tags)


class _ModelInfo:
    """Always 1 for the bundle that serves; 0 for those before it."""

    def __init__(self) -> None:
        self._gauge = _Gauge(counters.MODEL_INFO)
        self._version: str | None = None

    def publish(self, version: str) -> None:
        if self._version not in (None, version):
            self._gauge.set(0, **{VERSION_TAG: str(self._version)})
        self._version = version
        self._gauge.set(1, **{VERSION_TAG: version})


class IngestMetrics:
    """The metrics of one member of the pool."""

    def __init__(self, worker: IngestWorker) -> None:
        self._worker = worker
        self._total, self._lag = _Total(counters.INGEST_TOTAL), _Gauge(counters.INGEST_LAG_RECORDS)
        self._busy = _Gauge(counters.INGEST_BUSY_RATIO)
        self._episodes, self._legs = _Total(counters.EPISODES_OPENED_TOTAL), _Distribution(counters.EVENT_SECONDS)
        self._turn_records = _Distribution(counters.TURN_RECORDS)
        self._commit_seconds = _Distribution(counters.COMMIT_SECONDS)
        self._commit_records = _Distribution(counters.COMMIT_RECORDS)
        self._model = _ModelInfo()

    def publish(self) -> None:
        """Publish all of them as they are now."""
        worker, measures = self._worker, self._worker.measures
        self._total.publish(worker.counts.items())
        self._lag.set(worker.lag_records)
        self._busy.set(worker.busy_share)
        self._episodes.publish(measures.episodes_by_cause.items())
        for leg, histogram in measures.legs.items():
            self._legs.publish(histogram, **{LEG_TAG: leg.value})
        self._turn_records.publish(measures.turn_records)
        self._commit_seconds.publish(measures.commit_seconds)
        self._commit_records.publish(measures.commit_records)
        self._model.publish(worker.model_version)


class GatewayMetrics:
    """The metrics of one gateway replica, and of the partitions as it sees them."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._total = _Total(counters.GATEWAY_TOTAL)
        self._clients, self._limit = _Gauge(counters.GATEWAY_CLIENTS), _Gauge(counters.GATEWAY_CLIENTS_LIMIT)
        self._legs, self._model = _Distribution(counters.EVENT_SECONDS), _ModelInfo()
        self._findings = _Gauge(counters.SENDERS_WITH_FINDINGS)
        self._read_at = _Gauge(counters.LEDGER_READ_TIMESTAMP_SECONDS)
        self._lag, self._oldest = _Gauge(counters.PARTITION_LAG_RECORDS), _Gauge(counters.PARTITION_OLDEST_SECONDS)
        self._unbalanced = _Gauge(counters.PARTITION_UNBALANCED_RECORDS)

    def publish(self, core: GatewayCore) -> None:
        """Publish all of them as they are now; at most once in a while."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + INTERVAL_S
        self._total.publish(core.counts().items())
        self._clients.set(core.sockets.clients + core.feed.clients)
        self._limit.set(core.settings.gateway.max_clients)
        for leg, histogram in core.view.arrivals.legs.items():
            self._legs.publish(histogram, **{LEG_TAG: leg.value})
        self._model.publish(core.bundle.version)
        findings = core.senders.counts()
        for kind in get_args(FindingKind):
            self._findings.set(findings[kind], **{FINDING_TAG: kind})
        self._publish_partitions(core)

    def _publish_partitions(self, core: GatewayCore) -> None:
        snapshot = core.watch.snapshot
        if snapshot.read_at_s is not None:
            self._read_at.set(snapshot.read_at_s)
        for entry in snapshot.ledgers:
            partition, ledger = {PARTITION_TAG: str(entry.partition)}, entry.ledger
            self._lag.set(max(entry.lag_records, 0), **partition)
            self._unbalanced.set(ledger.read - ledger.scored - ledger.dead_lettered - ledger.in_flight, **partition)
            # Where there is lag and its oldest record was not read in time, the last age stands until it fades.
            if entry.lag_records <= 0 or entry.partition in snapshot.oldest_unscored_s:
                self._oldest.set(snapshot.oldest_unscored_s.get(entry.partition, 0.0), **partition)
