"""The gateway without HTTP: its view, its sockets, its scoring and its background threads, started and stopped as one.

`deployments.gateway` builds one per replica, `deployments.web.app` puts routes before it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from deployments.web.access.audit import AuditLog
from deployments.web.access.gate import Gate
from deployments.web.answers import Latency, PartitionReport, PipelineBooks, PipelineReport
from deployments.web.feed.hub import FeedHub
from deployments.web.feed.sign_in import SignIn
from deployments.web.scoring import OnDemandScoring, ScoringLimits
from deployments.web.sockets import CHECK_INTERVAL_S, SocketHub
from deployments.web.tail import PipelineSnapshot, PipelineWatch, Polled, ReplicaCounts, ScoredTail
from fleet.counters import GatewayCount
from fleet.delivery.action_log import ActionLog
from fleet.delivery.fleet_view import MAX_EPISODES, ArrivalStatistics, FleetView, LatencyPercentiles
from fleet.delivery.sender_view import SenderView
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.windows import warm_up
from fleet.ingest.block_scoring import ScoreCall
from fleet.kafka import PartitionLedger
from fleet.settings import Settings

DELIVERY_TIMEOUT_S: Final = 60.0
SOCKETS_CLOSE_TIMEOUT_S: Final = 2.0
THREAD_STOP_TIMEOUT_S: Final = 3.0
# The watch looks once a second; an older answer means that Kafka stopped answering.
STALE_AFTER_S: Final = 15.0
# Percentiles keep the event loop busy: they are computed once for all open pages, not once for each.
REPORT_LASTS_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class DeploymentNames:
    """What the two other deployments are called in this application."""

    scorer: str = "Scorer"
    ingest: str = "Ingest"


def _scoring_limits(settings: Settings) -> ScoringLimits:
    return ScoringLimits(
        events=settings.gateway.max_request_events,
        event_bytes=settings.ingest.max_event_bytes,
        block_rows=settings.scorer.max_batch_rows,
        timeout_s=settings.gateway.score_timeout_s,
    )


class GatewayCore:
    """Everything one gateway replica holds."""

    def __init__(
        self,
        settings: Settings,
        bundle: ModelBundle,
        score: ScoreCall,
        read_replicas: Callable[[], ReplicaCounts | None],
        *,
        names: DeploymentNames | None = None,
        report: Callable[["GatewayCore"], None] = lambda _: None,
    ) -> None:
        gateway = settings.gateway
        self.settings = settings
        self.audit = AuditLog()
        self.gate = Gate(settings.auth, self.audit)
        self.view = FleetView(
            max_vehicles=gateway.max_vehicles, history_events=gateway.history_events, started_at_s=time.time()
        )
        self.senders = SenderView(gateway.max_vehicles)
        self.actions = ActionLog(settings.kafka, MAX_EPISODES)
        self.sockets = SocketHub(
            batch_interval_s=gateway.batch_interval_ms / 1000,
            backlog_events=gateway.client_backlog_events,
            max_clients=gateway.max_clients,
        )
        self.feed = FeedHub(settings, SignIn(self.gate, self.audit), self.actions.handlings)
        self._score = score
        self._limits = _scoring_limits(settings)
        warm_up(bundle.plan)  # the first request must not hold the live feed up while the kernel is compiled
        self.use(bundle)
        self.tail = ScoredTail(settings.kafka, gateway.history_events, self.deliver)
        self.watch = PipelineWatch(settings.kafka, read_replicas, self._after_watch)
        self.names = names or DeploymentNames()
        self._report = report
        self._books: PipelineBooks | None = None
        self._books_due_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Task[None] | None = None

    def use(self, bundle: ModelBundle) -> None:
        """Score with this bundle from now on; requests under way keep theirs."""
        self.bundle = bundle
        self.scoring = OnDemandScoring(self._score, bundle, self._limits, self.settings.events.reading())

    async def start(self) -> None:
        """Start following and watching; Kafka need not be there yet."""
        self._loop = asyncio.get_running_loop()
        if not self.gate.is_open:
            self._watching = self._loop.create_task(self._watch_tokens())
        self.tail.start()
        self.watch.start()

    async def stop(self) -> None:
        """Close the sockets, then end the threads; each within a bounded time."""
        if self._watching is not None:
            self._watching.cancel()
        await self._close_sockets()
        await asyncio.gather(
            asyncio.to_thread(self.tail.stop, THREAD_STOP_TIMEOUT_S),
            asyncio.to_thread(self.watch.stop, THREAD_STOP_TIMEOUT_S),
        )

    def check(self) -> None:
        """Raise RuntimeError when a background thread has died."""
        self.tail.check()
        self.watch.check()

    def receive(self, polled: Polled) -> None:
        """Take what one poll brought (in the event loop): remember it, and offer what is new to every client."""
        self.view.receive_episodes(polled.episodes)
        self.senders.receive(polled.senders)
        acted_on = self.actions.receive(polled.actions)
        self.sockets.publish(self.view.receive(polled.scored, time.time()))
        self.feed.publish(polled, acted_on)

    def pipeline(self) -> PipelineReport:
        """Answer `GET /v1/pipeline`."""
        if self._books is None or time.monotonic() >= self._books_due_s:
            self._books_due_s = time.monotonic() + REPORT_LASTS_S
            self._books = pipeline_books(self.watch.snapshot, self.view.arrivals, time.time())
        return PipelineReport(
            **msgspec.structs.asdict(self._books),
            model_version=self.bundle.version,
            clients=self.sockets.clients + self.feed.clients,
            dropped=self.sockets.dropped + self.feed.lost,
            duplicates=self.view.duplicates,
            unreadable=self.unreadable,
        )

    def counts(self) -> dict[GatewayCount, int]:
        """Return what this replica counted, for its metric."""
        return {
            GatewayCount.DROPPED: self.sockets.dropped + self.feed.lost,
            GatewayCount.DUPLICATES: self.view.duplicates,
            GatewayCount.UNREADABLE: self.unreadable,
            GatewayCount.REFUSED: self.audit.refused,
            GatewayCount.EVICTED_VEHICLES: self.view.evicted_vehicles,
            GatewayCount.EVICTED_SENDERS: self.senders.evicted,
            GatewayCount.EVICTED_EPISODES: self.view.evicted_episodes,
        }

    @property
    def unreadable(self) -> int:
        """Count the records that could not be read."""
        return self.view.unreadable + self.senders.unreadable + self.actions.unreadable

    async def problems(self) -> dict[str, str]:
        """Say which parts are not ready, and why; empty when all are."""
        found = {
            "kafka": self.tail.problem or self._watch_problem(),
            "scorer": await self.scoring.why_not_ready(),
            "ingest": self._ingest_problem(),
        }
        return {part: problem for part, problem in found.items() if problem is not None}

    def _watch_problem(self) -> str | None:
        if self.watch.problem is not None:
            return self.watch.problem
        read_at_s = self.watch.snapshot.read_at_s
        if read_at_s is None or time.time() - read_at_s > STALE_AFTER_S:
            return f"The ingest group's offsets could not be read for {STALE_AFTER_S:g} s."
        return None

    def _ingest_problem(self) -> str | None:
        replicas = self.watch.snapshot.replicas
        if replicas is None or not replicas.running.get(self.names.ingest):
            return "No ingest replica is running yet: see the deployments in the Ray dashboard."
        return None

    # In the background threads ---------------------------------------------------------------------------------------

    def deliver(self, polled: Polled) -> None:
        """Take what one poll brought, and wait until the event loop has it; no more than one poll waits for it."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._receive(polled), self._loop).result(DELIVERY_TIMEOUT_S)

    async def _receive(self, polled: Polled) -> None:
        self.receive(polled)

    def _after_watch(self, snapshot: PipelineSnapshot) -> None:
        """Publish metrics; end the sockets when Serve takes this application down.

        Serve waits for open sockets before it tells the application anything, so the wish is read from its status.
        """
        self._report(self)
        if snapshot.replicas is not None and snapshot.replicas.deleting and self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._close_sockets(), self._loop)

    async def _watch_tokens(self) -> None:
        await asyncio.gather(self.sockets.watch_tokens(self.gate.still_knows), self.feed.watch_tokens(CHECK_INTERVAL_S))

    async def _close_sockets(self) -> None:
        await asyncio.gather(self.sockets.close(SOCKETS_CLOSE_TIMEOUT_S), self.feed.close(SOCKETS_CLOSE_TIMEOUT_S))


