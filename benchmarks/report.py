"""Puts standings into words: a table for the terminal, and plain values for the JSON file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.figures import Figure, Part
from benchmarks.growth import Point
from benchmarks.latency import LatencyResult, in_words
from benchmarks.requests import RequestResult
from benchmarks.soak import Stretch
from benchmarks.throughput import Standing

_HEAD = f"{'':<26} {'events/s':>28} {'of the floor':>22} {'µs/event':>9}   CPU µs/event by process; peak memory"


def throughput_table(standings: Sequence[Standing]) -> list[str]:
    """Return the lines of a table; the first standing is the reference of the ratios."""
    lines = [_HEAD, "-" * len(_HEAD)]
    for standing in standings:
        rate, ratio = _rate(standing), _ratio(standing, standings[0])
        cost = _by_role({role: figure.median for role, figure in _cpu_us(standing).items()})
        memory = ", ".join(f"{role} {mib:,.0f} MiB" for role, mib in _peak_mib(standing).items())
        lines += [
            f"{standing.name:<26} {rate.text(',.0f'):>28} {ratio.text():>22} {1e6 / rate.median:>9.1f}   {cost}",
            f"{'':<26} peak {memory}",
            f"{'':<26} idle {_idle(standing)}; {standing.differing:,} verdicts unlike the floor's",
        ]
    return lines


def throughput_values(standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [
        {
            "contestant": standing.name,
            "events": standing.laps[0].events,
            "repeats": len(standing.laps),
            "events_per_second": _rate(standing)._asdict(),
            "of_the_floor": _ratio(standing, standings[0])._asdict(),
            "cpu_us_per_event": {role: figure._asdict() for role, figure in _cpu_us(standing).items()},
            "peak_mib": _peak_mib(standing),
            "idle_share_of_a_core": standing.idle,
            "verdicts_unlike_the_floor": standing.differing,
        }
        for standing in standings
    ]


def _rate(standing: Standing) -> Figure:
    return Figure.of(lap.events_per_second for lap in standing.laps)


def _ratio(standing: Standing, reference: Standing) -> Figure:
    ours, theirs = ([lap.events_per_second for lap in one.laps] for one in (standing, reference))
    return Figure.ratio(ours, theirs)


def _cpu_us(standing: Standing) -> dict[str, Figure]:
    per_lap = [lap.cpu_us() for lap in standing.laps]
    return {role: Figure.of(costs[role] for costs in per_lap) for role in per_lap[0]}


def _peak_mib(standing: Standing) -> dict[str, float]:
    return dict(standing.laps[-1].peak_mib)


def _idle(standing: Standing) -> str:
    return ", ".join(f"{role} {share:.1%}" for role, share in standing.idle.items())


def _by_role(cost_us: Mapping[str, float], form: str = ".1f") -> str:
    return "  ".join(f"{role} {us:{form}}" for role, us in cost_us.items())


def parts_table(parts: Sequence[Part]) -> list[str]:
    """Return a line for each step of an event's way."""
    return [f"{'':<26} {'CPU µs/event':>26}", *(f"{part.name:<26} {part.us_per_event.text():>26}" for part in parts)]


