"""Puts a load test's outcome into words."""

from collections.abc import Iterator

from loadtest.client_plan import PATHS, Findings
from loadtest.generator import Load
from loadtest.readers import Reader
from loadtest.run import Outcome
from loadtest.samples import Measured
from loadtest.verdict import Check, State, Verdict, why_too_slow
from simulator.sender import sentence


def describe(outcome: Outcome, verdict: Verdict | None = None) -> list[str]:
    """Return the report's lines, with the verdict where thresholds were given."""
    lines = [
        f"Load test {outcome.load.run}: {_load(outcome.load)}",
        *_production(outcome),
        *(_describe_reader(outcome, reader) for reader in outcome.readers),
        *(_clients(outcome, outcome.findings) if outcome.findings else ()),
        *_pipeline(outcome),
    ]
    if (left := _lag_at_end(outcome)) and any(outcome.lost(reader) for reader in outcome.readers):
        lines.append(
            f"The pipeline still had a lag of {left:,} records when the test gave up waiting (--drain-s): what is "
            "called lost may yet come; `fleet audit` tells."
        )
    if outcome.is_stopped:
        lines.append("It was ended early: the figures are of a part of the profile.")
    if slowness := verdict.slowness if verdict else why_too_slow(outcome):
        lines.append(
            "The generator itself could not keep the rate, so these figures are not about the system at that rate: "
            f"{'; '.join(slowness)}. Lower the rates, add --processes or --client-processes, or use another machine."
        )
    return lines + (list(_judged(verdict)) if verdict else [])


def _load(load: Load) -> str:
    if not load.events:
        return f"no events, {load.seconds:g} s"
    rate = f"{load.rate:,.0f} events/s"
    if load.shape != "constant":
        rate = f"{load.shape} from {load.base_rate:,.0f} to {load.rate:,.0f} events/s"
    processes = f", from {load.parts} processes" if load.parts > 1 else ""
    return f"{rate} of {load.vehicles:,} vehicles for {load.seconds:g} s{processes}"


def _production(outcome: Outcome) -> Iterator[str]:
    produced = outcome.produced
    if not outcome.load.events:
        return
    yield (
        f"produced      {produced.rate:10,.0f} events/s  {sentence(produced.progress)}; "
        f"p99 {produced.lateness_p99_ms:,.0f} ms behind schedule"
    )
    if produced.held_up_s:
        yield (
            f"              Kafka took no more for {produced.held_up_s:,.1f} s: sending had to wait, which counts as "
            "the system's latency"
        )


def _describe_reader(outcome: Outcome, reader: Reader) -> str:
    books = reader.arrivals
    p50, p95, p99 = books.latency_ms(50, 95, 99)
    line = (
        f"{reader.name:<13} {books.rate:10,.0f} events/s  p50 {p50:,.0f} ms, p95 {p95:,.0f} ms, p99 {p99:,.0f} ms; "
        f"{outcome.lost(reader):,} lost, {books.duplicates:,} duplicated, {books.reordered:,} reordered"
    )
    return f"{line}; it ended early: {reader.failure}" if reader.failure else line


def _clients(outcome: Outcome, findings: Findings) -> Iterator[str]:
    for name, measured in findings.requests.items():
        rate = len(measured.offsets_s) / outcome.load.seconds
        yield f"{PATHS[name]:<13} {rate:10,.0f} answers/s {_latency(measured)}; {_failures(measured)}"
        if busy := findings.all_busy[name]:
            yield (
                f"              {busy:,} found every client waiting for an answer when they were due: their wait "
                f"counts as the system's latency; --{name}-clients has the number"
            )
    if findings.feed_received:
        lost = outcome.feed_lost()
        losses = "" if lost is None else f"{lost:,} events lost over all clients, "
        yield (
            f"{'feed':<13} {len(findings.feed_received):10,} clients   {_latency(findings.feed)}; "
            f"{losses}{_failures(findings.feed)}"
        )


def _latency(measured: Measured) -> str:
    p50, p95, p99 = measured.percentiles_ms(50, 95, 99)
    return f"p50 {p50:,.0f} ms, p95 {p95:,.0f} ms, p99 {p99:,.0f} ms"


def _failures(measured: Measured) -> str:
    reasons = ", ".join(f"{count:,} × {reason}" for reason, count in measured.failures.items())
    return f"{measured.failed:,} failed" + (f" ({reasons})" if reasons else "")


def _pipeline(outcome: Outcome) -> Iterator[str]:
    if (series := outcome.pipeline) is None:
        return
    lag = "unknown" if series.lag_max is None else f"at most {series.lag_max:,} records"
    replicas = series.states[-1].replicas if series.states else {}
    names = ", ".join(f"{count} {name}" for name, count in replicas.items()) or "unknown replicas"
    line = f"pipeline      lag {lag}; at the end {names}; {series.dropped:,} events dropped for slow clients"
    problem = f"; {series.unanswered} questions not answered (the last: {series.last_problem})"
    yield line + (problem if series.unanswered else "")


def _lag_at_end(outcome: Outcome) -> int:
    states = outcome.pipeline.states if outcome.pipeline else []
    return (states[-1].lag or 0) if states else 0


def _judged(verdict: Verdict) -> Iterator[str]:
    yield from (f"{check.state.value:<10} {in_words(check)}" for check in verdict.checks)
    state = verdict.state
    if state is State.GENERATOR_TOO_SLOW:
        yield "GENERATOR TOO SLOW: the test is void; what has to do with time was not judged"
    else:
        yield state.value.upper()


def in_words(check: Check) -> str:
    """Say what was measured and what the limit is."""
    return f"{check.name}: {number(check.measured)} (at most {number(check.limit)}{' ' * bool(check.unit)}{check.unit})"


def number(value: float | None) -> str:
    """Write a number with as many digits as it needs."""
    if value is None or value != value:
        return "nothing measured"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.3g}"
