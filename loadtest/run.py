"""One load test from its start to its figures: readers and clients first, then the producers, then a bounded wait.

Neighbours: `producers` run `generator`, `clients` run `locust_clients`, `readers` take what comes out, `monitor`
watches the pipeline; `report` puts it into words, `verdict` judges it, `page` draws it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loadtest.arrivals import Arrivals
from loadtest.client_plan import ClientPlan, Findings
from loadtest.clients import Clients
from loadtest.generator import Load, Produced
from loadtest.monitor import PipelineMonitor, PipelineSeries
from loadtest.producers import Producers
from loadtest.readers import Reader, ScoredTopicReader, WebSocketReader
from simulator.pacing import Stop
from simulator.sender import Progress

PROGRESS_INTERVAL_S = 5.0
CHECK_INTERVAL_S = 0.1
PLACING_S = 0.3  # from "all are ready" to the first due time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load test found."""

    load: Load
    produced: Produced
    readers: Sequence[Reader]
    clients: ClientPlan | None = None
    findings: Findings | None = None
    pipeline: PipelineSeries | None = None
    start_s: float = 0.0
    is_stopped: bool = field(default=False, kw_only=True)
    """Somebody ended it early: its figures are of a part of the profile."""

    def lost(self, reader: Reader) -> int:
        """How many events Kafka had acknowledged and this reader never saw."""
        return max(self.produced.progress.acknowledged - reader.arrivals.unique, 0)

    def feed_lost(self) -> int | None:
        """How many events the feed's clients never saw, over all of them; None where that cannot be told."""
        if self.findings is None or (self.clients and not self.clients.counts_losses):
            return None
        return self.findings.feed_lost(self.produced.progress.acknowledged)

    @property
    def is_clean(self) -> bool:
        """Whether everything arrived exactly once and in order, everywhere, and every request was answered."""
        books_are_clean = all(
            not (self.lost(reader) or reader.arrivals.duplicates or reader.arrivals.reordered or reader.failure)
            for reader in self.readers
        )
        progress = self.produced.progress
        return books_are_clean and not progress.failed and not progress.waiting and not self._has_client_failures()

    def _has_client_failures(self) -> bool:
        if self.findings is None:
            return False
        has_failed = any(measured.failed for measured in (self.findings.feed, *self.findings.requests.values()))
        return has_failed or bool(self.feed_lost())


def run_load_test(
    load: Load,
    scored_topic: str,
    websocket_url: str | None,
    drain_s: float,
    stop: Stop,
    say: Callable[[str], None],
    clients: ClientPlan | None = None,
    gateway: str | None = None,
) -> Outcome:
    """Run a load test; takes at most its seconds, some two minutes of grace and `drain_s` without any arrival.

    Raises FleetError when a reader or a client cannot connect, or a generator ends with an error.
    """
    readers = _readers(load, scored_topic, websocket_url)
    monitor = PipelineMonitor(gateway) if gateway else None
    try:
        with Producers(load) as producers, Clients(clients or ClientPlan("", load.run, load.seconds)) as crowd:
            for reader in readers:
                reader.start()
            producers.wait_until_ready()
            crowd.wait_until_ready(stop)
            if monitor:
                monitor.start()
            start_s = time.time() + PLACING_S
            crowd.begin(start_s)
            producers.begin(start_s)
            produced = producers.follow(stop, _Progress(readers, say))
            crowd.wait_until_done(stop)
            _drain(produced.progress.acknowledged, readers, drain_s, stop)
            findings = crowd.end() if clients else None
    finally:
        for reader in readers:
            reader.stop()
        if monitor:
            monitor.stop()
    series = monitor.series if monitor else None
    return Outcome(load, produced, readers, clients, findings, series, start_s, is_stopped=stop.is_set())


def _readers(load: Load, scored_topic: str, websocket_url: str | None) -> list[Reader]:
    readers: list[Reader] = []
    if load.events:
        readers.append(ScoredTopicReader(scored_topic, load.run, Arrivals(load.events, load.vehicles)))
    if websocket_url:
        readers.append(WebSocketReader(websocket_url, load.run, Arrivals(load.events, load.vehicles)))
    return readers


class _Progress:
    """Says now and then how far the test has come."""

    def __init__(self, readers: Sequence[Reader], say: Callable[[str], None]) -> None:
        self._readers, self._say = readers, say
        self._said_at = time.monotonic()

    def __call__(self, produced: Progress) -> None:
        if time.monotonic() - self._said_at >= PROGRESS_INTERVAL_S:
            self._said_at = time.monotonic()
            arrived = "".join(f"; {reader.name} {reader.arrivals.received:,}" for reader in self._readers)
            self._say(f"{produced.acknowledged:,} produced{arrived}")


def _drain(expected: int, readers: Sequence[Reader], drain_s: float, stop: Stop) -> None:
    """Wait until every reader has everything, or nothing has arrived anywhere for `drain_s`."""
    received, changed_at = -1, time.monotonic()
    while any(reader.arrivals.unique < expected and not reader.failure for reader in readers):
        if (now := sum(reader.arrivals.received for reader in readers)) != received:
            received, changed_at = now, time.monotonic()
        if time.monotonic() - changed_at > drain_s or stop.wait(CHECK_INTERVAL_S):
            return