def parts_values(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [{"part": part.name, "us_per_event": part.us_per_event._asdict()} for part in parts]


def latency_table(results: Sequence[LatencyResult]) -> list[str]:
    """Return the lines of a table: milliseconds from the append to the screen, and from when an event was due."""
    head = f"{'':<26} {'events/s':>8} {'append → screen p50':>22} {'p95':>22} {'p99':>22} {'due → screen p99':>22}"
    lines = [head, "-" * len(head)]
    for result in results:
        append = " ".join(f"{figure.text(',.0f'):>22}" for figure in result.from_append_ms.values())
        due = result.from_due_ms[99].text(",.0f")
        cost = _by_role(result.cpu_us)
        stages = ", ".join(f"{name} after {figure.text(',.0f')}" for name, figure in result.stages_ms.items())
        lines += [
            f"{result.system:<26} {result.rate:>8,} {append} {due:>22}",
            f"{'':<26} p50, each from the one before: {stages} ms",
            f"{'':<26} CPU µs/event: {cost}; generator late by {result.generator_late_p99_ms:,.0f} ms (p99)",
        ]
        if not result.kept_up:
            lines.append(f"{'':<26} did not keep up: {result.not_shown:,} of {result.events:,} events were not shown")
    return lines


def latency_values(results: Sequence[LatencyResult]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [
        {
            "system": result.system,
            "rate": result.rate,
            "events": result.events,
            "kept_up": result.kept_up,
            "append_to_screen_ms": _by_percentile(result.from_append_ms),
            "due_to_screen_ms": _by_percentile(result.from_due_ms),
            "stages_ms": {name: figure._asdict() for name, figure in result.stages_ms.items()},
            "generator_late_p99_ms": result.generator_late_p99_ms,
            "not_shown": result.not_shown,
            "cpu_us_per_event": dict(result.cpu_us),
            "peak_mib": dict(result.peak_mib),
        }
        for result in results
    ]


def _by_percentile(figures: Mapping[int, Figure]) -> dict[str, Any]:
    return {f"p{percentile}": figure._asdict() for percentile, figure in figures.items()}


def requests_table(results: Sequence[RequestResult]) -> list[str]:
    """Return the lines of a table: requests and events a second, milliseconds from asking to the whole answer."""
    head = f"{'':<22} {'':<10} {'clients':>7} {'requests/s':>22} {'events/s':>26} {'p50 ms':>18} {'p99 ms':>20}"
    lines = [head, "-" * len(head)]
    for result in results:
        late = [figure.text(",.0f") for figure in result.latency_ms.values()]
        cost = _by_role(result.cpu_us, ",.0f")
        lines += [
            f"{result.system:<22} {result.course.path:<10} {result.course.clients:>7}"
            f" {result.per_second.text(',.0f'):>22} {result.events_per_second.text(',.0f'):>26}"
            f" {late[0]:>18} {late[1]:>20}",
            f"{'':<22} CPU µs/request: {cost}",
        ]
    return lines


def requests_values(results: Sequence[RequestResult]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [
        {
            "system": result.system,
            **result.course._asdict(),
            "requests_per_second": result.per_second._asdict(),
            "latency_ms": _by_percentile(result.latency_ms),
            "cpu_us_per_request": dict(result.cpu_us),
        }
        for result in results
    ]


def growth_table(points: Sequence[Point]) -> list[str]:
    """Return a line for each size of each thing that grows."""
    head = f"{'':<16} {'':>10} {'events/s':>24}   CPU µs/event; peak memory of ingest, scorer, gateway; append → screen"
    lines = [head, "-" * len(head)]
    for point in points:
        rate = point.events_per_second.text(",.0f")
        cost = _by_role(point.cpu_us)
        memory = "/".join(f"{point.peak_mib.get(role, 0):,.0f}" for role in ("ingest", "scorer", "gateway"))
        late = f"; {in_words(point.append_to_screen_ms)}" if point.append_to_screen_ms else ""
        lines.append(f"{point.axis:<16} {point.size:>10,} {rate:>24}   {cost}; {memory} MiB{late}")
    return lines


def growth_values(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [
        {
            "axis": point.axis,
            "size": point.size,
            "events_per_second": point.events_per_second._asdict(),
            "cpu_us_per_event": dict(point.cpu_us),
            "peak_mib": dict(point.peak_mib),
            "append_to_screen_ms": _by_percentile(point.append_to_screen_ms or {}),
        }
        for point in points
    ]


def soak_table(stretches: Sequence[Stretch]) -> list[str]:
    """Return a line for each stretch: latency, lag, resident memory and shares of a core."""
    roles = list(stretches[0].resident_mib)
    head = f"{'minutes':>8} {'shown/s':>8} {'p50 / p95 / p99 ms':>22} {'lag':>8}   MiB (of a core): {', '.join(roles)}"
    lines = [head, "-" * len(head)]
    for stretch in stretches:
        late = " / ".join("-" if ms is None else f"{ms:,.0f}" for ms in stretch.latency_ms.values())
        each = ", ".join(f"{stretch.resident_mib[role]:,.0f} ({stretch.core_share[role]:.0%})" for role in roles)
        minutes, rate = stretch.ended_s / 60, stretch.shown_per_second
        lines.append(f"{minutes:>8.1f} {rate:>8,.0f} {late:>22} {stretch.lag:>8,}   {each}")
    return lines


def soak_values(stretches: Sequence[Stretch]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [asdict(stretch) for stretch in stretches]