def pipeline_books(snapshot: PipelineSnapshot, arrivals: ArrivalStatistics, now_s: float) -> PipelineBooks:
    """Lay out what is known of the pipeline, in all and by partition; what Kafka has not said yet is null."""
    partitions = [_partition(entry, snapshot, arrivals, now_s) for entry in snapshot.ledgers]
    known = snapshot.read_at_s is not None

    def total(name: str) -> int | None:
        return sum(getattr(partition, name) for partition in partitions) if known else None

    oldest_s = [partition.oldest_unscored_seconds for partition in partitions]
    known_s = [age_s for age_s in oldest_s if age_s is not None]
    return PipelineBooks(
        read=total("read"),
        scored=total("scored"),
        dead_lettered=total("dead_lettered"),
        in_flight=total("in_flight"),
        keyless=total("keyless"),
        lag=total("lag"),
        # One that is not known may be the oldest.
        oldest_unscored_seconds=max(known_s, default=0.0) if known and len(known_s) == len(oldest_s) else None,
        events_per_second=round(arrivals.events_per_second(now_s), 1),
        latency_ms=_latency(arrivals.latency_ms(now_s)),
        replicas=dict(snapshot.replicas.running) if snapshot.replicas is not None else {},
        ledger_read_at=snapshot.read_at_s,
        partitions=partitions,
    )


def _partition(
    entry: PartitionLedger, snapshot: PipelineSnapshot, arrivals: ArrivalStatistics, now_s: float
) -> PartitionReport:
    ledger, behind = entry.ledger, entry.lag_records > 0
    return PartitionReport(
        partition=entry.partition,
        read=ledger.read,
        scored=ledger.scored,
        dead_lettered=ledger.dead_lettered,
        in_flight=ledger.in_flight,
        keyless=ledger.keyless,
        lag=max(entry.lag_records, 0),
        # null where there is lag but the record could not be read in time
        oldest_unscored_seconds=snapshot.oldest_unscored_s.get(entry.partition) if behind else 0.0,
        events_per_second=round(arrivals.events_per_second(now_s, entry.partition), 1),
        latency_ms=_latency(arrivals.latency_ms(now_s, entry.partition)),
    )


def _latency(percentiles: LatencyPercentiles | None) -> Latency:
    return Latency(None, None, None) if percentiles is None else Latency(*(round(value, 2) for value in percentiles))
