"""Judges a load test by its thresholds: passed, failed, or void because the load test itself was too slow.

The books (lost, doubled, reordered) are judged always: a slow generator loses nothing. Everything that has to do with
time is not judged when the generator was behind its own due times, or a reader always busy: it would be a figure
about the load test, not about the system.

Neighbours: `run` gives the outcome, `thresholds` the limits; `report` and `page` show the verdict. Pure.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from loadtest.client_plan import PATHS, Findings
from loadtest.generator import KEPT_UP_LATENESS_MS, Produced
from loadtest.monitor import PipelineSeries
from loadtest.readers import Reader
from loadtest.run import Outcome
from loadtest.samples import Measured
from loadtest.thresholds import PERCENTILES, Answers, Feed, Generator, Latencies, Pipeline, Thresholds, WayOut

Percentiles: TypeAlias = Callable[..., list[float]]


class State(Enum):
    """What came of a check, or of the whole test."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_JUDGED = "not judged"
    GENERATOR_TOO_SLOW = "generator too slow"


@dataclass(frozen=True, slots=True)
class Check:
    """One limit and what was measured."""

    name: str
    limit: float
    measured: float | None
    """None where nothing was measured: that is a failure."""
    state: State
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks, and why the load test itself was too slow, if it was."""

    checks: Sequence[Check]
    slowness: Sequence[str]

    @property
    def state(self) -> State:
        """Failed when any check is; else void when the load test was too slow; else passed."""
        if any(check.state is State.FAILED for check in self.checks):
            return State.FAILED
        return State.GENERATOR_TOO_SLOW if self.slowness else State.PASSED


def judge(outcome: Outcome, thresholds: Thresholds) -> Verdict:
    """Hold an outcome against limits. A reader without a section must still have clean books."""
    slowness = why_too_slow(outcome, thresholds.generator)
    bench = _Bench(is_void=bool(slowness))
    checks = [
        *_acknowledged(outcome.produced, bench),
        *(check for reader in outcome.readers for check in _way_out(outcome, reader, thresholds, bench)),
    ]
    if outcome.findings is not None:
        checks += _clients(outcome, outcome.findings, thresholds, bench)
    if thresholds.pipeline is not None and outcome.pipeline is not None:
        checks += _pipeline(outcome.pipeline, thresholds.pipeline, bench)
    return Verdict(checks, slowness)


def why_too_slow(outcome: Outcome, limits: Generator | None = None) -> list[str]:
    """Say in which ways the load test itself, not the system, was the bottleneck; empty when it was in none."""
    lateness_ms = limits.lateness_p99_ms if limits else KEPT_UP_LATENESS_MS
    busy_share = limits.reader_busy_share if limits else Generator().reader_busy_share
    return [
        *_producer_slowness(outcome, lateness_ms),
        *_client_slowness(outcome.findings, lateness_ms),
        *(
            f"the reader of the {reader.name} was busy for {reader.busy_share():.0%} of the time: it measured itself"
            for reader in outcome.readers
            if reader.busy_share() > busy_share
        ),
    ]


def _producer_slowness(outcome: Outcome, lateness_ms: float) -> Iterator[str]:
    produced = outcome.produced
    if not outcome.load.events or produced.kept_up(lateness_ms):
        return
    if produced.lateness_p99_ms > lateness_ms:
        yield (
            f"the producers were {produced.lateness_p99_ms:,.0f} ms behind their own due times (p99; the limit is "
            f"{lateness_ms:,.0f}), the busiest with {produced.cpu_share:.0%} of a core"
        )
    else:
        yield f"the producers never sent {produced.progress.skipped:,} events that were due"


def _client_slowness(findings: Findings | None, lateness_ms: float) -> Iterator[str]:
    if findings is not None and (late_ms := findings.lateness.percentile_ms(99)) > lateness_ms:
        yield (
            f"the clients' processes were {late_ms:,.0f} ms behind their own due times (p99; the limit is "
            f"{lateness_ms:,.0f}), the busiest with {findings.cpu_share:.0%} of a core"
        )


@dataclass(frozen=True, slots=True)
class _Bench:
    """Makes checks; in a void test only those of the books are judged."""

    is_void: bool

    def check(
        self, name: str, limit: float | None, measured: float | None, unit: str = "", *, is_of_the_books: bool = False
    ) -> Iterator[Check]:
        if limit is None:
            return
        if self.is_void and not is_of_the_books:
            state = State.NOT_JUDGED
        else:
            # NaN is nothing measured, and compares as false.
            state = State.PASSED if measured is not None and measured <= limit else State.FAILED
        yield Check(name, limit, measured, state, unit)

    def latencies(self, name: str, limits: Latencies | None, percentiles: Percentiles) -> Iterator[Check]:
        for key, percent in PERCENTILES.items():
            limit = getattr(limits, key) if limits else None
            if limit is not None:
                yield from self.check(f"{name} {key.removesuffix('_ms')}", limit, percentiles(percent)[0], "ms")


def _acknowledged(produced: Produced, bench: _Bench) -> Iterator[Check]:
    unacknowledged = produced.progress.failed + produced.progress.waiting
    yield from bench.check("events that Kafka did not acknowledge", 0, unacknowledged, is_of_the_books=True)


def _way_out(outcome: Outcome, reader: Reader, thresholds: Thresholds, bench: _Bench) -> Iterator[Check]:
    limits = (thresholds.scored if reader.name == "scored topic" else thresholds.websocket) or WayOut()
    books = reader.arrivals
    yield from bench.latencies(reader.name, limits, books.latency_ms)
    counts = {"lost": outcome.lost(reader), "duplicated": books.duplicates, "reordered": books.reordered}
    for name, count in counts.items():
        yield from bench.check(f"{reader.name} {name}", getattr(limits, name), count, is_of_the_books=True)
    yield from bench.check(f"{reader.name} ended early", 0, int(reader.failure is not None), is_of_the_books=True)


def _clients(outcome: Outcome, findings: Findings, thresholds: Thresholds, bench: _Bench) -> Iterator[Check]:
    for name, measured in findings.requests.items():
        yield from _answers(PATHS[name], measured, getattr(thresholds, name), bench)
    if (feed := thresholds.feed) is not None:
        yield from _feed(outcome, findings, feed, bench)


def _answers(name: str, measured: Measured, limits: Answers | None, bench: _Bench) -> Iterator[Check]:
    if limits is not None:
        yield from bench.latencies(name, limits, measured.percentiles_ms)
        yield from bench.check(f"{name} failed share", limits.failed_share, measured.failed_share)


def _feed(outcome: Outcome, findings: Findings, limits: Feed, bench: _Bench) -> Iterator[Check]:
    yield from bench.latencies("feed", limits, findings.feed.percentiles_ms)
    yield from bench.check("feed lost", limits.lost, outcome.feed_lost())
    yield from bench.check("feed connections broken", limits.broken, findings.feed.failed)


def _pipeline(series: PipelineSeries, limits: Pipeline, bench: _Bench) -> Iterator[Check]:
    at_end = series.states[-1].lag if series.states else None
    yield from bench.check("largest lag", limits.lag_max, series.lag_max, "records")
    yield from bench.check("lag at the end", limits.lag_at_end, at_end, "records")
    yield from bench.check("oldest event that waited", limits.oldest_unscored_max_s, series.oldest_unscored_max_s, "s")
    yield from bench.check("gateway did not answer", limits.unanswered, series.unanswered, "times")
