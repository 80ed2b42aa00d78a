"""Puts a load test's outcome into words."""

from loadtest.readers import Reader
from loadtest.run import Outcome
from simulator.sender import sentence


def describe(outcome: Outcome) -> list[str]:
    """Return the report's lines."""
    load, produced = outcome.load, outcome.produced
    lines = [
        f"Load test {load.run}: {load.rate:,.0f} events/s of {load.vehicles:,} vehicles for {load.seconds:g} s",
        f"produced      {produced.rate:10,.0f} events/s  {sentence(produced.progress)}; "
        f"p99 {produced.lateness_p99_ms:,.0f} ms behind schedule",
        *(_describe_reader(outcome, reader) for reader in outcome.readers),
    ]
    if not produced.kept_up(load):
        lines.append(
            "The generator itself could not keep the rate, so these figures are not about the system at that rate: "
            "lower --rate, or run the load test on another machine."
        )
    return lines


def _describe_reader(outcome: Outcome, reader: Reader) -> str:
    books = reader.arrivals
    p50, p95, p99 = books.latency_ms(50, 95, 99)
    line = (
        f"{reader.name:<13} {books.rate:10,.0f} events/s  p50 {p50:,.0f} ms, p95 {p95:,.0f} ms, p99 {p99:,.0f} ms; "
        f"{outcome.lost(reader):,} lost, {books.duplicates:,} duplicated, {books.reordered:,} reordered"
    )
    return f"{line}; it ended early: {reader.failure}" if reader.failure else line
